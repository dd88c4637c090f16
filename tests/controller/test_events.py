"""Events against an API server of a dict: nothing that happened is lost, and nothing grows without bound."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from nos.controller import events
from nos.controller.events import Events, Kind, Told
from nos.kube.errors import ApiError, Unreachable

START = datetime(2026, 11, 28, tzinfo=UTC)
KINDS = (Kind.WAITS, Kind.NOT_CUT)


class FakeApi:
    """Keeps Events as an API server does. `fault` is what becomes of the next request."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.expired: list[dict[str, Any]] = []  # as they were
        self.fault = ""
        self.writes = 0

    async def request(self, method: str, path: str, *, body: bytes, **_: object) -> bytes:
        self.writes += 1
        fault, self.fault = self.fault, ""
        if fault == "unreachable":
            raise Unreachable("cut")
        if fault == "conflict":
            raise ApiError(409, "Conflict", "try again")
        if fault == "busy":
            raise ApiError(429, "TooManyRequests", "later")
        said = json.loads(body)
        if method == "POST":
            name = said["metadata"]["name"]
            if name in self.kept:
                raise ApiError(409, "AlreadyExists", "there")
            self.kept[name] = said
        elif (name := path.rpartition("/")[2]) not in self.kept:
            raise ApiError(404, "NotFound", "gone")
        else:
            assert said["series"]["count"] >= self.count(self.kept[name])
            self.kept[name]["series"] = said["series"]
        if fault == "lost":
            raise Unreachable("written, but nobody heard")
        return b"{}"

    @staticmethod
    def count(event: dict[str, Any]) -> int:
        return int(event.get("series", {"count": 1})["count"])


class World:
    """Events, its API server and a clock."""

    def __init__(self) -> None:
        self.api, self.now = FakeApi(), 0.0
        self.events = Events(self.api, "nos")  # type: ignore[arg-type]
        self.told: Counter[str] = Counter()

    def tell(self, pod: str, kind: Kind = Kind.WAITS, note: str = "why", topic: str = "") -> None:
        self.told[pod] += 1
        at = START + timedelta(seconds=self.now)
        self.events.tell(Told(kind, at, "ml", pod, f"u-{pod}", note, topic), self.now)

    def write(self, fault: str = "") -> bool:
        self.api.fault = fault
        if write := self.events.due(self.now):
            asyncio.run(write)
        self.api.fault = ""
        return write is not None

    def flush(self) -> None:
        """Write all, with nothing in the way."""
        for _ in range(3):
            while self.write():
                pass
            self.now += 10

    @property
    def counts(self) -> list[int]:
        return [self.api.count(event) for event in self.api.kept.values()]


def test_what_happens_again_is_counted_on_one_object() -> None:
    world = World()
    for number in range(12):
        world.tell("p", note=f"{number} nodes", topic="InsufficientGpu")
        world.now += 25
    world.flush()
    (event,) = world.api.kept.values()
    assert (event["note"], event["series"]["count"]) == ("0 nodes", 12)
    assert event["eventTime"] == "2026-11-28T00:00:00.000000Z"
    assert event["series"]["lastObservedTime"] == "2026-11-28T00:04:35.000000Z"  # 11 * 25 s


def test_a_burst_is_few_writes() -> None:
    world = World()
    for _ in range(100):  # 10 s in all
        world.tell("p")
        world.write()
        world.now += 0.1
    world.flush()
    assert world.counts == [100]
    assert world.api.writes == 2  # at once, and after 10 s


def test_other_things_and_other_pods_are_other_objects() -> None:
    world = World()
    world.tell("p", topic="InsufficientGpu")
    world.tell("p", topic="Taint")
    world.tell("p", Kind.NOT_CUT, "node a")
    world.tell("p", Kind.NOT_CUT, "node b")
    world.tell("q", topic="Taint")
    world.flush()
    assert world.counts == [1] * 5


def test_after_silence_it_is_a_new_object() -> None:
    world = World()
    world.tell("p")
    world.flush()
    world.now += 360 - 30  # flush has taken 30 s
    world.tell("p")
    world.flush()
    assert world.counts == [2]
    world.now += 361 - 30
    world.tell("p")
    world.flush()
    assert world.counts == [2, 1]


def test_one_that_has_expired_is_written_anew_with_its_count() -> None:
    world = World()
    world.tell("p")
    world.tell("p")
    world.flush()
    world.api.kept.clear()
    world.tell("p")
    world.flush()
    assert world.counts == [3]


def test_one_whose_answer_was_lost_is_not_written_twice() -> None:
    world = World()
    world.tell("p")
    world.write("lost")
    world.tell("p")
    world.flush()
    assert world.counts == [2]


def test_what_cannot_be_written_is_dropped_and_counted() -> None:
    world = World()
    world.tell("p")
    world.tell("p")
    for _ in range(5):
        assert world.write("unreachable")
        world.now += 10
    assert not world.write()
    assert (len(world.events), world.events.lost, world.api.writes) == (0, 2, 5)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.sampled_from("abcdef"), st.sampled_from(KINDS)),
        st.tuples(st.just("write"), st.sampled_from(("", "", "unreachable", "conflict", "busy", "lost"))),
        st.tuples(st.just("pass"), st.sampled_from((1, 9, 11, 400))),
        st.just(("expire",)),
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 12))
def test_nothing_is_lost_without_being_counted(steps: list[tuple[Any, ...]], most: int) -> None:
    """All that was told is in the counts of the objects that were ever there, or in `lost`. An object that expired and
    was written anew has its count once more, so that what is there can only be more."""
    with patch.object(events, "_MOST", most):
        world, expired = World(), False
        for step in steps:
            match step:
                case "tell", pod, kind:
                    world.tell(pod, kind)
                case "write", fault:
                    world.write(fault)
                case "pass", seconds:
                    world.now += seconds
                case _:
                    expired = True
                    world.api.expired += world.api.kept.values()
                    world.api.kept = {}
            assert len(world.events) <= most
        world.flush()
        written = sum(world.counts) + sum(map(world.api.count, world.api.expired))
        total = world.told.total()
        if expired:
            assert written + world.events.lost >= total
        else:
            # A write whose answer was lost may be counted as lost, and be there.
            assert total <= written + world.events.lost <= total + world.api.writes
