"""The whole of nos around one real kubelet: controller and agent as processes, the driver simulated."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from nos.testbed import Testbed
from nos.testbed.credentials import write_kubeconfig
from nos.testbed.gpus import AGENT, SimulatedGpus
from nos.testbed.nvml_sim import NvmlSim
from nos.testbed.realnode import IMAGE, RealNode
from tests.deploy.rights import in_force

PODS = "/api/v1/namespaces/default/pods"
GPU_NODES = "/apis/nos.nebuly.com/v1alpha1/gpunodes"
_NOW = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
NAMESPACE = "nebuly-nos"
ACCOUNTS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
CONTROLLER = "nos-controller"
DEPLOY = Path(__file__).parents[2] / "deploy" / "kustomize"


def eventually(condition: Callable[[], object], what: str, within: float = 30.0) -> None:
    """Asks until it is so."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)


class GpuNode:
    """A real node whose GPUs nos cuts, wherever its agent is."""

    def __init__(self, testbed: Testbed, sim: NvmlSim) -> None:
        assert testbed.real_node
        self.testbed = testbed
        self.node: RealNode = testbed.real_node
        self.sim = sim

    def report(self) -> Any:
        """The GPUNode's status; None before there is one."""
        status, answer = self.testbed.api.request("GET", f"{GPU_NODES}/{self.node.name}")
        return json.loads(answer).get("status") if status == 200 else None

    def create(self, name: str, **spec: Any) -> None:
        """A Pod for nos. Amounts of resources by keyword `limits`; everything else goes into the spec."""
        limits = spec.pop("limits")
        container = {"name": "main", "image": IMAGE, "resources": {"limits": limits}}
        body = {"schedulerName": "nos-scheduler", "terminationGracePeriodSeconds": 0, "containers": [container]}
        assert self.testbed.api.create(PODS, {"metadata": {"name": name}, "spec": body | spec})

    def delete(self, *names: str) -> None:
        """At once; back when the kubelet has let go of them."""
        for name in names:
            self.testbed.api.request("DELETE", f"{PODS}/{name}", {**_NOW})
        eventually(lambda: not set(names) & {pod["metadata"]["name"] for pod in self.pods()}, "the Pods are gone")
        eventually(lambda: not set(names) & set(self.holders().values()), "the kubelet has let go")

    def pods(self) -> list[Any]:
        return list(self.testbed.api.get(PODS)["items"])

    def pod(self, name: str) -> Any:
        return self.testbed.api.get(f"{PODS}/{name}")

    def runs(self, *names: str, within: float = 30.0) -> None:
        """Returns when all of these Pods run."""

        def all_run() -> bool:
            phases = {pod["metadata"]["name"]: pod["status"].get("phase") for pod in self.pods()}
            failed = [
                (pod["metadata"]["name"], pod["status"]) for pod in self.pods() if pod["status"]["phase"] == "Failed"
            ]
            assert not failed, failed
            return all(phases.get(name) == "Running" for name in names)

        eventually(all_run, f"{names} run", within)

    def devices(self, name: str) -> list[str]:
        """What the container's environment says that it was given."""
        given = "NVIDIA_VISIBLE_DEVICES"
        eventually(lambda: given in self.node.environment(name), f"{name} has written what it was given")
        return self.node.environment(name)[given].split(",")

    def holders(self) -> dict[str, str]:
        """Device to Pod, as the agent reports."""
        report = self.report() or {}
        found = {}
        for gpu in report.get("gpus", ()):
            for thing in (gpu, *gpu.get("instances", ())):
                if thing.get("pod"):
                    found[thing["uuid"]] = thing["pod"].removeprefix("default/")
        return found

    def place_of(self, device: str) -> tuple[int, str, int]:
        """GPU, profile and start of a MIG device, by the driver's own books."""
        for gpu in range(len(self.sim.gpus)):
            for instance in self.sim.instances(gpu):
                if device in instance.devices:
                    return gpu, instance.profile, instance.start
        raise AssertionError(f"the driver has no {device}")

    def planned(self, name: str) -> list[tuple[int, str, int]]:
        """What nos decided, as the Binding wrote it onto the Pod."""
        text = self.pod(name)["metadata"]["annotations"]["nos.nebuly.com/instances"]
        parts = (part.replace("@", ":").split(":") for part in text.split(","))
        return [(int(gpu), profile, int(start)) for gpu, profile, start in parts]


class MigNode(GpuNode):
    """Its agent is a process of the testbed."""

    def __init__(self, testbed: Testbed, gpus: SimulatedGpus) -> None:
        super().__init__(testbed, gpus.sim)
        self.gpus = gpus


def install(testbed: Testbed, directory: Path) -> tuple[Path, Path]:
    """What users install, into a testbed with a real node; kubeconfigs of the controller and of the node's agent, with
    tokens as their Pods have them."""
    assert testbed.real_node
    testbed.install_crds()
    testbed.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    items: list[Any] = []
    for part in ("controller", "agent"):
        for file in ("account", "rbac", "metrics", "policy"):
            items += yaml.safe_load_all((DEPLOY / part / f"{file}.yaml").read_text())
    testbed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(items))
    eventually(lambda: in_force(testbed.api, items), "the roles are in force")
    # No container of it ever runs: it stands for the agent's Pod, to which the token is bound.
    stand_in = {"serviceAccountName": "nos-agent", "containers": [{"name": "main", "image": "nos.invalid/agent:1"}]}
    body = {"metadata": {"name": "agent"}, "spec": {**stand_in, "nodeName": testbed.real_node.name}}
    testbed.api.create(f"/api/v1/namespaces/{NAMESPACE}/pods", body)
    uid = testbed.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/agent")["metadata"]["uid"]
    bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "agent", "uid": uid}}
    made = []
    for account, spec in (("nos-scheduler", {}), ("nos-agent", bound)):
        status, answer = testbed.api.request("POST", f"{ACCOUNTS}/{account}/token", {"spec": spec})
        assert status == 201, answer
        token, path = json.loads(answer)["status"]["token"], directory / f"{account}.kubeconfig"
        write_kubeconfig(path, server=testbed.server, ca_file=testbed.ca_file, user=account, token=token)
        made.append(path)
    return made[0], made[1]


def start_controller(testbed: Testbed, kubeconfig: Path, *more: str) -> None:
    """It runs as the program CONTROLLER when this returns, and schedules."""
    argv = [sys.executable, "-c", "from nos.cli import main; main()", "controller", "--kubeconfig", str(kubeconfig)]
    argv += ["--lease-namespace", NAMESPACE, "--health-address", "127.0.0.1:0", "--dashboard-address", "", *more]
    log = testbed.layout.logs / f"{CONTROLLER}.log"
    before = log.read_text().count("scheduling: ") if log.exists() else 0  # of those that ran before
    testbed.start_program(CONTROLLER, argv, ready=lambda log: log.read_text().count("scheduling: ") > before)


@contextmanager
def mig_node(testbed: Testbed, kubeconfigs: tuple[Path, Path], models: Sequence[str]) -> Iterator[MigNode]:
    """Controller and agent run, as the users whose kubeconfigs these are; the node is empty before and after."""
    controller, agent = kubeconfigs
    made = MigNode(testbed, testbed.add_gpus(models, kubeconfig=agent))
    try:
        start_controller(testbed, controller, "--verbose")
        yield made
    finally:
        if sys.exc_info()[0] and os.environ.get("CI"):  # what CI keeps of a failure is what was printed
            for log in (AGENT, CONTROLLER):
                print((testbed.layout.logs / f"{log}.log").read_text()[-8000:])
        made.delete(*(pod["metadata"]["name"] for pod in made.pods()))
        testbed.stop_program(CONTROLLER)
        made.gpus.stop_agent()
        made.gpus.label_node(None)
        testbed.api.request("DELETE", f"{GPU_NODES}/{made.node.name}")
        shutil.rmtree(made.node.directory / "agent")  # its journal: the next GPUs are others
