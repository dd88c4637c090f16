"""What is there before anybody asks: nodes, Pods, namespaces and storage, as plain objects of the API.

A World is all that a verdict depends on, so it can be written down as JSON and judged again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Object = dict[str, Any]
NODE_PREFIX = "sv-"
HOME, RED, BLUE, BARE = "same-verdicts", "sv-red", "sv-blue", "sv-bare"
NAMESPACES: Mapping[str, Mapping[str, str]] = {  # as they are where a world does not say otherwise
    HOME: {},
    RED: {"team": "a", "tier": "a"},
    BLUE: {"team": "b", "tier": "a"},
    BARE: {},
}
RUNTIME_CLASSES: Sequence[Object] = (
    {"metadata": {"name": "sv-heavy"}, "overhead": {"podFixed": {"cpu": "500m", "memory": "2"}}},
    {
        "metadata": {"name": "sv-elsewhere"},
        "scheduling": {"nodeSelector": {"zone": "b"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
    },
)
# None of them preempts: kube-scheduler must not change the world that it judges.
PRIORITY_CLASSES: Sequence[Object] = tuple(
    {"metadata": {"name": name}, "value": value, "preemptionPolicy": "Never"}
    for name, value in (("sv-high", 10), ("sv-low", -10))
)
_STORAGE = "/apis/storage.k8s.io/v1"
PATHS = {  # in the order in which they are made
    "StorageClass": f"{_STORAGE}/storageclasses",
    "CSIDriver": f"{_STORAGE}/csidrivers",
    "CSINode": f"{_STORAGE}/csinodes",
    "CSIStorageCapacity": f"{_STORAGE}/namespaces/{{}}/csistoragecapacities",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "VolumeAttachment": f"{_STORAGE}/volumeattachments",
}


@dataclass(frozen=True)
class Resident:
    """A Pod that is on a node already. status: what the kubelet wrote, before the Pod was bound or afterwards.

    nominated: it is not there yet; another scheduler keeps the room for it."""

    pod: Object
    node: str
    phase: str = ""
    status: Object = field(default_factory=dict)
    terminating: bool = False
    nominated: bool = False


@dataclass(frozen=True)
class World:
    """storage: objects with their kind. namespaces: the labels of NAMESPACES, where they differ."""

    nodes: Sequence[Object]
    residents: Sequence[Resident]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    storage: Sequence[Object] = ()

    def as_json(self) -> Object:
        return asdict(self)

    @classmethod
    def of_json(cls, read: Object) -> World:
        return cls(**{**read, "residents": [Resident(**resident) for resident in read["residents"]]})


def namespace_of(thing: Object) -> str:
    namespace: str = thing.get("metadata", {}).get("namespace", HOME)
    return namespace


def path_of(thing: Object) -> str:
    """Of a storage object's collection."""
    return PATHS[thing["kind"]].format(namespace_of(thing))


def pods_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
