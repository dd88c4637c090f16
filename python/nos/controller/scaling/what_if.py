"""The cluster as it will be: a copy of the ledger, with the nodes that are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache

from msgspec.structs import replace

from nos import _core
from nos.autoscaler.backend import Group
from nos.controller.ledger import Ledger
from nos.controller.scaling.daemons import Daemons
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Expected, Orders
from nos.controller.waiting import State
from nos.kube.decode import node_spec
from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL
from nos.kube.node import Node
from nos.kube.quantity import NANO, nano
from nos.mig import core_model, recognize
from nos.record.cluster import Copied

_MOST_NEW = 100_000  # nodes of a group at once, as the core has it
_MOST_GPUS = 65_535  # likewise, of one node
HOSTNAME = "kubernetes.io/hostname"
_GPU, _PRODUCT = "nvidia.com/gpu", "nvidia.com/gpu.product"


async def copy(ledger: Ledger) -> Copied:
    """The ledger's Cluster as it is between two cycles, without those that wait and get no nodes."""
    made: asyncio.Future[Copied] = asyncio.get_running_loop().create_future()

    def make() -> None:
        if made.done():
            return
        cluster = ledger.cluster.what_if()
        for waiting in ledger.waiting.values():
            if not waiting.gets_nodes and waiting.state is State.PENDING:
                cluster.remove_pod(waiting.uid)
        made.set_result(cluster)

    ledger.edit(make)
    return await made


def node_groups(fleet: Fleet, orders: Orders, daemons: Daemons) -> tuple[list[_core.NodeGroup], dict[str, str]]:
    """The groups of which nodes may be had now, and of the others why none."""
    groups: list[_core.NodeGroup] = []
    unasked: dict[str, str] = {}
    for id_, group in fleet.groups.items():
        if why := fleet.problems.get(id_) or orders.pause(id_):
            unasked[id_] = why
            continue
        try:
            groups.append(_node_group(id_, group, daemons, orders.room(id_)))
        except (ValueError, OverflowError) as error:  # a backend may say anything
            unasked[id_] = f"what is said of it makes no sense: {error}"
    return groups, unasked


def _node_group(id_: str, group: Group, daemons: Daemons, room: int) -> _core.NodeGroup:
    backend = id_.partition("/")[0]
    uses = {f"{backend}/{limit}": amount for limit, amount in group.uses.items()}
    return _core.NodeGroup(
        id_, offered(daemons.leave(group.template)), price=group.price, room=max(0, min(room, _MOST_NEW)), uses=uses
    )


def expect(cluster: _core.Cluster, ledger: Ledger, daemons: Daemons, coming: Mapping[str, Expected]) -> None:
    """Count on these nodes, by the name that each is to have."""
    for name, expected in coming.items():
        node, template = expected.node, expected.group.template
        gpus = ledger.gpu_nodes.gpus(node) if node and ledger.nodes.is_cut(node) else []
        # On a Node the DaemonSets' Pods are, and count.
        cluster.upsert_node(name, offered(template if node else daemons.leave(template), name, gpus))
        for uid in expected.pods:
            waiting = ledger.waiting.get(uid)
            if waiting and waiting.state is State.PENDING and uid in cluster:
                waiting.offer(cluster, wish=name)


def offered(template: Node, name: str = "", gpus: list[_core.GpuSpec] | None = None) -> _core.NodeSpec:
    """What a node of that template offers; its GPUs as given, or as they come: whole, and to be cut at will."""
    labels = template.metadata.labels
    if labels.get(PARTITIONING_LABEL) in CUT_BY_NOS:
        gpus = gpus or _uncut(labels.get(_PRODUCT, ""), nano(template.status.allocatable.get(_GPU, "0")) // NANO)
    else:
        gpus = None
    if name:
        template = replace(template, metadata=replace(template.metadata, labels={HOSTNAME: name} | labels))
    return node_spec(template, gpus)


@lru_cache(maxsize=256)
def _model(product: str) -> _core.GpuModel | None:
    model = recognize(product)
    return core_model(model) if model else None


def _uncut(product: str, count: int) -> list[_core.GpuSpec]:
    return [_core.GpuSpec(_model(product), ready=True)] * min(count, _MOST_GPUS)
