"""One look of the core at which nodes would help: the same for orders, for a dry run and for whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.scaling import what_if
from nos.controller.scaling.daemons import Daemons
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Orders

_MOST_NAMED = 3  # groups


@dataclass(frozen=True, slots=True)
class Plan:
    """What the core found."""

    outcome: _core.ScaleUp
    coming: Mapping[str, str]  # by the name of a node that is on its way, its group
    unasked: Mapping[str, str]  # groups of which no node may be had now, and why
    at: float  # the loop's time

    @property
    def left(self) -> list[tuple[str, str]]:
        """Whom no node would help, by uid, and what forbids it."""
        others = "".join(f"; group {id_}: {why}" for id_, why in list(self.unasked.items())[:_MOST_NAMED])
        return [(uid, (why + others).removeprefix("; ")) for uid, why in self.outcome.left]


async def plan(
    ledger: Ledger, fleet: Fleet, orders: Orders, daemons: Daemons, policy: _core.Policy, thread: Executor
) -> Plan:
    """Which nodes let those run that wait, as the cluster is now and with what is on its way."""
    loop = asyncio.get_running_loop()
    at = loop.time()
    await daemons.look()
    cluster = await what_if.copy(ledger)
    coming = orders.coming()
    what_if.expect(cluster, ledger, daemons, coming)
    groups, unasked = what_if.node_groups(fleet, orders, daemons)
    given: dict[str, Any] = {"groups": groups, "limits": dict(fleet.limits)}

    def solve() -> _core.ScaleUp:
        return _core.scale_up(cluster, **given, policy=policy)

    outcome = await loop.run_in_executor(thread, solve)
    ledger.cluster.planned(cluster, "scale_up", given, outcome)
    return Plan(outcome, {name: expected.group_id for name, expected in coming.items()}, unasked, at)
