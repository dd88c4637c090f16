"""Cluster API's kinds on the testbed, a double of its controllers, and the backend in the role of the controller.

The MachineDeployment and the settings are those of docs/autoscaling/cluster-api.md.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from nos.autoscaler.backend import Group, Order, State, Survey
from nos.autoscaler.cluster_api import ClusterApi
from nos.autoscaler.cluster_api_groups import ClusterApiSettings
from nos.kube.access import Access
from nos.testbed import Testbed, binaries
from tests.autoscaler.machine_controller import NODES, MachineController
from tests.autoscaler.raced import Raced
from tests.controller.cluster import eventually

Object = dict[str, Any]
Result = TypeVar("Result")

DOC = (Path(__file__).parents[2] / "docs" / "autoscaling" / "cluster-api.md").read_text()
DEPLOYMENT, SETTINGS = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL))
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "fleet"
_MODULE, _FOLDER = "sigs.k8s.io/cluster-api@v1.14.2", "core/config/crd/bases"
_KINDS = ("machinedeployments", "machines")


def serve(testbed: Testbed, version: str) -> None:
    """The real kinds, of which only this version is served."""
    (folder,) = binaries.ensure_folders(_MODULE, [_FOLDER])
    for kind in _KINDS:
        crd = yaml.safe_load((folder / f"cluster.x-k8s.io_{kind}.yaml").read_text())
        for one in crd["spec"]["versions"]:
            one["served"] = one["storage"] = one["name"] == version
        testbed.api.create(CRDS, crd)
    eventually(lambda: testbed.api.answers(f"/apis/cluster.x-k8s.io/{version}/machines"), why="they are served")
    eventually(lambda: testbed.api.answers(f"/apis/cluster.x-k8s.io/{version}/machinedeployments"))
    namespace = {"metadata": {"name": NAMESPACE}}
    testbed.api.create("/api/v1/namespaces", namespace)


def withdraw(testbed: Testbed) -> None:
    """None of them is served any more."""
    for kind in _KINDS:
        testbed.api.request("DELETE", f"{CRDS}/{kind}.cluster.x-k8s.io")
    eventually(lambda: testbed.api.request("GET", "/apis/cluster.x-k8s.io")[0] == 404, why="they are not served")


class Rig:
    """races: see Raced."""

    def __init__(self, testbed: Testbed, version: str) -> None:
        self.testbed, self.api, self.version = testbed, testbed.api, version
        self.kubeconfig = testbed.kubeconfig_of()
        self.settings: Object = {}
        self.races: dict[str, Callable[[], None]] = {}
        self.double = MachineController(testbed.api, f"/apis/cluster.x-k8s.io/{version}", NAMESPACE)

    # The backend.

    def call(self, work: Callable[[ClusterApi], Awaitable[Result]]) -> Result:
        """A backend that has just started, which remembers nothing."""

        async def run() -> Result:
            access = await asyncio.to_thread(Access.load, str(self.kubeconfig))
            async with Raced(access, self.races) as client:
                return await work(ClusterApi(client, msgspec.convert(self.settings, ClusterApiSettings)))

        return asyncio.run(run())

    def survey(self) -> Survey:
        survey = self.call(lambda backend: backend.survey())
        assert len({one.id for one in survey.instances}) == len(survey.instances)
        assert {one.group for one in survey.instances} <= {group.id for group in survey.groups}
        return survey

    def group(self, name: str = "h100") -> Group:
        return next(group for group in self.survey().groups if group.id == f"{NAMESPACE}/{name}")

    def states(self) -> list[tuple[str, str, State]]:
        """Name in the namespace, node and state of each instance."""
        return sorted((one.id.removeprefix(f"{NAMESPACE}/"), one.node, one.state) for one in self.survey().instances)

    def order(self, count: int, group: Group | None = None) -> None:
        wanted = group or self.group()
        self.call(lambda backend: backend.increase(wanted, [Order(f"r-{n}") for n in range(count)]))

    def delete(self, *names: str) -> None:
        survey = self.survey()
        chosen = [one for one in survey.instances if one.id.removeprefix(f"{NAMESPACE}/") in names]
        assert len(chosen) == len(names)
        self.call(lambda backend: backend.delete(survey.groups[0], chosen))

    def cancel(self, *names: str) -> None:
        survey = self.survey()
        chosen = [one for one in survey.instances if one.id.removeprefix(f"{NAMESPACE}/") in names]
        assert len(chosen) == len(names)
        self.call(lambda backend: backend.cancel(survey.groups[0], chosen))

    # The cluster.

    def deploy(self, name: str = "h100", **annotations: str | None) -> None:
        """The MachineDeployment of the documentation, in the version that is served; None takes an annotation away."""
        made = copy.deepcopy(DEPLOYMENT)
        made["apiVersion"] = f"cluster.x-k8s.io/{self.version}"
        made["metadata"]["name"] = name
        noted = made["metadata"]["annotations"] | annotations
        made["metadata"]["annotations"] = {key: value for key, value in noted.items() if value is not None}
        if self.version == "v1beta1":
            spec = made["spec"]["template"]["spec"]
            for reference in (spec["infrastructureRef"], spec["bootstrap"]["configRef"]):
                reference["apiVersion"] = f"{reference.pop('apiGroup')}/v1beta1"
        assert self.api.create(self.double.deployments, made)

    def running(self, count: int) -> list[str]:
        """A MachineDeployment with so many nodes, which are up; their names."""
        self.deploy()
        self.resize(count)
        self.double.settle()
        return [machine["metadata"]["name"] for machine in self.double.there()]

    def deployment(self, name: str = "h100") -> Object:
        found: Object = self.api.get(f"{self.double.deployments}/{name}")
        return found

    def replicas(self) -> int:
        return int(self.deployment()["spec"]["replicas"])

    def resize(self, replicas: int) -> None:
        """By somebody else."""
        self.edit(spec={"replicas": replicas})

    def edit(self, **changes: Any) -> None:
        self.api.merge(f"{self.double.deployments}/h100", changes)

    def annotate(self, **annotations: str | None) -> None:
        self.edit(metadata={"annotations": annotations})

    def marked(self) -> set[str]:
        """Machines that would be the first to go."""
        return {
            one["metadata"]["name"]
            for one in self.double.there()
            if "cluster.x-k8s.io/delete-machine" in one["metadata"].get("annotations", {})
        }

    def clear(self) -> None:
        for path in (self.double.deployments, self.double.machines, NODES):

            def is_emptied(path: str = path) -> bool:
                self.api.request("DELETE", path)
                found = self.api.get(path)["items"]
                for one in found:
                    name = f"{path}/{one['metadata']['name']}"
                    self.api.request("PATCH", name, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
                return not found

            eventually(is_emptied, why=f"{path} are gone")
