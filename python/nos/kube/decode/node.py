"""What a node offers."""

import logging
from collections.abc import Sequence

from nos import _core
from nos.kube.decode.amounts import GPU, MIG, amounts, countable, rounded
from nos.kube.node import Node
from nos.kube.volumes import NodeVolumes

_log = logging.getLogger(__name__)


def node_spec(
    node: Node, gpus: Sequence[_core.GpuSpec] | None = None, *, volumes: NodeVolumes | None = None
) -> _core.NodeSpec:
    """What a node offers. One that makes no sense offers nothing, and says so in the log.

    gpus: where nos cuts them, how they are; then they count, and not what the Node's status says, which lags behind.
    """
    del volumes  # until the core counts them
    labels, name = node.metadata.labels, node.metadata.name
    try:
        allocatable = countable(rounded(amounts(node.status.allocatable) or {}))
        if gpus is not None:
            allocatable = {r: a for r, a in allocatable.items() if not r.startswith(MIG)} | {GPU: len(gpus)}
        return _core.NodeSpec(
            allocatable,
            gpus=gpus or (),
            labels=labels,
            taints=[_core.Taint(t.key, t.value, t.effect) for t in node.spec.taints],
            unschedulable=node.spec.unschedulable,
        )
    except (ValueError, OverflowError) as error:
        _log.warning("node %s takes no Pods: %s", name, error)
        return _core.NodeSpec({}, labels=labels, unschedulable=True)
