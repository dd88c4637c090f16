"""What was ordered and what came of it, with a backend that misbehaves. The clock is set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nos.autoscaler.backend import Instance, Order, State
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Orders
from nos.observe.view import Moment
from tests.controller.in_loop import in_loop
from tests.controller.scaling.pool import Pool


class Rig:
    """A pool with one group, and the orders from it."""

    def __init__(self, **fields: object) -> None:
        self.pool = Pool()
        self.pool.group("a", **fields)
        self.failed: list[tuple[str, tuple[str, ...], str]] = []
        self.fleet = Fleet([self.pool])
        self.orders = Orders(self.fleet, self._failed)
        self.needs: set[str] | None = None  # None: all
        self.uses: set[str] = set()  # Nodes with Pods
        self._now = 1000.0
        asyncio.get_running_loop().time = lambda: self._now  # type: ignore[method-assign]

    def _failed(self, group: str, uids: Sequence[str], why: str) -> None:
        self.failed.append((group, tuple(uids), why))

    async def order(self, *pods: str) -> bool:
        """One node for each."""
        placed = await self.orders.place("pool/a", [Order(f"r-{pod}", (pod,)) for pod in pods])
        await self.look()
        return placed

    async def look(self, after: float = 0.0) -> None:
        """Survey and follow."""
        self._now += after
        await self.fleet.survey()
        self.orders.follow()
        await self.orders.give_up(lambda name: self.needs is None or name in self.needs, self.uses.__contains__, 10.0)

    def expected(self) -> list[tuple[str, ...]]:
        """For whom nodes are on their way."""
        return sorted(expected.pods for expected in self.orders.coming().values())


@in_loop
async def test_an_order_counts_until_it_is_a_node() -> None:
    rig = Rig()
    await rig.look()
    assert rig.orders.room("pool/a") == 10
    assert await rig.order("p", "q")
    assert rig.expected() == [("p",), ("q",)]
    assert rig.orders.room("pool/a") == 8
    rig.pool.set("a-0", state=State.UP, node="n-0")
    await rig.look()
    assert rig.expected() == [("q",)]
    assert rig.orders.pods_of == {"n-0": ("p",)}
    assert not rig.failed


@in_loop
async def test_what_comes_of_orders_is_told() -> None:
    rig = Rig()
    told: list[Moment] = []
    rig.orders.happened = told.append
    await rig.look()
    await rig.order("p", "q")
    rig.pool.set("a-0", state=State.UP, node="n-0")
    await rig.look(after=7)
    del rig.pool.there["a-1"]
    await rig.look()
    ordered, up, failed = told
    assert (ordered.kind, ordered.object, ordered.text) == ("NodesOrdered", "pool/a", "Ordered 2 nodes for 2 Pods")
    assert (up.kind, up.object, up.text) == ("NodeUp", "n-0", "The node is up after 7 s")
    assert (failed.kind, failed.object, failed.warning) == ("NodesNotMade", "pool/a", True)
    assert failed.text.startswith("pool/a-1 is gone before it was up; it is not asked for ")


@in_loop
async def test_another_controller_finds_what_was_ordered() -> None:
    rig = Rig()
    await rig.look()
    await rig.order("p")
    again = Orders(rig.fleet, rig._failed)
    again.follow()
    assert [expected.pods for expected in again.coming().values()] == [("p",)]


@in_loop
async def test_what_a_backend_does_not_remember_is_remembered_here() -> None:
    rig = Rig()
    rig.pool.remembers_pods = False
    await rig.look()
    await rig.order("p", "q")
    assert rig.expected() == [("p",), ("q",)]
    rig.pool.set("a-1", state=State.UP, node="n")
    await rig.look()
    assert rig.orders.pods_of == {"n": ("q",)}


@in_loop
async def test_an_order_that_shows_late_is_not_made_twice() -> None:
    rig = Rig()
    await rig.look()
    rig.pool.hides = 1
    await rig.order("p", "q")
    assert rig.expected() == [("p",), ("q",)]  # one is seen, the other taken
    await rig.look(after=30)
    assert rig.expected() == [("p",), ("q",)]
    rig.pool.show()
    await rig.look(after=20)
    assert rig.expected() == [("p",), ("q",)]
    await rig.look(after=60)
    assert rig.expected() == [("p",), ("q",)]
    assert not rig.failed


@in_loop
async def test_an_order_that_never_shows_has_failed() -> None:
    rig = Rig()
    await rig.look()
    rig.pool.hides = 1
    await rig.order("p")
    await rig.look(after=61)
    assert rig.failed == [("pool/a", ("p",), "1 node that it was to make did not appear")]
    assert rig.expected() == []
    assert rig.orders.room("pool/a") == 0  # for a while


@in_loop
async def test_one_that_vanishes_has_failed_and_its_group_rests_ever_longer() -> None:
    rig = Rig()
    await rig.look()
    pauses = []
    for number in range(1, 8):
        assert await rig.order("p")
        rig.pool.there.clear()  # a NodeClaim that gets no capacity is deleted
        await rig.look()
        assert len(rig.failed) == number
        assert rig.failed[-1][2].endswith("is gone before it was up")
        waited = 0
        while rig.orders.room("pool/a") == 0:
            waited += 10
            await rig.look(after=10)
        pauses.append(waited)
    # 60 s, doubled each time, up to 30 min, and up to a fifth more.
    for pause, least in zip(pauses, [60, 120, 240, 480, 960, 1800, 1800], strict=True):
        assert least <= pause <= least * 1.2 + 10


@in_loop
async def test_one_that_comes_up_ends_the_rest() -> None:
    rig = Rig()
    await rig.look()
    await rig.order("p", "q")
    del rig.pool.there["a-0"]
    await rig.look()
    assert rig.orders.pause("pool/a").startswith("pool/a-0 is gone before it was up; it is asked again at ")
    rig.pool.set("a-1", state=State.UP, node="n")
    await rig.look()
    assert rig.orders.pause("pool/a") == ""


@in_loop
async def test_one_that_fails_or_takes_too_long_is_cancelled() -> None:
    rig = Rig(boot_seconds=300)
    await rig.look()
    await rig.order("p", "q")
    rig.pool.set("a-0", state=State.FAILED, message="InsufficientCapacity: no p5 left")
    await rig.look()
    assert rig.failed == [("pool/a", ("p",), "InsufficientCapacity: no p5 left")]
    assert rig.pool.calls[-1] == "cancel a-0"
    await rig.look(after=299)
    assert len(rig.failed) == 1
    await rig.look(after=2)
    assert rig.failed[1:] == [("pool/a", ("q",), "pool/a-1 was not up within 301 s")]
    assert rig.pool.calls[-1] == "cancel a-1"
    await rig.look()
    assert len(rig.failed) == 2
    assert rig.expected() == []


@in_loop
async def test_one_that_is_not_needed_any_more_is_cancelled_while_it_is_no_node() -> None:
    rig = Rig()
    await rig.look()
    await rig.order("p", "q")
    rig.pool.set("a-1", node="n")
    rig.needs = {"pool/a-0"}
    await rig.look(after=30)
    rig.needs = set()
    await rig.look(after=30)
    await rig.look(after=9)
    assert not [call for call in rig.pool.calls if call.startswith("cancel")]
    await rig.look(after=1)
    assert [call for call in rig.pool.calls if call.startswith("cancel")] == ["cancel a-0"]
    await rig.look()
    assert not rig.failed
    assert rig.orders.room("pool/a") == 9


@in_loop
async def test_a_refusal_rests_the_group_for_a_minute_an_unanswered_order_for_seconds() -> None:
    rig = Rig()
    await rig.look()
    rig.pool.refuses = "quota of the project exceeded"
    assert not await rig.order("p")
    assert rig.failed == [("pool/a", ("p",), "quota of the project exceeded")]
    await rig.look(after=59)
    assert rig.orders.room("pool/a") == 0
    await rig.look(after=14)
    assert rig.orders.room("pool/a") == 10
    rig.pool.refuses, rig.pool.fails = "", "connection reset"
    assert not await rig.order("p")
    rig.pool.fails = ""
    await rig.look(after=9)
    assert rig.orders.room("pool/a") == 0
    await rig.look(after=4)
    assert rig.orders.room("pool/a") == 10
    assert len(rig.failed) == 1


@in_loop
async def test_a_lost_answer_orders_nothing_twice() -> None:
    rig = Rig()
    await rig.look()
    await rig.pool.increase(rig.fleet.groups["pool/a"], [Order("r", ("p",))])  # it came through, its answer did not
    await rig.look()
    assert rig.expected() == [("p",)]
    assert rig.orders.room("pool/a") == 9


@in_loop
async def test_nodes_that_do_not_serve_who_they_were_made_for_come_to_an_end() -> None:
    rig = Rig()
    await rig.look()
    for number in range(2):
        assert await rig.order("p")
        rig.pool.set(f"a-{number}", state=State.UP, node=f"n-{number}")
        await rig.look()
    assert not await rig.order("p")
    (failed,) = rig.failed
    assert failed[1] == ("p",)
    assert failed[2] == "2 nodes were made for a Pod that still waits: the template promises more than they are"
    rig.orders.forget({"q"})  # it does not wait any more
    await rig.look(after=73)
    assert await rig.order("p")


@in_loop
async def test_an_age_before_we_looked_counts() -> None:
    rig = Rig(boot_seconds=10_000_000_000)
    rig.pool.there["old"] = Instance("old", "a", State.COMING, since=1.0)  # 1970
    await rig.look()
    assert rig.pool.calls == ["survey"]
    rig.pool.group("a", boot_seconds=300)
    await rig.look()
    assert rig.pool.calls[-1] == "cancel old"


@in_loop
async def test_what_is_taken_and_not_seen_yet_uses_room() -> None:
    rig = Rig(max=3)
    await rig.look()
    rig.pool.hides = 2
    await rig.orders.place("pool/a", [Order("r", ("p",)), Order("s", ("q",))])
    assert rig.orders.room("pool/a") == 1


@in_loop
async def test_what_is_given_up_is_not_counted_on_while_it_goes() -> None:
    rig = Rig()
    await rig.look()
    await rig.order("p")
    rig.needs = set()
    await rig.look()
    instance = rig.pool.there["a-0"]
    await rig.look(after=11)
    rig.pool.there["a-0"] = instance  # it takes its time
    await rig.look()
    assert rig.expected() == []
    assert rig.pool.calls.count("cancel a-0") == 1


@in_loop
async def test_a_backend_that_only_counts_has_another_name_for_what_came() -> None:
    rig = Rig()
    rig.pool.remembers_pods = False
    await rig.look()
    await rig.order("p", "q")
    rig.pool.there["node-x"] = Instance("node-x", "a", State.COMING, "node-x")
    del rig.pool.there["a-1"]
    await rig.look(after=5)
    assert rig.expected() == [("p",), ("q",)]
    rig.pool.set("node-x", state=State.UP)
    await rig.look()
    assert rig.expected() == [("p",)]
    assert rig.orders.pods_of == {"node-x": ("q",)}
    assert not rig.failed
    del rig.pool.there["a-0"]  # and nothing came of that
    await rig.look()
    assert len(rig.failed) == 1


@in_loop
async def test_one_that_is_overdue_and_has_pods_stays() -> None:
    rig = Rig(boot_seconds=60)
    await rig.look()
    await rig.order("p")
    rig.pool.set("a-0", node="n")  # its backend waits for something, its Pods run
    rig.uses = {"n"}
    await rig.look(after=61)
    assert [failed[1] for failed in rig.failed] == [("p",)]
    assert rig.pool.calls[-1] == "survey"
    await rig.look(after=61)
    assert len(rig.failed) == 1


@in_loop
async def test_a_node_that_is_not_ready_for_a_while_is_not_ordered_anew_and_stays() -> None:
    rig = Rig(boot_seconds=60)
    rig.pool.there["a-0"] = Instance("a-0", "a", State.UP, "n", since=1.0)  # 1970
    await rig.look()
    rig.pool.set("a-0", state=State.COMING)
    await rig.look(after=61)
    await rig.look(after=61)
    assert rig.pool.calls[-1] == "survey"
    assert not rig.failed
    again = Orders(rig.fleet, rig._failed)  # another controller does not know that it was up
    again.follow()
    await again.give_up(lambda _: False, lambda _: False, 10.0)
    assert rig.pool.calls[-1] == "survey"


@in_loop
async def test_one_that_has_failed_with_pods_on_it_stays() -> None:
    rig = Rig()
    rig.pool.there["a-0"] = Instance("a-0", "a", State.FAILED, "n", message="a fan is broken")
    rig.uses = {"n"}
    await rig.look()
    assert rig.pool.calls == ["survey"]
    rig.uses = set()
    await rig.look()
    assert rig.pool.calls[-1] == "cancel a-0"
