"""What a node offers."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache

from nos import _core
from nos.kube.decode.amounts import GPU, MIG, amounts, countable, rounded
from nos.kube.gpunode import STARTUP_TAINT
from nos.kube.node import Node, Taint
from nos.kube.volumes import NodeVolumes
from nos.mig import recognize

_log = logging.getLogger(__name__)
_MOST_BYTES = 2**50  # of an image
_MOST_MEMORY_GB = 1_000_000  # of a GPU, as far as the core counts
_MEMORY, _PRODUCT = "nvidia.com/gpu.memory", "nvidia.com/gpu.product"  # labels of GPU feature discovery


def node_spec(
    node: Node,
    gpus: Sequence[_core.GpuSpec] | None = None,
    *,
    volumes: NodeVolumes | None = None,
    by_dra: Sequence[str] = (),
) -> _core.NodeSpec:
    """What a node offers. One that makes no sense offers nothing, and says so in the log.

    gpus: where nos cuts them, how they are; then they count, and not what the Node's status says, which lags behind.
    volumes: of its CSI drivers. by_dra: the extended resources for which it has DRA devices; those that it offers
    otherwise as well are no matter of DRA.
    """
    labels, name, status = node.metadata.labels, node.metadata.name, node.status
    volumes = volumes or NodeVolumes()
    try:
        allocatable = countable(rounded(amounts(status.allocatable) or {}))
        if gpus is not None:
            allocatable = {r: a for r, a in allocatable.items() if not r.startswith(MIG)} | {GPU: len(gpus)}
        return _core.NodeSpec(
            allocatable,
            gpus=gpus or (),
            labels=labels,
            taints=[_core.Taint(t.key, t.value, t.effect) for t in node.spec.taints if _counts(t, gpus)],
            unschedulable=node.spec.unschedulable,
            images={tag: max(0, min(i.size_bytes, _MOST_BYTES)) for i in status.images for tag in i.names or ()},
            features=(*status.declared_features, *volumes.features),
            attach_limits=dict(volumes.attach_limits),
            attached=volumes.attached,
            gpu_memory_gb=_gpu_memory_gb(labels),
            by_dra=[resource for resource in by_dra if not allocatable.get(resource)],
        )
    except (ValueError, OverflowError) as error:
        _log.warning("node %s takes no Pods: %s", name, error)
        return _core.NodeSpec({}, labels=labels, unschedulable=True)


def _counts(taint: Taint, gpus: Sequence[_core.GpuSpec] | None) -> bool:
    """The startup taint is for those who do not know what is being cut there."""
    return taint.key != STARTUP_TAINT or gpus is None


def _gpu_memory_gb(labels: Mapping[str, str]) -> int:
    """Of each GPU of the node, rounded up, as quotas count it; 0 where nothing tells."""
    told = labels.get(_MEMORY, "")
    mib = int(told) if told.isascii() and told.isdigit() and len(told) < 12 else 0
    return min(-(-(mib or _of_product(labels.get(_PRODUCT, ""))) // 1024), _MOST_MEMORY_GB)


@lru_cache(maxsize=1024)
def _of_product(name: str) -> int:
    model = recognize(name) if name else None
    return (model.memory_mib or 0) if model else 0
