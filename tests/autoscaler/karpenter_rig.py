"""Karpenter beside the testbed, and the verbs in which the tests of its backend speak.

The pool and the settings are those of docs/autoscaling/karpenter.md, but for the NodeClass, which is kwok's.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from nos.autoscaler.backend import Group, Instance, Order, State, Survey
from nos.autoscaler.karpenter import Karpenter
from nos.autoscaler.karpenter_settings import KarpenterSettings
from nos.kube.access import Access
from nos.testbed import Testbed
from nos.testbed.karpenter import InstanceType
from nos.testbed.karpenter import Karpenter as Process
from tests.autoscaler.raced import Raced
from tests.controller.cluster import eventually

Object = dict[str, Any]
Result = TypeVar("Result")

DEPLOYED = Path(__file__).parents[2] / "deploy" / "kustomize" / "autoscaling"
DOC = Path(__file__).parents[2] / "docs" / "autoscaling" / "karpenter.md"
POOL, SETTINGS = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOC.read_text(), re.DOTALL))
CLAIMS, POOLS = "/apis/karpenter.sh/v1/nodeclaims", "/apis/karpenter.sh/v1/nodepools"
CLASSES = "/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses"
P5, G6 = "gpu/p5.48xlarge/us-east-1a/on-demand", "gpu/g6.12xlarge/us-east-1a/on-demand"
STARTUP_TAINT = "nos.nebuly.com/not-cut"

# What the controller may do for this backend, as users install it.
ROLE, BINDING = yaml.safe_load_all((DEPLOYED / "karpenter.yaml").read_text())
BINDING["subjects"][0]["namespace"] = "nos-system"  # where the testbed's nos user lives


def machines() -> list[InstanceType]:
    """The instance types of the documentation, as Karpenter's provider has them."""
    return [
        InstanceType(
            kind["name"],
            kind["capacity"],
            {(o["zone"], o.get("capacityType", "on-demand")): o["price"] for o in kind["offerings"]},
        )
        for kind in SETTINGS["scaling"]["karpenter"]["instanceTypes"]
    ]


class Rig:
    """One NodePool, `gpu`, its NodeClass, and the backend, in the role of the controller."""

    def __init__(self, testbed: Testbed, karpenter: Process | None) -> None:
        self.testbed = testbed
        self.karpenter = karpenter
        self.api = testbed.api
        self.kubeconfig = testbed.kubeconfig_of()
        self.settings: Object = copy.deepcopy(SETTINGS["scaling"]["karpenter"])
        self.later = 0.0  # seconds by which the backend's clock is ahead
        self.races: dict[str, Callable[[], None]] = {}  # what somebody does right before its first request of a method

    # The backend.

    def call(self, work: Callable[[Karpenter], Awaitable[Result]]) -> Result:
        """A backend that has just started, which remembers nothing."""

        async def run() -> Result:
            access = await asyncio.to_thread(Access.load, str(self.kubeconfig))
            async with Raced(access, self.races) as client:
                settings = msgspec.convert(self.settings, KarpenterSettings)
                return await work(Karpenter(client, settings, now=lambda: time.time() + self.later))

        return asyncio.run(run())

    def survey(self) -> Survey:
        survey = self.call(lambda backend: backend.survey())
        groups = [group.id for group in survey.groups]
        assert len(set(groups)) == len(groups)
        assert {instance.group for instance in survey.instances} <= set(groups)
        return survey

    def group(self, name: str = P5) -> Group:
        return next(group for group in self.survey().groups if group.id == name)

    def order(self, *orders: Order, group: Group | None = None) -> None:
        wanted = group or self.group()
        self.call(lambda backend: backend.increase(wanted, orders))

    def cancel(self, *instances: Instance) -> None:
        group = self.survey().groups[0]  # it matters to nobody which
        self.call(lambda backend: backend.cancel(group, instances))

    def delete(self, *instances: Instance) -> None:
        group = self.survey().groups[0]
        self.call(lambda backend: backend.delete(group, instances))

    def the_one(self, state: State | None = None) -> Instance:
        """The only instance there is, once it is in this state."""

        def found() -> Instance | None:
            (instance,) = self.survey().instances
            return instance if state in (None, instance.state) else None

        result: Instance = eventually(found, why=f"an instance is {state}; there are {self.survey().instances}")
        return result

    def up(self, *orders: Order) -> Instance:
        """Order one, and play the agent that cuts it."""
        self.order(*(orders or [Order("r")]))
        coming = eventually(lambda: next((i for i in self.survey().instances if i.node), None), why="a Node registers")
        self.lift(coming.node)
        return self.the_one(State.UP)

    # The cluster.

    def prepare(self) -> None:
        self.apply(
            {"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass", "metadata": {"name": "default"}}
        )
        self.pool()
        eventually(self.pool_is_ready, why="Karpenter finds the NodePool ready")

    def pool(self, **spec: Any) -> None:
        """Makes it that of the documentation, with these fields of its spec instead."""
        pool = copy.deepcopy(POOL)
        pool["spec"]["template"]["spec"]["nodeClassRef"] |= {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass"}
        pool["spec"] |= {"disruption": {"consolidateAfter": "Never"}} | spec  # nobody binds its Pods
        self.apply(pool)

    def unmanaged_pool(self) -> None:
        """Its NodeClass is of nobody, so that Karpenter leaves it and its claims alone."""
        spec = copy.deepcopy(self.api.get(f"{POOLS}/gpu")["spec"])
        spec["template"]["spec"]["nodeClassRef"] = {"group": "example.com", "kind": "Nobodys", "name": "default"}
        self.api.request("DELETE", f"{POOLS}/gpu")
        eventually(lambda: self.is_gone(f"{POOLS}/gpu"))
        self.apply({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "gpu"}, "spec": spec})

    def say(self, claim: str, **conditions: tuple[str, str]) -> None:
        """Make these the conditions of a claim: status and reason by type."""
        said = [
            {"type": t, "status": s, "reason": r, "message": f"{r}!", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            for t, (s, r) in conditions.items()
        ]
        self.api.merge(f"{CLAIMS}/{claim}/status", {"status": {"conditions": said}})

    def pool_is_ready(self, wanted: str = "True") -> bool:
        conditions = self.api.get(f"{POOLS}/gpu").get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == wanted for c in conditions)

    def apply(self, *items: Object) -> None:
        for item in items:
            self.testbed.kubectl("apply", "-f", "-", stdin=json.dumps(item))

    def claims(self) -> list[Object]:
        found: list[Object] = self.api.get(CLAIMS)["items"]
        return found

    def claim(self, name: str) -> Object:
        found: Object = self.api.get(f"{CLAIMS}/{name}")
        return found

    def condition(self, name: str, kind: str) -> Object:
        conditions = self.claim(name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def node(self, name: str) -> Object:
        found: Object = self.api.get(f"/api/v1/nodes/{name}")
        return found

    def lift(self, node: str, key: str = STARTUP_TAINT) -> None:
        """Takes a startup taint off, if it has it: that of nos as who cuts the GPUs does."""
        taints = self.node(node)["spec"].get("taints", [])
        kept = [taint for taint in taints if taint["key"] != key]
        self.api.merge(f"/api/v1/nodes/{node}", {"spec": {"taints": kept or None}})

    def pod(self, name: str, *, gpus: int = 8, node: str = "", **metadata: Any) -> None:
        """A Pod of a scheduler that does nothing, on that node if there is one."""
        limits = {"cpu": "1", "memory": "1Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
        spec = {
            "schedulerName": "nobody",
            "containers": [{"name": "main", "image": "busybox", "resources": {"limits": limits}}],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name} | metadata, "spec": spec}
        self.api.create("/api/v1/namespaces/default/pods", body)
        if node:
            binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
            self.api.request("POST", f"/api/v1/namespaces/default/pods/{name}/binding", binding)

    def waits(self, name: str, reason: str) -> None:
        """Says of a Pod why it has no node."""
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": "so the test wants it"}
        status, answer = self.api.request(
            "PATCH",
            f"/api/v1/namespaces/default/pods/{name}/status",
            {"status": {"conditions": [condition]}},
            "application/strategic-merge-patch+json",
        )
        assert status == 200, answer

    def is_gone(self, path: str) -> bool:
        return self.api.request("GET", path)[0] == 404

    def clear(self) -> None:
        """Takes away what the tests made, and does not wait for Karpenter's drains."""
        now = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        for pods in ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", "/api/v1/namespaces/default/pods"):
            self.api.request("DELETE", pods, now)
        # A node of kwok that has not registered when its claim goes is left: elsewhere the cloud sees it off.
        for path in (POOLS, CLAIMS, CLASSES, "/api/v1/nodes?labelSelector=kwok-partition"):
            eventually(lambda path=path: self._is_emptied(path), why=f"{path} are gone")

    def _is_emptied(self, path: str) -> bool:
        self.api.request("DELETE", path)
        found = self.api.get(path)["items"]
        for one in found:
            name = f"{path.partition('?')[0]}/{one['metadata']['name']}"
            self.api.request("PATCH", name, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
        return not found
