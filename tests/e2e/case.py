"""A short way to write down nodes, Pods and one case: a Pod, the nodes that it is asked about, and the answer.

A case's nodes have short names of their own ("big"); in the cluster they are prefixed, so that all cases live in one.
So is everything else that is a case's own: any name, key or value that starts with a star ("*zone") is written without
it and with the case's name before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.e2e.world import NODE_PREFIX, Object, Resident

_ROOMY = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "110"}
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
Expression = tuple[str, str, list[str]]


@dataclass(frozen=True)
class NotTaken:
    """The API server refuses the Pod, with these words: no scheduler ever sees one like it."""

    because: str


@dataclass(frozen=True)
class Case:
    """A Pod, the nodes that it is asked about, and those of them that it fits."""

    name: str
    pod: Object
    offered: Mapping[str, Object]
    fits: set[str] | NotTaken
    on: Sequence[tuple[str, Resident]] = field(default_factory=list)
    storage: Sequence[Object] = field(default_factory=list)

    def nodes(self) -> Iterable[Object]:
        for short, node in self.offered.items():
            yield self._own({**node, "metadata": {**node["metadata"], "name": self._long(short)}})

    def residents(self) -> Iterable[Resident]:
        for short, resident in self.on:
            yield replace(resident, pod=self._own(resident.pod), node=self._long(short))

    def stored(self) -> Iterable[Object]:
        return (self._own(_on_nodes(thing, self._long)) for thing in self.storage)

    def probe(self) -> Object:
        probe: Object = self._own({**self.pod, "spec": _renamed(self.pod["spec"], self._long)})
        return {**probe, "metadata": {**self.pod.get("metadata", {}), **probe.get("metadata", {}), "name": self.name}}

    def owns(self, node: str) -> bool:
        return node.startswith(self._long(""))

    def short(self, node: str) -> str:
        return node.removeprefix(self._long(""))

    def _long(self, short: str) -> str:
        return f"{NODE_PREFIX}{self.name}--{short}"

    def _own(self, thing: Any) -> Any:
        match thing:
            case str():
                return f"{self.name}.{thing[1:]}" if thing.startswith("*") else thing
            case Mapping():
                return {self._own(key): self._own(value) for key, value in thing.items()}
            case list() | tuple():
                return [self._own(each) for each in thing]
        return thing


def node(
    offer: Mapping[str, str] | None = None, *, taints: Sequence[str] = (), cordoned: bool = False, **labels: str
) -> Object:
    """A roomy node, but for what `offer` says; a taint is written as on kubectl's command line."""
    amounts = {r: a for r, a in {**_ROOMY, **(offer or {})}.items() if a}
    return {
        "metadata": {"labels": labels},
        "spec": {"unschedulable": cordoned, "taints": [_taint(text) for text in taints]},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def container(asks: Mapping[str, str] | None = None, *, sidecar: bool = False, ports: Sequence[Object] = ()) -> Object:
    amounts = dict(asks or {})
    limits = {r: a for r, a in amounts.items() if "/" in r or r.startswith("hugepages-")}
    made: Object = {"image": "i", "resources": {"requests": amounts, "limits": limits}, "ports": list(ports)}
    return {**made, "restartPolicy": "Always"} if sidecar else made


def pod(*containers: Object, init: Sequence[Object] = (), **spec: Any) -> Object:
    """Containers get their names here; without any there is one that asks for nothing."""
    named = [{**each, "name": f"c{n}"} for n, each in enumerate(containers or [container()])]
    inits = [{**each, "name": f"i{n}"} for n, each in enumerate(init)]
    return {"spec": {"containers": named, "initContainers": inits, **spec}}


def asks(**amounts: str) -> Object:
    return pod(container({name.replace("_", "-"): amount for name, amount in amounts.items()}))


def affinity(*terms: Object) -> Object:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"nodeAffinity": required}


def term(*labels: Expression, names: Sequence[Expression] = ()) -> Object:
    return {
        name: [{"key": key, "operator": operator, "values": values} for key, operator, values in each]
        for name, each in (("matchExpressions", labels), ("matchFields", names))
        if each
    }


def port(number: int, address: str = "", protocol: str = "TCP") -> Object:
    return {
        "containerPort": number,
        "hostPort": number,
        "protocol": protocol,
        **({"hostIP": address} if address else {}),
    }


def with_port(number: int, address: str = "", protocol: str = "TCP") -> Object:
    return pod(container(ports=[port(number, address, protocol)]))


def wants(*labels: Expression) -> Object:
    return pod(affinity=affinity(term(*labels)))


def tolerating(*tolerations: Object) -> Object:
    return pod(tolerations=list(tolerations))


def of(size: Mapping[str, str]) -> dict[str, Object]:
    """Nodes called by the CPUs that they have."""
    return {name: node({"cpu": cpus}) for name, cpus in size.items()}


def kubelet_says(allocated: Mapping[str, str], given: Mapping[str, str], *, pending: str = "") -> Object:
    said = {"name": "c0", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    said |= {"allocatedResources": dict(allocated), "resources": {"requests": dict(given)}}
    conditions = [{"type": "PodResizePending", "status": "True", "reason": pending}] if pending else []
    return {"containerStatuses": [said], "conditions": conditions}


def _taint(text: str) -> Object:
    key_value, _, effect = text.partition(":")
    key, _, value = key_value.partition("=")
    return {"key": key, "value": value, "effect": effect}


def _renamed(spec: Object, long: Callable[[str], str]) -> Object:
    """The Pod's spec with the nodes that its matchFields name called as they are in the cluster."""
    if "nodeAffinity" not in spec.get("affinity", {}):
        return spec
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    renamed = [
        {**one, "matchFields": [{**each, "values": [long(v) for v in each["values"]]} for each in one["matchFields"]]}
        if "matchFields" in one
        else one
        for one in terms
    ]
    return {**spec, "affinity": {**spec["affinity"], **affinity(*renamed)}}


def _on_nodes(thing: Object, long: Callable[[str], str]) -> Object:
    """A storage object with the node that it is about called as it is in the cluster."""
    match thing["kind"]:
        case "CSINode":
            name = long(thing["metadata"]["name"])
            drivers = [{**driver, "nodeID": name} for driver in thing["spec"]["drivers"]]
            return {**thing, "metadata": {**thing["metadata"], "name": name}, "spec": {"drivers": drivers}}
        case "VolumeAttachment":
            return {**thing, "spec": {**thing["spec"], "nodeName": long(thing["spec"]["nodeName"])}}
        case "PersistentVolumeClaim" if "annotations" in thing["metadata"]:
            annotations = dict(thing["metadata"]["annotations"])
            if _SELECTED_NODE in annotations:
                annotations[_SELECTED_NODE] = long(annotations[_SELECTED_NODE])
            return {**thing, "metadata": {**thing["metadata"], "annotations": annotations}}
    return thing
