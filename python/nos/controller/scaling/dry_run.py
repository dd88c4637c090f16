"""What scaling would do to a cluster now: the controller's own parts look, and nothing is written."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from nos import _core
from nos.autoscaler.backend import State
from nos.controller.ledger import Ledger
from nos.controller.look import watched
from nos.controller.scaling.plan import plan
from nos.controller.scaling.stage import Stage
from nos.controller.settings import Settings
from nos.kube.access import Access
from nos.kube.encode import instance_list

_MICRO = 1_000_000


class GroupLine(Struct, rename="camel"):
    """A node group."""

    id: str
    price: float  # dollars per hour
    up: int
    coming: int
    max: int
    problem: str


class OrderLine(Struct, rename="camel"):
    """A node that would be ordered."""

    group: str
    price: float  # dollars per hour
    pods: list[str]
    layout: str  # as the node's annotation would have it


class WaitingLine(Struct, rename="camel"):
    """A Pod that no new node would help, or for which one is on its way."""

    pod: str
    message: str


class RemovalLine(Struct, rename="camel"):
    """Nodes that are not needed."""

    nodes: list[str]
    moves: dict[str, str]  # Pods, and where they would go
    new: list[str]  # groups of cheaper nodes that would be ordered for them first
    saved: float  # dollars per hour


class DryRun(Struct, rename="camel"):
    """All of it."""

    groups: list[GroupLine]
    orders: list[OrderLine]
    price: float  # of the orders, dollars per hour
    coming: list[WaitingLine]
    left: list[WaitingLine]
    removals: list[RemovalLine]


def look(settings: Settings, synced: Callable[[], None]) -> DryRun:
    """Learn the cluster and look. synced: called when the first is done. Raises ConfigError."""
    access = Access.load(settings.kubeconfig, settings.context)
    return asyncio.run(_look(settings, access, synced))


async def _look(settings: Settings, access: Access, synced: Callable[[], None]) -> DryRun:
    async with watched(access, settings.scheduler_name) as (client, ledger):
        synced()
        stage = Stage.looking(client, ledger, settings.scaling, settings.score)
        return await _found(ledger, stage, _core.Policy(settings.score))


async def _found(ledger: Ledger, stage: Stage, policy: _core.Policy) -> DryRun:
    fleet, orders = stage.fleet, stage.orders
    await fleet.survey()
    orders.follow()
    with ThreadPoolExecutor(1) as thread:
        found = await plan(ledger, fleet, orders, stage.daemons, policy, thread)
    removals = await stage.down.look()
    names = {waiting.uid: f"{waiting.namespace}/{waiting.name}" for waiting in ledger.waiting.values()}
    names |= {uid: pod.key for uid, pod in ledger.pods.known.items()}
    coming = [bind for bind in found.outcome.binds if bind.node in found.coming]
    return DryRun(
        groups=[
            GroupLine(
                id_,
                group.price / _MICRO,
                len(fleet.of(id_, State.UP)),
                len(fleet.of(id_, State.COMING)),
                group.max,
                found.unasked.get(id_, ""),
            )
            for id_, group in fleet.groups.items()
        ],
        orders=[
            OrderLine(
                node.group,
                fleet.groups[node.group].price / _MICRO,
                [names[uid] for uid in node.pods],
                instance_list([(slot, *place) for slot, (_, cut) in enumerate(node.cuts) for place in cut]),
            )
            for node in found.outcome.nodes
        ],
        price=found.outcome.price / _MICRO,
        coming=[WaitingLine(names[bind.uid], f"A node of {found.coming[bind.node]} is on its way") for bind in coming],
        left=[WaitingLine(names[uid], why) for uid, why in found.left],
        removals=[
            RemovalLine(
                step.nodes,
                {names[uid]: node for uid, node in step.moves},
                [n.group for n in step.new],
                step.saved / _MICRO,
            )
            for step in removals.steps
        ],
    )
