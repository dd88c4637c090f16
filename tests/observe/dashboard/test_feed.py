"""What watchers are sent is the whole cluster, however slowly they read and whenever they come."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nos.observe.dashboard import feed as feeds
from nos.observe.dashboard.feed import Feed, State
from nos.observe.dashboard.history import EVERY_S, History, Sample
from nos.observe.dashboard.moments import Moments
from nos.observe.view import Changes, Gpu, Moment, Node, Pod, Snapshot, Totals
from tests.controller.in_loop import in_loop


class World:
    """Nodes that come, change and go; `look` tells what is new."""

    def __init__(self) -> None:
        self.all = Snapshot()
        self._told = Snapshot()
        self.looks = 0

    def put(self, name: str, used: int) -> None:
        self.all.nodes[name] = Node(name, gpus=(Gpu(used),))

    async def look(self) -> Changes:
        self.looks += 1
        self.all.at = float(self.looks)
        self.all.totals = Totals(1, self.looks, len(self.all.queue), 0.0)
        old, new = self._told, self.all
        changes = Changes(
            new.at,
            new.totals,
            tuple(node for name, node in new.nodes.items() if old.nodes.get(name) != node),
            tuple(old.nodes.keys() - new.nodes.keys()),
            new.queue if new.queue != old.queue or self.looks == 1 else None,
        )
        self._told = msgspec.convert(msgspec.to_builtins(new), Snapshot)
        return changes


def parsed(event: bytes) -> tuple[str, Any]:
    """Its kind and what it holds."""
    kind, data, empty, nothing = event.split(b"\n")
    assert (empty, nothing) == (b"", b"")
    types = {"state": State, "changes": Changes, "sample": Sample}
    name = kind.removeprefix(b"event: ").decode()
    return name, msgspec.json.decode(data.removeprefix(b"data: "), type=types[name])


async def follow(feed: Feed, gate: asyncio.Event, into: Snapshot, seen: list[str]) -> None:
    """Read whenever the gate is open; what kinds of events there were."""
    async for event in feed.watch():
        kind, data = parsed(event)
        assert seen or kind == "state", "everything comes first"
        seen.append(kind)
        if kind == "state":
            for name in msgspec.structs.fields(Snapshot):
                setattr(into, name.name, getattr(data.snapshot, name.name))
        elif kind == "changes":
            into.apply(data)
        await gate.wait()


async def until(true: Callable[[], bool]) -> None:
    """Let the others run until it is so."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for is in many places
            await asyncio.sleep(0)


async def many_turns() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(0, 1000)),
        st.tuples(st.just("drop"), st.sampled_from("abcdef")),
        st.tuples(st.just("queue"), st.integers(0, 3)),
        st.sampled_from([("look",), ("watch",), ("shut",), ("open",)]),
    ),
    max_size=40,
)


@given(steps=STEPS, most=st.integers(1, 2_000))
def test_watchers_see_the_cluster(steps: list[tuple[Any, ...]], most: int) -> None:
    """Whatever happens, in the end each of them has what the cluster is; most: bytes that are kept for one."""

    async def play() -> None:
        world, gate = World(), asyncio.Event()
        gate.set()
        feed = Feed(world.look, Moments())
        watchers: list[tuple[Snapshot, list[str], asyncio.Task[None]]] = []

        def watch() -> None:
            shown, seen = Snapshot(), list[str]()
            watchers.append((shown, seen, asyncio.create_task(follow(feed, gate, shown, seen))))

        watch()
        for step, *more in steps:
            match step:
                case "put":
                    world.put(*more)
                case "drop":
                    world.all.nodes.pop(more[0], None)
                case "queue":
                    world.all.queue = tuple(Pod(f"n/{number}", "1 gpu", number) for number in range(more[0]))
                case "look":
                    await feed.look(is_sample=False)
                case "watch":
                    watch()
                case "shut":
                    gate.clear()
                case "open":
                    gate.set()
            await asyncio.sleep(0)
        gate.set()
        await feed.look(is_sample=True)
        await until(lambda: all(shown.at == world.all.at for shown, _, _ in watchers))
        for shown, _, task in watchers:
            assert shown == world.all
            assert not task.done()
            task.cancel()
        await asyncio.gather(*(task for _, _, task in watchers), return_exceptions=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeds, "_MOST_BEHIND", most)
        asyncio.run(play())


@in_loop
async def test_who_does_not_keep_up_is_sent_everything_anew() -> None:
    """And what was kept for him is dropped: 4 MiB are some ten events of 0.5 MB."""
    world, gate = World(), asyncio.Event()
    feed = Feed(world.look, Moments())
    shown, seen = Snapshot(), list[str]()
    task = asyncio.create_task(follow(feed, gate, shown, seen))
    await feed.look(is_sample=False)
    await until(lambda: bool(seen))
    for number in range(20):
        world.put("x" * 500_000, number)
        await feed.look(is_sample=False)
    gate.set()
    await until(lambda: shown.at == world.all.at)
    assert shown == world.all
    assert seen.count("state") == 2
    assert len(seen) < 4
    task.cancel()


@in_loop
async def test_while_nobody_watches_it_is_looked_at_for_the_history_alone() -> None:
    world = World()
    feed = Feed(world.look, Moments())
    running = asyncio.create_task(feed.run())
    await feed.state()
    await many_turns()
    assert world.looks == 1  # and the next in 15 s
    stream = feed.watch()
    await anext(stream)
    async with asyncio.timeout(5):
        while world.looks < 2:
            await anext(stream)
    await stream.aclose()
    running.cancel()


def test_a_look_that_fails_is_not_the_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(feeds, "EVERY_S", 0.001)
    world, failures = World(), [RuntimeError("no such thing")]

    async def look() -> Changes:
        if failures:
            raise failures.pop()
        return await world.look()

    async def play() -> None:
        feed = Feed(look, Moments())
        running = asyncio.create_task(feed.run())
        async with asyncio.timeout(5):
            await feed.state()
        running.cancel()

    asyncio.run(play())
    assert "cannot look at the cluster: no such thing" in caplog.text


@in_loop
async def test_who_asks_for_the_state_gets_it_as_it_is() -> None:
    """Though nobody watches, and the last look may be old; but looks are a second apart."""
    world = World()
    feed, clock = Feed(world.look, Moments()), 1000.0
    asyncio.get_running_loop().time = lambda: clock  # type: ignore[method-assign]
    await feed.look(is_sample=False)
    world.put("a", 1)
    assert list(msgspec.json.decode(await feed.state(), type=State).snapshot.nodes) == []
    clock += 1.5
    assert list(msgspec.json.decode(await feed.state(), type=State).snapshot.nodes) == ["a"]
    assert world.looks == 2


@in_loop
async def test_what_happened_is_told_once_and_kept() -> None:
    world, moments = World(), Moments()
    feed = Feed(world.look, moments)
    stream = feed.watch()
    moments.add(Moment(1.0, "Evicted", "n/a", "goes"))
    await feed.look(is_sample=True)
    first = parsed(await anext(stream))[1]
    assert [one.object for one in first.moments] == ["n/a"]
    assert [sample.happened for sample in first.history] == [{"Evicted": 1}]
    moments.add(Moment(2.0, "Evicted", "n/b", "goes"))
    await feed.look(is_sample=False)
    assert [one.object for one in parsed(await anext(stream))[1].moments] == ["n/b"]
    await feed.look(is_sample=True)
    assert parsed(await anext(stream))[1].moments == ()
    assert parsed(await anext(stream))[1].happened == {"Evicted": 1}
    await stream.aclose()


@given(st.lists(st.tuples(st.sampled_from(["Scheduled", "Evicted", "NodeUp"]), st.integers(1, 250)), max_size=12))
def test_a_burst_of_one_kind_does_not_drive_out_another(bursts: list[tuple[str, int]]) -> None:
    moments, made = Moments(), list[Moment]()
    for kind, count in bursts:
        for _ in range(count):
            made.append(Moment(float(len(made)), kind, "n/a", ""))
            moments.add(made[-1])
    last = [one for kind in ("Scheduled", "Evicted", "NodeUp") for one in [m for m in made if m.kind == kind][-100:]]
    assert moments.kept() == sorted(last, key=lambda one: one.at) == moments.new()
    assert moments.new() == []
    assert sum(moments.counted().values()) == len(made)
    assert moments.counted() == {}


def test_a_day_is_kept_and_nothing_of_it_is_counted_twice() -> None:
    """Two days of a sample every 15 s, each with 3 evictions: of 11,520 samples the last hour is there as it was, and
    twelve of those before make one."""
    history = History()
    for number in range(2 * 24 * 240):
        history.add(Sample(number * EVERY_S, 8, number % 2 * 1000, 1, 0.5, {"Evicted": 3}))
    kept = history.samples()
    assert len(kept) < 720
    assert kept[-1].at - kept[0].at >= 23 * 3600
    fine = kept[-240:]
    assert {b.at - a.at for a, b in itertools.pairwise(fine)} == {EVERY_S}
    coarse = kept[:-252]
    assert {(one.used, one.waiting, one.fragmentation, one.happened["Evicted"]) for one in coarse} == {
        (500, 1, 0.5, 36)
    }
    assert [one.at for one in kept] == sorted(one.at for one in kept)
