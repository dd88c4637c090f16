"""Random storage: claims that are bound, claims that wait for their Pod's node, and what there is to serve them.

Sizes differ wherever the smallest is chosen: where two are equal kube-scheduler takes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.e2e.world import HOME, Object

_CSI, _TRACKED = "sv.csi", "sv.tracked"
_NOW, _LOCAL, _MADE, _ZONAL, _MEASURED = "sv-now", "sv-local", "sv-made", "sv-zonal", "sv-measured"
_WAITING = (_LOCAL, _MADE, _ZONAL, _MEASURED)


@dataclass
class Storage:
    """What there is, and the claims of HOME that Pods may use, by what is special about them."""

    objects: list[Object] = field(default_factory=list)
    claims: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str, **content: Any) -> None:
        metadata = {"name": name, **content.pop("metadata", {})}
        self.objects.append({"kind": kind, "metadata": metadata, **content})


def random_storage(random: Random, nodes: Sequence[str]) -> Storage:
    storage = Storage()
    _add_classes(random, storage)
    _add_drivers(random, storage, nodes)
    for number in range(14):
        _add_bound(random, storage, number)
    for size in random.sample(range(2, 30), 6):
        _add_volume(random, storage, f"sv-free-{size}", f"{size}Gi", _LOCAL, csi=False)
    _add_volume(random, storage, "sv-promised", "50Gi", _LOCAL, csi=False, of="nobody")
    for number, size in enumerate(random.sample(range(1, 25), 14)):
        cls = _WAITING[number % len(_WAITING)]
        annotations = {}
        if random.random() < 0.1:
            annotations["volume.kubernetes.io/selected-node"] = random.choice(nodes)
        _add_claim(
            storage, "waits" if cls != _MEASURED else "measured", f"wait-{number}", cls, f"{size}Gi", annotations
        )
    _add_claim(storage, "stuck", "going", _MADE, "1Gi")
    for thing in storage.objects:
        if thing["metadata"]["name"] == "going" or (thing["kind"] == "PersistentVolume" and random.random() < 0.1):
            thing["going"] = True
            thing["metadata"]["finalizers"] = ["test.nos/keep"]
    _add_claim(storage, "stuck", "now", _NOW, "1Gi")
    _add_claim(storage, "stuck", "no-class", "sv-no-class", "1Gi")
    _add_claim(storage, "stuck", "no-volume", "", "1Gi", volume="sv-no-volume")
    return storage


def volumes_of(random: Random, storage: Storage, *kinds: str) -> list[Object]:
    """For a Pod's spec: one claim of each kind (bound, alone, limited, waits, measured, stuck, made for the Pod)."""
    volumes: list[Object] = []
    for number, kind in enumerate(kinds):
        left = [name for name in storage.claims.get(kind, []) if name not in str(volumes)]  # each at most once
        source: Object
        if kind == "ephemeral":
            spec = _claim_spec(random.choice((_MADE, _ZONAL)), f"{random.randrange(1, 9)}Gi", ["ReadWriteOnce"])
            source = {"ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
        elif kind == "missing":
            source = {"persistentVolumeClaim": {"claimName": "missing"}}
        elif left:
            source = {"persistentVolumeClaim": {"claimName": random.choice(left)}}
        else:
            continue
        volumes.append({"name": f"v{number}", **source})
    return volumes


def _add_classes(random: Random, storage: Storage) -> None:
    waits = "WaitForFirstConsumer"
    zones = [{"matchLabelExpressions": [{"key": "zone", "values": random.sample("abc", random.choice((1, 2)))}]}]
    if random.random() < 0.5:
        zones.append({"matchLabelExpressions": [{"key": "rack", "values": [random.choice("123456")]}]})
    storage.add("StorageClass", _NOW, provisioner=_CSI, volumeBindingMode="Immediate")
    storage.add("StorageClass", _LOCAL, provisioner="kubernetes.io/no-provisioner", volumeBindingMode=waits)
    storage.add("StorageClass", _MADE, provisioner=_CSI, volumeBindingMode=waits)
    storage.add("StorageClass", _ZONAL, provisioner=_CSI, volumeBindingMode=waits, allowedTopologies=zones)
    storage.add("StorageClass", _MEASURED, provisioner=_TRACKED, volumeBindingMode=waits)


def _add_drivers(random: Random, storage: Storage, nodes: Sequence[str]) -> None:
    storage.add("CSIDriver", _CSI, spec={"preventPodSchedulingIfMissing": random.random() < 0.5})
    storage.add("CSIDriver", _TRACKED, spec={"storageCapacity": True})
    for name in nodes:
        drivers = []
        for driver in (_CSI, _TRACKED):
            limit = random.choice((None, None, 0, 1, 1, 2, 3))
            allocatable = {} if limit is None else {"allocatable": {"count": limit}}
            if random.random() < 0.8:
                drivers.append({"name": driver, "nodeID": name, **allocatable})
        if drivers:
            storage.add("CSINode", name, spec={"drivers": drivers})
    for number in range(random.choice((1, 2, 4))):
        key = random.choice(("zone", "rack"))
        place = random.choice("abc" if key == "zone" else "123456")
        size = f"{random.choice((3, 9, 30))}Gi"
        more = {"maximumVolumeSize": f"{random.choice((2, 8, 40))}Gi"} if random.random() < 0.4 else {}
        storage.add(
            "CSIStorageCapacity",
            f"sv-capacity-{number}",
            metadata={"namespace": HOME},
            storageClassName=_MEASURED,
            nodeTopology={"matchLabels": {key: place}},
            capacity=size,
            **more,
        )


def _add_bound(random: Random, storage: Storage, number: int) -> None:
    """A claim, its volume, and sometimes where that is attached."""
    name, csi = f"sv-bound-{number}", random.random() < 0.6
    alone = random.random() < 0.3
    modes = ["ReadWriteOncePod"] if alone else ["ReadWriteOnce", "ReadWriteMany"]
    _add_volume(random, storage, name, "1Gi", "", csi=csi, of=f"bound-{number}", modes=modes)
    kind = "alone" if alone else "limited" if csi else "bound"
    _add_claim(storage, kind, f"bound-{number}", "", "1Gi", volume=name, modes=modes)
    if csi and random.random() < 0.5:
        nodes = [thing["metadata"]["name"] for thing in storage.objects if thing["kind"] == "CSINode"]
        source = {"persistentVolumeName": name}
        for node in random.sample(nodes, min(len(nodes), random.choice((1, 2)))):
            spec = {"attacher": _CSI, "nodeName": node, "source": source}
            storage.add("VolumeAttachment", f"{name}-on-{node}", spec=spec)


def _add_volume(
    random: Random,
    storage: Storage,
    name: str,
    size: str,
    cls: str,
    *,
    csi: bool,
    of: str = "",
    modes: Sequence[str] = ("ReadWriteOnce",),
) -> None:
    spec: Object = {
        "accessModes": list(modes),
        "capacity": {"storage": size},
        "storageClassName": cls,
        "persistentVolumeReclaimPolicy": "Retain",
        **({"csi": {"driver": _CSI, "volumeHandle": name}} if csi else {"hostPath": {"path": "/tmp"}}),
    }
    if of:
        spec["claimRef"] = {"namespace": HOME, "name": of}
    if random.random() < 0.7:
        terms = [_node_term(random) for _ in range(random.choice((1, 1, 2)))]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    labels = {}
    if random.random() < 0.25:
        prefix = random.choice(
            ("topology.kubernetes.io/", "topology.kubernetes.io/", "failure-domain.beta.kubernetes.io/")
        )
        labels[f"{prefix}zone"] = "__".join(random.sample("abc", random.choice((1, 2))))
        if random.random() < 0.4:
            labels[f"{prefix}region"] = random.choice("rs")
    storage.add("PersistentVolume", name, metadata={"labels": labels}, spec=spec)


def _node_term(random: Random) -> Object:
    key = random.choice(("zone", "zone", "rack", "absent"))
    values = random.sample("abc" if key == "zone" else "123456", 2)
    operator = random.choice(("In", "In", "NotIn", "Exists"))
    requirement = {"key": key, "operator": operator, **({"values": values} if operator.endswith("In") else {})}
    return {"matchExpressions": [requirement]}


def _add_claim(
    storage: Storage,
    kind: str,
    name: str,
    cls: str,
    size: str,
    annotations: Object | None = None,
    *,
    volume: str = "",
    modes: Sequence[str] = ("ReadWriteOnce",),
) -> None:
    spec = _claim_spec(cls, size, modes) | ({"volumeName": volume} if volume else {})
    metadata = {"namespace": HOME, "annotations": annotations or {}}
    storage.add("PersistentVolumeClaim", name, metadata=metadata, spec=spec)
    storage.claims.setdefault(kind, []).append(name)


def _claim_spec(cls: str, size: str, modes: Sequence[str]) -> Object:
    return {"accessModes": list(modes), "storageClassName": cls, "resources": {"requests": {"storage": size}}}
