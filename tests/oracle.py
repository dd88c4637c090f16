"""A slow ledger and filter in plain Python, written from Kubernetes' documentation. It shares no code with the core.

Pods and nodes are plain dicts; `core_pod` and `core_node` spell the same thing for the core.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nos._core import GpuSpec, HostPort, NodeSpec, PodSpec, Requirement, SelectorTerm, Taint, Toleration
from tests.cut_gpus import MODELS, Spot, ways
from tests.mig.cuts import Placement

GPU = "nvidia.com/gpu"
MIG = "nvidia.com/mig-"
PROFILES = {
    MIG + name.replace("+", "."): name for model in MODELS.values() for name in [kind.name for kind in model.gpu.kinds]
}


def core_node(node: dict[str, Any]) -> NodeSpec:
    return NodeSpec(
        node["allocatable"],
        labels=node.get("labels", {}),
        taints=[Taint(*taint) for taint in node.get("taints", [])],
        unschedulable=node.get("unschedulable", False),
        gpus=[
            GpuSpec(
                MODELS[gpu["model"]].core if gpu["model"] else None,
                **{name: gpu[name] for name in ("mig", "ready", "healthy", "pod", "instances")},
            )
            for gpu in node.get("gpus", [])
        ],
    )


def core_pod(pod: dict[str, Any]) -> PodSpec:
    affinity = pod.get("affinity")
    return PodSpec(
        pod["requests"],
        gpu_share_milli=pod.get("share", 0),
        node_selector=pod.get("selector", {}),
        affinity=None
        if affinity is None
        else [
            SelectorTerm([Requirement(*e) for e in term["labels"]], [Requirement(*f) for f in term["fields"]])
            for term in affinity
        ],
        tolerations=[Toleration(*toleration) for toleration in pod.get("tolerations", [])],
        host_ports=[HostPort(*port) for port in pod.get("ports", [])],
        unsupported=pod.get("unsupported", []),
    )


def requirement_holds(operator: str, values: list[str], has: str | None) -> bool:
    match operator:
        case "Exists":
            return has is not None
        case "DoesNotExist":
            return has is None
        case "In":
            return has in values
        case "NotIn":
            return has not in values
    try:
        left, right = int(has or "none"), int(values[0])
    except ValueError:
        return False
    return left > right if operator == "Gt" else left < right


def tolerates(toleration: tuple[str, str, str, str], taint: tuple[str, str, str]) -> bool:
    key, operator, value, effect = toleration
    if effect and effect != taint[2]:
        return False
    if key and key != taint[0]:
        return False
    return operator == "Exists" or value == taint[1]


def may_use(pod: dict[str, Any], name: str, node: dict[str, Any]) -> bool:
    """Taints, cordon, selector and affinity."""
    labels, tolerations = node.get("labels", {}), pod.get("tolerations", [])
    taints = [taint for taint in node.get("taints", []) if taint[2] in ("NoSchedule", "NoExecute")]
    if node.get("unschedulable"):
        taints.append(("node.kubernetes.io/unschedulable", "", "NoSchedule"))
    if not all(any(tolerates(toleration, taint) for toleration in tolerations) for taint in taints):
        return False
    if any(labels.get(key) != value for key, value in pod.get("selector", {}).items()):
        return False
    if pod.get("affinity") is None:
        return True
    return any(
        (term["labels"] or term["fields"])
        and all(requirement_holds(op, values, labels.get(key)) for key, op, values in term["labels"])
        and all(requirement_holds(op, values, name) for _, op, values in term["fields"])
        for term in pod["affinity"]
    )


def wanted_instances(pod: dict[str, Any]) -> Counter[str]:
    """By profile, on a node that nos cuts."""
    wanted = {name: pod["requests"].get(resource, 0) for resource, name in PROFILES.items()}
    return +Counter(wanted)


@dataclass
class Held:
    """A Pod of the oracle. What it has of its node is taken from the core, and judged here."""

    pod: dict[str, Any]
    node: str = ""
    assumed: bool = False
    gpus: list[int] = field(default_factory=list)
    instances: list[Spot] = field(default_factory=list)
    priority: int = 0
    arrival: int = 0


@dataclass
class Ledger:
    """Sums are counted anew at every question."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, Held] = field(default_factory=dict)

    def on(self, name: str) -> list[Held]:
        return [held for held in self.pods.values() if held.node == name]

    def requested(self, name: str) -> dict[str, int]:
        total: dict[str, int] = {}
        for held in self.on(name):
            for resource, amount in held.pod["requests"].items():
                total[resource] = total.get(resource, 0) + amount
        return total

    def gpu_free(self, name: str) -> list[int]:
        cut = self.nodes[name].get("gpus", [])
        free = [1000] * self.nodes[name]["allocatable"].get(GPU, 0)
        for held in self.on(name):
            for slot in held.gpus:
                free[slot] -= held.pod.get("share") or 1000
        for slot, gpu in enumerate(cut):
            given = gpu["healthy"] and (gpu["model"] or gpu["ready"]) and not gpu["pod"]
            if self.taken(name, slot) or (free[slot] == 1000 and not given):
                free[slot] = 0
        return free

    def taken(self, name: str, slot: int) -> list[Placement]:
        """The instances on a GPU that Pods have or are to get, whoever they are."""
        seen = [(profile, start) for profile, start, _, pod in self.nodes[name]["gpus"][slot]["instances"] if pod]
        given = [spot[1:] for held in self.on(name) for spot in held.instances if spot[0] == slot]
        return [*given, *(placement for placement in seen if placement not in given)]

    def lacking(self, name: str) -> int:
        """Instances that Pods of the node should have and have not."""
        return sum(wanted_instances(held.pod).total() - len(held.instances) for held in self.on(name))

    def ways(self, pod: dict[str, Any], name: str) -> Iterator[tuple[tuple[int, ...], list[Spot]]]:
        """All ways to give the Pod its whole GPUs and its instances on a node that nos cuts."""
        free, wanted = self.gpu_free(name), wanted_instances(pod)
        if wanted and self.lacking(name) > 0:
            return
        cuttable = {
            slot: (gpu["model"], self.taken(name, slot))
            for slot, gpu in enumerate(self.nodes[name]["gpus"])
            if gpu["healthy"] and gpu["model"] and (free[slot] == 1000 or self.taken(name, slot))
        }
        whole = [slot for slot, milli in enumerate(free) if milli == 1000]
        yield from ways(cuttable, whole, 0 if pod.get("share") else pod["requests"].get(GPU, 0), wanted)

    def fits(self, pod: dict[str, Any], name: str) -> bool:
        node = self.nodes[name]
        allocatable, requested = node["allocatable"], self.requested(name)
        if not may_use(pod, name, node) or len(self.on(name)) + 1 > allocatable.get("pods", 0):
            return False
        for resource, amount in pod["requests"].items():
            free = allocatable.get(resource, 0) - requested.get(resource, 0)
            counted = resource not in (GPU, "pods") and not (node.get("gpus") and resource in PROFILES)
            if counted and amount > 0 and amount > free:
                return False
        if node.get("gpus") and next(self.ways(pod, name), None) is None:
            return False
        taken = [port for held in self.on(name) for port in held.pod.get("ports", [])]
        for port, protocol, address in pod.get("ports", []):
            for other, other_protocol, other_address in taken:
                same_address = address == other_address or "0.0.0.0" in (address, other_address)
                if port == other and protocol == other_protocol and same_address:
                    return False
        free = self.gpu_free(name)
        # GPUs that Pods hold beyond what the node has: nobody may count on a free one while there are any.
        excess = sum(
            (1 if held.pod.get("share") else held.pod["requests"].get(GPU, 0)) - len(held.gpus)
            for held in self.on(name)
        )
        if pod.get("share"):
            return excess == 0 and any(slot >= pod["share"] for slot in free)
        gpus = pod["requests"].get(GPU, 0)
        return gpus == 0 or gpus <= free.count(1000) - excess

    def order(self) -> list[str]:
        waiting = [uid for uid, held in self.pods.items() if not held.node]
        return sorted(waiting, key=lambda uid: (-self.pods[uid].priority, self.pods[uid].arrival, uid))
