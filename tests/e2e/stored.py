"""Words for cases about volumes: classes, claims, volumes, drivers and what they may do where.

All names are the case's own (see tests/e2e/case.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.e2e.case import Expression, pod, term
from tests.e2e.world import HOME, Object

DRIVER, CLASS = "*csi", "*class"


def storage_class(
    *, waits: bool = True, provisioner: str = DRIVER, name: str = CLASS, only_in: Mapping[str, list[str]] | None = None
) -> Object:
    """A class whose volumes are made, by a driver or by nobody, at once or when the node is known."""
    topologies = [
        {"matchLabelExpressions": [{"key": key, "values": values} for key, values in (only_in or {}).items()]}
    ]
    return {
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer" if waits else "Immediate",
        **({"allowedTopologies": topologies} if only_in else {}),
    }


NOBODY_MAKES = storage_class(provisioner="kubernetes.io/no-provisioner")


def claim(
    name: str,
    volume: str = "",
    *,
    cls: str = "",
    size: str = "1Gi",
    modes: Sequence[str] = ("ReadWriteOnce",),
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Object:
    """A claim; with a volume that names it, they are bound before anybody asks."""
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"*{name}", "namespace": HOME, "annotations": dict(annotations or {})},
        "spec": {
            "accessModes": list(modes),
            "storageClassName": cls,
            "resources": {"requests": {"storage": size}},
            **({"volumeName": f"*{volume}"} if volume else {}),
            **spec,
        },
    }


def volume(
    name: str,
    of: str = "",
    *,
    cls: str = "",
    size: str = "1Gi",
    on: Sequence[Sequence[Expression]] = (),
    modes: Sequence[str] = ("ReadWriteOnce",),
    driver: str = "",
    source: Object | None = None,
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> Object:
    """A volume, for the claim `of`. on: the nodes that can reach it, an OR of terms. driver: it has to be attached."""
    if driver:
        source = {"csi": {"driver": driver, "volumeHandle": f"*{name}"}}
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": f"*{name}", "labels": dict(labels or {})},
        "spec": {
            "accessModes": list(modes),
            "capacity": {"storage": size},
            "storageClassName": cls,
            "persistentVolumeReclaimPolicy": "Retain",
            **(source or {"hostPath": {"path": "/tmp"}}),
            **({"claimRef": {"namespace": HOME, "name": f"*{of}"}} if of else {}),
            **({"nodeAffinity": {"required": {"nodeSelectorTerms": [term(*each) for each in on]}}} if on else {}),
            **spec,
        },
    }


def bound(name: str, **how: Any) -> list[Object]:
    """A claim and its volume, which has the same name."""
    modes = how.get("modes", ("ReadWriteOnce",))
    return [volume(name, name, **how), claim(name, name, modes=modes, size=how.get("size", "1Gi"))]


def going(thing: Object) -> Object:
    """It is being deleted, and not gone yet."""
    return {**thing, "going": True, "metadata": thing["metadata"] | {"finalizers": ["test.nos/keep"]}}


def using(*claims: str, **spec: Any) -> Object:
    return pod(volumes=[{"name": f"v{n}", **_source(name)} for n, name in enumerate(claims)], **spec)


def _source(name: str) -> Object:
    return {"persistentVolumeClaim": {"claimName": f"*{name}"}}


def on_its_own(cls: str, size: str = "1Gi") -> Object:
    """A Pod with an ephemeral volume: its claim is made for it."""
    spec = claim("", cls=cls, size=size)["spec"]
    return pod(volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}])


def csi_driver(**spec: Any) -> Object:
    return {"kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": spec}


def csi_node(node: str, limit: int | None = None, driver: str = DRIVER) -> Object:
    allocatable = {} if limit is None else {"allocatable": {"count": limit}}
    drivers = [{"name": driver, "nodeID": node, **allocatable}]
    return {"kind": "CSINode", "metadata": {"name": node}, "spec": {"drivers": drivers}}


def capacity(name: str, where: Object | None, size: str, *, largest: str = "", cls: str = CLASS) -> Object:
    """What is left to make volumes of, on the nodes with these labels."""
    return {
        "kind": "CSIStorageCapacity",
        "metadata": {"name": f"*{name}", "namespace": HOME},
        "storageClassName": cls,
        **({"nodeTopology": where} if where is not None else {}),
        **({"capacity": size} if size else {}),
        **({"maximumVolumeSize": largest} if largest else {}),
    }


def attachment(volume: str, node: str, attacher: str = DRIVER) -> Object:
    return {
        "kind": "VolumeAttachment",
        "metadata": {"name": f"*{volume}"},
        "spec": {"attacher": attacher, "nodeName": node, "source": {"persistentVolumeName": f"*{volume}"}},
    }
