"""A slow ledger and filter in plain Python, written from Kubernetes' documentation. It shares no code with the core.

Pods and nodes are plain dicts; `core_pod` and `core_node` spell the same thing for the core.
"""

from dataclasses import dataclass, field
from typing import Any

from nos._core import HostPort, NodeSpec, PodSpec, Requirement, SelectorTerm, Taint, Toleration

GPU = "nvidia.com/gpu"


def core_node(node: dict[str, Any]) -> NodeSpec:
    return NodeSpec(
        node["allocatable"],
        labels=node.get("labels", {}),
        taints=[Taint(*taint) for taint in node.get("taints", [])],
        unschedulable=node.get("unschedulable", False),
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


@dataclass
class Held:
    """A Pod of the oracle."""

    pod: dict[str, Any]
    node: str = ""
    assumed: bool = False
    gpus: list[int] = field(default_factory=list)
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
        free = [1000] * self.nodes[name]["allocatable"].get(GPU, 0)
        for held in self.on(name):
            for slot in held.gpus:
                free[slot] -= held.pod.get("share") or 1000
        return free

    def fits(self, pod: dict[str, Any], name: str) -> bool:
        node = self.nodes[name]
        allocatable, requested = node["allocatable"], self.requested(name)
        if not may_use(pod, name, node) or len(self.on(name)) + 1 > allocatable.get("pods", 0):
            return False
        for resource, amount in pod["requests"].items():
            free = allocatable.get(resource, 0) - requested.get(resource, 0)
            if resource not in (GPU, "pods") and amount > 0 and amount > free:
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
