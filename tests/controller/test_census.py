"""What is read at a scrape of scaling and of evictions, with a backend in memory and its arithmetic."""

from __future__ import annotations

import asyncio

import pytest

from nos.autoscaler.backend import Instance, Order, State
from nos.controller.census import Census
from nos.controller.run import Controller
from nos.controller.scaling.settings import Scaling
from nos.controller.scaling.stage import Stage
from nos.controller.settings import Settings
from nos.observe.metrics.book import Entry
from tests.controller.in_loop import in_loop
from tests.controller.scaling.pool import Pool
from tests.controller.scaling.test_scale_up import Server


class Rig:
    """A controller that does not run, with a pool to scale."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.controller = Controller(Settings(), Server(), None)
        self.metrics = self.controller.metrics
        parts = self.controller
        self.stage = Stage(
            Server(),
            parts._ledger,
            Scaling(mode="order"),
            [self.pool],
            score="nos",
            may_write=lambda: True,
            evict=lambda *_: None,
            on_change=lambda _: None,
            on_ordered=lambda *_: None,
            on_failed=lambda *_: None,
        )
        self.census = Census(
            self.metrics,
            parts._ledger,
            binder=parts._binder,
            reporter=parts._reporter,
            cutter=parts._cutter,
            evictor=parts._evictor,
            rejections=parts._rejections,
            stage=self.stage,
            watches=parts._watches,
            lease=parts._lease,
        )

    async def survey(self) -> None:
        await self.stage.fleet.survey()
        self.stage.orders.follow()


@in_loop
async def test_nodes_orders_and_what_they_cost() -> None:
    """Of a, at $1.50 an hour, two are up, one goes, one comes and one has failed: three cost $4.50. b is broken."""
    rig = Rig()
    rig.pool.group("a", price=1_500_000, target=4)
    rig.pool.group("b", problem="no price")
    states = [State.UP, State.UP, State.GOING, State.COMING, State.FAILED]
    for number, state in enumerate(states):
        rig.pool.there[f"i-{number}"] = Instance(f"i-{number}", "a", state, f"n{number}")
    await rig.survey()
    of, seen = rig.metrics.scaling, await rig.census.read()
    group = "pool/a"
    assert seen[of.nodes] == {(group, "up"): 2, (group, "going"): 1, (group, "coming"): 1, (group, "failed"): 1}
    assert seen[of.cost] == {(group,): 4.5}
    assert seen[of.groups] == {("ready",): 1, ("resting",): 0, ("broken",): 1}
    assert seen[of.orders] == {}
    assert seen[of.failures] == {(group,): 0, ("pool/b",): 0}

    orders = [Order("r-1", ("p",)), Order("r-2", ("q",))]
    assert await rig.stage.orders.place(group, orders)
    rig.pool.fails = "away"
    assert not await rig.stage.orders.place(group, orders[:1])
    rig.pool.fails, rig.pool.refuses = "", "no capacity"
    assert not await rig.stage.orders.place(group, orders[:1])
    seen = await rig.census.read()
    assert seen[of.orders] == {(group, "taken"): 2, (group, "unanswered"): 1, (group, "refused"): 1}
    assert seen[of.failures] == {(group,): 1, ("pool/b",): 0}
    assert seen[of.groups] == {("ready",): 0, ("resting",): 1, ("broken",): 1}


@in_loop
async def test_causes_are_there_before_anything_happens() -> None:
    """An increase from nothing is none: what is not there yet has to be 0."""
    rig = Rig()
    of, seen = rig.metrics.gpus, await rig.census.read()
    causes = {"priority", "reclaim", "repack", "drain", "gang"}
    assert seen[of.evictions] == {(cause,): 0 for cause in causes}
    assert seen[rig.metrics.scheduling.bindings] == {("bound",): 0, ("refused",): 0, ("failed",): 0}
    assert seen[of.recut_pods] == {("served",): 0, ("failed",): 0}
    assert seen[of.fragmentation] == {(): 0}
    assert seen[rig.metrics.scheduling.lost] == {(): 0}
    rig.controller._reporter.events.lost = 3
    assert (await rig.census.read())[rig.metrics.scheduling.lost] == {(): 3}


@in_loop
async def test_it_waits_for_a_cycle_and_a_fault_is_told_to_who_asked() -> None:
    rig = Rig()
    ledger = rig.controller._ledger
    with ledger.scheduling():
        asked = asyncio.create_task(rig.census.read())
        await asyncio.sleep(0.01)
        assert not asked.done()
    assert (await asked)[rig.metrics.gpus.nodes] == {(): 0}

    def fails() -> dict[Entry, dict[tuple[str, ...], float]]:
        raise KeyError("x")

    rig.census._room = fails  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        await rig.census.read()
