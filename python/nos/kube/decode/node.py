"""What a node offers."""

import logging
from collections.abc import Sequence

from nos import _core
from nos.kube.decode.amounts import GPU, MIG, amounts, countable, rounded
from nos.kube.node import Node
from nos.kube.volumes import NodeVolumes

_log = logging.getLogger(__name__)
_MOST_BYTES = 2**50  # of an image


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
            taints=[_core.Taint(t.key, t.value, t.effect) for t in node.spec.taints],
            unschedulable=node.spec.unschedulable,
            images={tag: max(0, min(i.size_bytes, _MOST_BYTES)) for i in status.images for tag in i.names or ()},
            features=(*status.declared_features, *volumes.features),
            attach_limits=dict(volumes.attach_limits),
            attached=volumes.attached,
            by_dra=[resource for resource in by_dra if not allocatable.get(resource)],
        )
    except (ValueError, OverflowError) as error:
        _log.warning("node %s takes no Pods: %s", name, error)
        return _core.NodeSpec({}, labels=labels, unschedulable=True)
