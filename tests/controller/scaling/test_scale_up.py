"""Orders for Pods that wait: what they are told, and that nothing is ordered twice, whatever the backend does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nos import _core
from nos.autoscaler.backend import State
from nos.controller.ledger import Ledger
from nos.controller.report import Word
from nos.controller.scaling.daemons import Daemons
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Orders
from nos.controller.scaling.scale_up import ScaleUp
from nos.controller.scaling.settings import Scaling
from nos.kube.client import Client
from nos.kube.node import decode_node
from tests.controller.in_loop import in_loop
from tests.controller.scaling.pool import Pool, template
from tests.controller.test_ledger import pod, synced


class Server(Client):
    """An API server without DaemonSets."""

    def __init__(self) -> None:
        pass

    async def request(self, *_: Any, **__: Any) -> bytes:
        return b'{"metadata":{},"items":[]}'


class Rig:
    """One pool of nodes of eight GPUs, a ledger, and a clock that is set by hand."""

    def __init__(self, mode: str = "order") -> None:
        self.now = 1000.0
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]
        self.pool = Pool()
        self.pool.group("a", max=100)
        self.ledger: Ledger = synced()
        self.settings = Scaling(mode=mode)
        self.failed: list[tuple[str, ...]] = []
        self.ordered: list[str] = []
        self.told: set[str] = set()
        self.nodes = 0
        self.start()

    def start(self) -> None:
        """A controller that remembers nothing."""
        self.fleet = Fleet([self.pool])
        self.orders = Orders(self.fleet, self._failed)
        self.up = ScaleUp(
            self.ledger,
            self.fleet,
            self.orders,
            Daemons(Server()),
            self.settings,
            policy=_core.Policy(),
            may_write=lambda: True,
            on_change=self._changed,
            on_ordered=lambda uid, _: self.ordered.append(uid),
        )
        self.ledger.nodes.offered = self.up.arrived
        self.scheduler = _core.Scheduler(self.ledger.cluster)

    def _failed(self, _: str, uids: Sequence[str], __: str) -> None:
        self.failed.append(tuple(uids))

    def _changed(self, uids: Iterable[str]) -> None:
        self.told |= set(uids)

    def come(self, *names: str, gpus: int = 1, **metadata: Any) -> None:
        for name in names:
            self.ledger.pods.changed(pod(name, gpus, **metadata))

    def cycle(self) -> _core.Outcome:
        """A cycle of the scheduler, whose Bindings all succeed."""
        outcome = self.scheduler.schedule()
        for bind in outcome.binds:
            name = bind.uid.removeprefix("u-")
            self.ledger.pods.changed(pod(name, self.gpus(bind.uid), on=bind.node))
        self.up.waiting(outcome.waiting)
        return outcome

    def gpus(self, uid: str) -> int:
        return len(self.ledger.cluster.pod(uid).gpus)

    async def turn(self, after: float = 1.0) -> _core.Outcome:
        """A cycle, and a look at what it left over."""
        self.now += after
        outcome = self.cycle()
        await self.up.turn()
        return outcome

    def comes_up(self, id_: str) -> None:
        """An instance has become a node."""
        self.nodes += 1
        name = f"node-{self.nodes}"
        self.pool.set(id_, state=State.UP, node=name)
        body = {
            "metadata": {"name": name, "labels": {"pool": "gpu"}},
            "status": {"allocatable": template().status.allocatable},
        }
        self.ledger.nodes.changed(decode_node(json.dumps(body).encode()))

    def coming(self) -> list[str]:
        return [id_ for id_, instance in self.pool.there.items() if instance.state is State.COMING]

    def word(self, name: str) -> Word:
        return self.up.word(f"u-{name}", "InsufficientGpu", "0/0 nodes are available")


@in_loop
async def test_who_waits_gets_a_node_and_is_told_so() -> None:
    rig = Rig()
    rig.come("a", "b")
    rig.come("huge", gpus=9)
    assert rig.word("a") == Word("InsufficientGpu", "0/0 nodes are available")  # nobody has looked yet
    await rig.turn()
    assert rig.pool.calls.count("increase a 1") == 1
    assert sorted(rig.ordered) == ["u-a", "u-b"]
    assert rig.word("a") == Word("NodeOrdered", "0/0 nodes are available A node of pool/a is on its way.")
    huge = rig.word("huge")
    assert (huge.code, huge.wants_node) == ("InsufficientGpu", False)
    assert "No new node would help: " in huge.message
    assert rig.told == {"u-a", "u-b", "u-huge"}
    said = rig.word("a")
    await rig.turn()
    assert rig.word("a") == said
    rig.comes_up("a-0")
    outcome = await rig.turn()
    assert {bind.uid for bind in outcome.binds} == {"u-a", "u-b"}
    assert not rig.up.word("u-a", "QuotaMax", "max").wants_node


@in_loop
async def test_in_report_mode_nothing_is_ordered() -> None:
    rig = Rig(mode="report")
    rig.come("a")
    await rig.turn()
    assert [call for call in rig.pool.calls if call != "survey"] == []
    assert rig.word("a").message.endswith("A node of pool/a would let it run; nos may not order any (mode report).")


@in_loop
async def test_who_makes_nodes_himself_is_told_and_nothing_is_ordered() -> None:
    rig = Rig()
    rig.pool.group("a", by="Cluster Autoscaler")
    rig.come("a")
    await rig.turn()
    assert [call for call in rig.pool.calls if call != "survey"] == []
    word = rig.word("a")
    assert (word.code, word.wants_node) == ("NodeWanted", True)
    assert word.message.endswith("A node of pool/a would let it run: Cluster Autoscaler is told.")


@in_loop
async def test_all_of_a_gang_are_told_the_same() -> None:
    rig = Rig()
    labels = {"nos.nebuly.com/pod-group": "g", "nos.nebuly.com/pod-group-min-available": "2"}
    rig.pool.group("a", max=1)
    rig.come("g1", "g2", "g3", gpus=4, labels=labels)  # two are enough, and fit on the only node that there may be
    await rig.turn()
    assert [rig.word(name).code for name in ("g1", "g2", "g3")] == ["NodeOrdered"] * 3


@in_loop
async def test_a_group_that_fails_is_named_and_the_next_one_gets_the_order() -> None:
    rig = Rig()
    rig.pool.group("b", price=2_000_000)
    rig.pool.refuses = "no capacity"
    rig.come("p")
    await rig.turn()
    assert rig.word("p").message.count("Group pool/a takes no order: no capacity; it is asked again at ") == 1
    rig.pool.refuses = ""
    await rig.turn()
    assert "increase b 1" in rig.pool.calls
    assert rig.word("p").code == "NodeOrdered"


@in_loop
async def test_a_node_that_comes_is_kept_for_those_it_was_made_for() -> None:
    rig = Rig()
    rig.come("old", gpus=8)
    await rig.turn()
    await rig.turn()
    rig.come("new", gpus=8, creationTimestamp="2020-01-01T00:00:00Z")  # it came before, as it says
    rig.comes_up("a-0")
    outcome = rig.cycle()
    assert [bind.uid for bind in outcome.binds] == ["u-old"]


@in_loop
async def test_a_group_that_makes_no_sense_stops_nobody() -> None:
    rig = Rig()
    rig.pool.group("flood", uses={"gpus": 2**60})
    rig.pool.limits = {"gpus": 2**61}
    odd = template(**{"nvidia.com/gpu": "8.0"})  # that is 8
    odd.metadata.labels |= {"nos.nebuly.com/gpu-partitioning": "mig", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    rig.pool.group("odd", price=2, template=odd)
    rig.come("a")
    await rig.turn()
    assert "increase odd 1" in rig.pool.calls  # it is the cheapest
    found = rig.up.latest
    assert found
    assert list(found.unasked) == ["pool/flood"]
    assert "makes no sense" in found.unasked["pool/flood"]


class Trial:
    """What may happen, chosen by numbers."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.pods = 0

    async def step(self, kind: int, number: int) -> None:
        rig, pool = self.rig, self.rig.pool
        coming = rig.coming()
        if kind == 0:
            names = [f"p{self.pods + i}" for i in range(number % 11 + 1)]
            self.pods += len(names)
            rig.come(*names)
        elif kind == 1 and coming:
            rig.comes_up(coming[number % len(coming)])
        elif kind == 2:
            rig.start()
        elif kind == 3:
            pool.fails = "" if pool.fails else "connection reset"
        elif kind == 4:
            pool.hides = number % 3
        elif kind == 5:
            pool.show()
        elif kind == 6:
            pool.refuses = "" if pool.refuses else "no capacity"
        elif kind == 7:
            pool.remembers_pods = not pool.remembers_pods
        elif kind == 8 and coming:  # it gets no capacity after all
            del pool.there[coming[number % len(coming)]]
            pool._retarget("a", -1)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 99)), max_size=30), st.booleans())
def test_no_more_nodes_than_the_pods_need(steps: list[tuple[int, int]], with_restarts: bool) -> None:
    async def run() -> None:
        rig = Rig()
        trial = Trial(rig)
        for kind, number in steps:
            if kind == 2 and (rig.pool.hidden or not with_restarts):
                continue  # what a backend shows to nobody yet, nobody can find again
            await trial.step(kind, number)
            await rig.turn(after=5.0)
            # Every Pod asks for one of a node's eight GPUs; what vanished was taken back.
            alive = [*rig.pool.there.values(), *rig.pool.hidden]
            assert len(alive) <= -(-trial.pods // 8), (kind, alive)
            rig.ledger.cluster.check()
        # Whatever has happened: in the end everybody runs.
        rig.pool.fails = rig.pool.refuses = ""
        rig.pool.hides = 0
        for _ in range(200):
            rig.pool.show()
            for id_ in rig.coming():
                rig.comes_up(id_)
            outcome = await rig.turn(after=60.0)
            if not outcome.waiting and not rig.coming():
                break
        assert not rig.ledger.waiting
        assert len(rig.pool.there) <= -(-trial.pods // 8)

    asyncio.run(run())
