"""Storage objects for tests, as the API server would send them."""

from __future__ import annotations

import json
from typing import Any

from nos.kube import storage
from nos.kube.pod import Pod, decode_pod
from nos.kube.storage_index import Key, StorageIndex

ZONE = "topology.kubernetes.io/zone"
Body = dict[str, Any]


def term(**labels: str) -> Body:
    """A node selector term: each label has that value. `__` in a name is a `/`, `_` a `.`."""
    keys = {name.replace("__", "/").replace("_", "."): value for name, value in labels.items()}
    return {"matchExpressions": [{"key": k, "operator": "In", "values": [v]} for k, v in keys.items()]}


def claim(name: str, storage_class: str | None = "local", size: str = "1Gi", **more: Any) -> Body:
    """`annotations`, `uid`, `ownerReferences`, `deletionTimestamp` go into its metadata, `phase` into its status."""
    metadata = {"name": name, "namespace": "ml", "uid": f"uid-of-{name}", "resourceVersion": "5"}
    inside = ("annotations", "uid", "ownerReferences", "deletionTimestamp", "namespace", "resourceVersion")
    metadata |= {key: more.pop(key) for key in inside if key in more}
    status = {"phase": more.pop("phase", "Pending")}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "volumeMode": "Filesystem"}
    return {"metadata": metadata, "spec": spec | {"storageClassName": storage_class} | more, "status": status}


def bound(name: str, volume: str, **more: Any) -> Body:
    """A claim that the PV controller has bound."""
    annotations = {"pv.kubernetes.io/bind-completed": "yes"}
    return claim(name, **{"volumeName": volume, "annotations": annotations, "phase": "Bound"} | more)


def volume(name: str, storage_class: str = "local", size: str = "1Gi", **more: Any) -> Body:
    """`labels` and other metadata as above; `nodes`: the terms of its node affinity."""
    metadata = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "6"}
    inside = ("labels", "annotations", "deletionTimestamp", "uid", "resourceVersion")
    metadata |= {key: more.pop(key) for key in inside if key in more}
    status = {"phase": more.pop("phase", "Available")}
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "storageClassName": storage_class}
    if nodes := more.pop("nodes", None):
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": nodes}}
    return {"metadata": metadata, "spec": spec | more, "status": status}


def storage_class(
    name: str, provisioner: str = "kubernetes.io/no-provisioner", *, wait: bool = True, **more: Any
) -> Body:
    mode = "WaitForFirstConsumer" if wait else "Immediate"
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode} | more


def capacity(name: str, storage_class: str, amount: str | None, topology: Body | None, most: str | None = None) -> Body:
    body = {"metadata": {"name": name, "namespace": "kube-system"}, "storageClassName": storage_class}
    found = {"capacity": amount, "maximumVolumeSize": most, "nodeTopology": topology}
    return body | {key: value for key, value in found.items() if value is not None}


def csi_node(name: str, **limits: int | None) -> Body:
    drivers = [
        {"name": driver.replace("_", ".")} | ({} if count is None else {"allocatable": {"count": count}})
        for driver, count in limits.items()
    ]
    return {"metadata": {"name": name}, "spec": {"drivers": drivers}}


def csi_driver(name: str, **spec: bool) -> Body:
    return {"metadata": {"name": name}, "spec": spec}


def attachment(name: str, node: str, volume: str, attacher: str = "csi.example.com") -> Body:
    spec = {"attacher": attacher, "nodeName": node, "source": {"persistentVolumeName": volume}}
    return {"metadata": {"name": name}, "spec": spec}


def csi(handle: str, driver: str = "csi.example.com") -> Body:
    return {"csi": {"driver": driver, "volumeHandle": handle}}


_DECODERS = {
    "claims": storage.decode_claim,
    "volumes": storage.decode_volume,
    "classes": storage.decode_class,
    "csi_nodes": storage.decode_csi_node,
    "drivers": storage.decode_csi_driver,
    "capacities": storage.decode_capacity,
    "attachments": storage.decode_attachment,
}


def decoded(kind: str, body: Body) -> storage.Stored:
    """What the controller makes of it."""
    return _DECODERS[kind](json.dumps(body).encode())


def index(**objects: list[Body]) -> StorageIndex:
    """An index of these, by kind."""
    made = StorageIndex()
    for kind, bodies in objects.items():
        put(made, kind, *bodies)
    return made


def put(where: StorageIndex, kind: str, *bodies: Body) -> set[Key]:
    """Add or change objects; what that is a change of."""
    return set().union(*(where.put(decoded(kind, body)) for body in bodies))


def pod(*claims: str, name: str = "train", ephemeral: tuple[str, ...] = (), **sources: Any) -> Pod:
    """A Pod of namespace ml that uses claims, ephemeral volumes of these names, and other volumes by their kind."""
    volumes: list[Body] = [
        {"name": f"v{n}", "persistentVolumeClaim": {"claimName": claim}} for n, claim in enumerate(claims)
    ]
    volumes += [{"name": volume, "ephemeral": {"volumeClaimTemplate": {}}} for volume in ephemeral]
    volumes += [{"name": kind.lower(), kind: source} for kind, source in sources.items()]
    metadata = {"name": name, "namespace": "ml", "uid": f"uid-of-{name}"}
    return decode_pod(json.dumps({"metadata": metadata, "spec": {"volumes": volumes}}).encode())
