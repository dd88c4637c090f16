"""Takes away nodes that are not needed.

Every so often the core looks on a copy of the ledger which nodes could go: empty ones, and those whose Pods all have a
place elsewhere, if what is saved is worth the moves. A node that has been found so for long enough, without a break, is
drained and deleted, a few at a time; where a cheaper new node would do for its Pods, that is ordered first, if it pays
for itself in the time for which savings are expected to last. A node that is young, that says that it is to stay, or
whose group has nodes on their way is not looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nos import _core
from nos.autoscaler.backend import NOS, State
from nos.controller.ledger import Ledger
from nos.controller.scaling import what_if
from nos.controller.scaling.daemons import Daemons
from nos.controller.scaling.drains import Drains
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Orders
from nos.controller.scaling.scale_up import wanted
from nos.controller.scaling.settings import Scaling
from nos.kube.decode import WITH_ITS_NODE
from nos.kube.node import Node

_KEEPS_NODE = {
    "cluster-autoscaler.kubernetes.io/scale-down-disabled": "true",
    "karpenter.sh/do-not-disrupt": "true",
    "nos.nebuly.com/scale-down-disabled": "true",
}
_MICRO, _HOUR_S = 1_000_000, 3600.0
_LOOKS = 10  # at a node before it is found to be unneeded for long enough

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Removals:
    """What the core found."""

    steps: list[_core.Removal]
    instances: dict[str, str]  # of removable nodes, by node


class ScaleDown:
    """`run` does it."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        orders: Orders,
        daemons: Daemons,
        drains: Drains,
        settings: Scaling,
        *,
        policy: _core.Policy,
        may_write: Callable[[], bool],
    ) -> None:
        self.removed = 0  # nodes
        self.on_removal: Callable[[float], None] = lambda _: None  # told in how many seconds one pays
        self._ledger = ledger
        self._fleet = fleet
        self._orders = orders
        self._daemons = daemons
        self._drains = drains
        self._settings = settings
        self._policy = policy
        self._may_write = may_write
        self._unneeded: dict[str, float] = {}  # by node: since when
        self._thread = ThreadPoolExecutor(1, "scale-down")

    async def run(self) -> None:
        """Drain and delete until cancelled."""
        pause = max(self._settings.survey_seconds, self._settings.scale_down.unneeded_seconds / _LOOKS)
        try:
            while True:
                await asyncio.sleep(pause)
                if self._may_write():
                    async with self._fleet.turn:
                        await self._turn()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _turn(self) -> None:
        found = await self.look()
        now, patience = asyncio.get_running_loop().time(), self._settings.scale_down.unneeded_seconds
        unneeded = [node for step in found.steps for node in step.nodes]
        self._unneeded = {node: self._unneeded.get(node, now) for node in unneeded}
        coming = self._orders.coming()
        for step in found.steps:
            if self._drains.count + len(step.nodes) > max(self._settings.scale_down.drains, len(step.nodes)):
                break
            if any(now - self._unneeded[node] < patience for node in step.nodes):
                continue
            own = {node.name for node in step.new}
            goals = {node for _, node in step.moves} - own
            if any(node in coming or self._ledger.nodes.node(node) is None for node in goals):
                continue  # where they are to move is not there yet
            if not self._is_as_seen(step):
                continue
            if step.new:
                await self._exchange(step)
                continue
            for node in step.nodes:
                _log.info("node %s is not needed: %d Pods move, %s", node, len(step.moves), _dollars(step.saved))
                await self._drains.begin(node, found.instances[node])
            self.removed += len(step.nodes)
            self.on_removal(self._cost(step) / max(1, step.saved) * _HOUR_S)

    def _is_as_seen(self, step: _core.Removal) -> bool:
        """Whether nobody has come to its nodes since they were looked at."""
        moving, nodes = {uid for uid, _ in step.moves}, set(step.nodes)
        there = ((uid, pod) for uid, pod in self._ledger.pods.known.items() if pod.node in nodes)
        return all(uid in moving or pod.stays == WITH_ITS_NODE for uid, pod in there)

    async def _exchange(self, step: _core.Removal) -> None:
        """Order the cheaper node; the old ones are not needed any more once it is there."""
        for node in step.new:
            _log.info("node %s of %s is to replace %s: %s", node.name, node.group, step.nodes, _dollars(step.saved))
            if await self._orders.place(node.group, [wanted(node)]):
                self._orders.movers.update(node.pods)
                self.on_removal(self._cost(step) / max(1, step.saved) * _HOUR_S)

    async def look(self) -> Removals:
        """Which nodes could go, as the cluster is now."""
        await self._fleet.survey()
        self._orders.follow()
        settings = self._settings.scale_down
        await self._daemons.look()
        nodes, spare = self._removable()
        cluster = await what_if.copy(self._ledger)
        what_if.expect(cluster, self._ledger, self._daemons, self._orders.coming())
        known = self._ledger.pods.known
        movable = [uid for uid, pod in known.items() if pod.node and not pod.stays]
        ignored = [uid for uid, pod in known.items() if pod.stays == WITH_ITS_NODE]
        move_price = int(settings.move_price * _MICRO * _HOUR_S / settings.expected_idle_seconds)
        groups, limits = self._fleet.groups, dict(self._fleet.limits)
        offers, _ = what_if.node_groups(self._fleet, self._orders, self._daemons)
        offers = [offer for offer in offers if groups[offer.id].by == NOS]
        removable = [
            _core.Removable(node, price=groups[group].price, limit=group) for node, (_, group) in nodes.items()
        ]

        given: dict[str, Any] = {
            "nodes": removable,
            "movable": movable,
            "ignored": ignored,
            "spare": spare,
            "groups": offers,
            "limits": limits,
            "move_price": move_price,
        }

        def solve() -> _core.ScaleDown:
            return _core.scale_down(cluster, **given, policy=self._policy)

        outcome = await asyncio.get_running_loop().run_in_executor(self._thread, solve)
        self._ledger.cluster.planned(cluster, "scale_down", given, outcome)
        steps = [step for step in outcome.steps if self._pays(step)]
        return Removals(steps, {node: instance for node, (instance, _) in nodes.items()})

    def _pays(self, step: _core.Removal) -> bool:
        """Whether it saves more than its new nodes cost until they serve, beside the old ones, and the moves."""
        if not step.new:
            return True  # the core has seen to it
        return step.saved * self._settings.scale_down.expected_idle_seconds / _HOUR_S > self._cost(step)

    def _cost(self, step: _core.Removal) -> float:
        """Of its new nodes until they serve, and of the moves, in micro-dollars."""
        groups = [self._fleet.groups[node.group] for node in step.new]
        booting = sum(group.price * group.boot_seconds for group in groups) / _HOUR_S
        return booting + len(step.moves) * self._settings.scale_down.move_price * _MICRO

    def _removable(self) -> tuple[dict[str, tuple[str, str]], dict[str, int]]:
        """By node, its instance and group; and how many nodes of each group may go."""
        nodes: dict[str, tuple[str, str]] = {}
        spare: dict[str, int] = {}
        now = datetime.now(UTC).timestamp()
        for id_, group in self._fleet.groups.items():
            if (
                group.by != NOS
                or not group.names_victims
                or id_ in self._fleet.problems
                or self._fleet.of(id_, State.COMING)
            ):
                continue
            up = self._fleet.of(id_, State.UP)
            spare[id_] = max(0, min(group.target, len(up)) - group.min)
            of_group = {self._fleet.instances[instance].node: (instance, id_) for instance in up}
            nodes |= {node: of for node, of in of_group.items() if self._may_go(node, now)}
        return nodes, spare

    def _may_go(self, name: str, now: float) -> bool:
        node = self._ledger.nodes.node(name)
        if node is None or node.spec.unschedulable or name in self._drains:
            return False
        return now - _created(node) >= self._settings.scale_down.minimum_age_seconds and not any(
            node.metadata.annotations.get(key) == value for key, value in _KEEPS_NODE.items()
        )


def _created(node: Node) -> float:
    return datetime.fromisoformat(node.metadata.creation_timestamp or "1970-01-01T00:00:00Z").timestamp()


def _dollars(micro: int) -> str:
    return f"${micro / _MICRO:.2f}/h saved"
