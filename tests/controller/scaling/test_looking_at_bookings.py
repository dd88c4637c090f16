"""Who only looks counts what is booked as the controller does, and writes nothing."""

from __future__ import annotations

import math

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.report import by_code
from nos.controller.scaling.provisioning import Answerer
from nos.controller.viewer import Viewer
from nos.controller.why import explain
from nos.kube.errors import ApiError
from nos.observe.why import Change
from tests.controller.in_loop import in_loop
from tests.controller.scaling.provisioning_rig import Rig
from tests.controller.test_ledger import gpus_used, node, pod, synced


class Looker:
    """Another process that has the same watches as the rig's controller."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.ledger: Ledger = synced(*(node(name) for name in rig.ledger.nodes.known))
        self.answerer = Answerer(
            rig.server, self.ledger, booking_seconds=math.inf, may_write=lambda: False, word=by_code
        )
        rig.more.append(self.answerer.store)
        self.answerer.store.restart()
        rig.echo()
        self.answerer.store.synced()

    async def look(self) -> int:
        """GPUs that are taken or booked."""
        for name, body in self.rig.pods.items():
            self.ledger.pods.changed(pod(name, **body))
        before = len(self.rig.server.writes)
        await self.answerer.look()
        assert len(self.rig.server.writes) == before
        return gpus_used(self.ledger)


async def booked(*sets: tuple[int, int], nodes: int = 1) -> Rig:
    rig = Rig(nodes=nodes)
    rig.ask("r", *sets)
    await rig.turn()
    assert rig.is_booked()
    return rig


@in_loop
async def test_why_does_not_promise_what_is_booked() -> None:
    """Of eight GPUs six are booked, so that a Pod with four finds two; and one that names the request has its place."""
    rig = await booked((2, 3))
    looker = Looker(rig)
    rig.come("other", 4)
    rig.come("worker", 3, of="r")
    assert await looker.look() == 6 - 3  # the worker has taken over, and waits for a cycle
    assert (await explain(looker.ledger, "ml/worker", _core.Policy())).state == "decided"

    del rig.pods["worker"]
    looker = Looker(rig)
    assert await looker.look() == 6
    found = await explain(looker.ledger, "ml/other", _core.Policy())
    assert (found.state, found.code) == ("waits", "InsufficientGpu")
    assert found.message.endswith("Closest is node n0, which lacks 2 GPUs.")
    words = "if the room were free that is booked for ProvisioningRequest ml/r"
    assert [change for change in found.changes if change.kind in ("booking", "evictions")] == [
        Change("booking", words, "n0")
    ]


@in_loop
async def test_the_one_booking_is_named_that_is_in_the_way() -> None:
    (
        """Two nodes of eight, with four and eight booked. A Pod with seven runs without the second booking; not without
    the first, beside which two are in use."""
        ""
    )
    rig = await booked((1, 4), nodes=1)
    rig.come("small", 2)
    await rig.turn()
    rig.ledger.nodes.changed(node("n1"))
    rig.ask("s", (1, 8))
    await rig.turn()
    assert rig.is_booked("s")
    looker = Looker(rig)
    rig.come("p", 7)
    assert await looker.look() == 2 + 4 + 8
    found = await explain(looker.ledger, "ml/p", _core.Policy())
    assert [change.text for change in found.changes if change.kind == "booking"] == [
        "if the room were free that is booked for ProvisioningRequest ml/s"
    ]


@in_loop
async def test_what_is_used_or_over_is_not_booked() -> None:
    """Three times two GPUs: one after the other is used, which changes nothing; then the rest is for everybody."""
    rig = await booked((3, 2))
    looker = Looker(rig)
    for used in range(3):
        assert await looker.look() == 6
        rig.come(f"worker-{used}", 2, of="r")
        assert await rig.turn() == {f"worker-{used}"}
    del rig.pods["worker-2"]  # the looker has not heard of that one
    assert await looker.look() == 6
    rig.later("r", 601)
    await rig.turn()
    rig.echo()
    assert await looker.look() == 4


@in_loop
async def test_what_cannot_be_read_is_not_booked_and_nothing_is_written() -> None:
    rig = await booked((2, 4))
    looker = Looker(rig)
    rig.server.fails = ApiError(403, "Forbidden", "may not get podtemplates")
    assert await looker.look() == 0
    rig.server.fails = None
    looker.answerer._pauses.clear()
    assert await looker.look() == 8
    rig.server.templates.clear()
    assert await Looker(rig).look() == 0


@in_loop
async def test_a_place_that_is_gone_is_looked_for_anew() -> None:
    rig = await booked((1, 8), nodes=2)
    looker = Looker(rig)
    assert await looker.look() == 8
    (place,) = {each.name for each in looker.ledger.cluster.nodes() if each.gpu_free_milli[0] == 0}
    looker.ledger.nodes.deleted(node(place))
    assert await looker.look() == 8


@in_loop
async def test_people_see_what_is_booked() -> None:
    rig = await booked((1, 2), (1, 3))
    viewer = Viewer(rig.ledger, lambda: 0.0)
    (shown,) = (await viewer.look()).nodes
    assert {held.pod: len(held.gpus) for held in shown.pods} == {"ml/r-0-0 (booked)": 2, "ml/r-1-0 (booked)": 3}
    assert [gpu.used for gpu in shown.gpus] == [1000] * 5 + [0] * 3
    assert sum(len(gpu.pods) for gpu in shown.gpus) == 5
    assert (await viewer.look()).nodes == ()
    rig.withdraw("r")
    (shown,) = (await viewer.look()).nodes
    assert (shown.pods, sum(gpu.used for gpu in shown.gpus)) == ((), 0)
