"""What a recorder is still to be sent is bounded, and every end has its cause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from nos.record.cluster import Recorded
from nos.record.recorder import Recorders
from nos.record.replay import replay

MOST = 5_000  # bytes


def _now(edit: Callable[[], object]) -> None:
    edit()


async def _begun(lines: Any) -> bytes:
    text = b""
    while b'{"checkpoint"' not in text:
        text += await anext(lines)
    return text


async def _rest(lines: Any) -> bytes:
    return b"".join([piece async for piece in lines])


def test_one_who_is_too_slow_is_left_and_has_all_until_then() -> None:
    async def main() -> None:
        cluster = Recorded()
        recorders = Recorders(cluster, _now, "nos", most_behind=MOST)
        async with aclosing(recorders.record()) as slow, aclosing(recorders.record()) as quick:
            said, kept_up = await _begun(slow), await _begun(quick)
            for number in range(1_000):
                cluster.upsert_namespace(f"n{number:03}", {})
                if number % 20 == 19:
                    kept_up += await anext(quick)
            late = await _rest(slow)
        # Lines are of one length, and of those that fit into MOST none is missing.
        *edits, end = late.splitlines(keepends=True)
        assert MOST - len(edits[-1]) < sum(map(len, edits)) <= MOST
        done = replay([*said.splitlines(), *edits, end])
        assert (done.edits - said.count(b'{"edit"'), done.ended) == (
            len(edits),
            "the reader was too slow: nearer to the controller it keeps up",
        )
        assert kept_up.count(b'"upsert_namespace"') == 1_000

    asyncio.run(main())


def test_what_cannot_be_written_down_ends_the_record_and_is_no_matter_of_who_edits() -> None:
    async def main() -> None:
        cluster = Recorded()
        recorders = Recorders(cluster, _now, "nos")
        async with aclosing(recorders.record()) as lines:
            said = await _begun(lines)
            cluster.upsert_namespace("before", {})
            with pytest.raises(TypeError, match="incompatible function arguments"):  # as without a recorder
                cluster.upsert_node("n", object())  # type: ignore[arg-type]
            cluster.upsert_namespace("after", {})
            said += await _rest(lines)
        done = replay(said.splitlines())
        assert done.edits - said.partition(b'{"checkpoint"')[0].count(b'{"edit"') == 1
        assert done.ended.startswith("the controller cannot make a record: 'object' object is not iterable")

    asyncio.run(main())


def test_one_line_may_be_larger_than_what_is_sent_at_once() -> None:
    async def main() -> None:
        cluster = Recorded()
        async with aclosing(Recorders(cluster, _now, "nos").record()) as lines:
            await _begun(lines)
            cluster.upsert_namespace("small", {})
            cluster.upsert_namespace("large", {"a": "x" * (3 << 20)})
            cluster.upsert_namespace("small", {})
            pieces = [await anext(lines) for _ in range(3)]
        assert all(piece.endswith(b"\n") for piece in pieces)
        assert [piece.count(b"\n") for piece in pieces] == [1, 1, 1]

    asyncio.run(main())


def test_a_record_that_is_over_costs_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        cluster = Recorded()
        plain, recorders = set(vars(cluster)), Recorders(cluster, _now, "nos")
        async with aclosing(recorders.record()) as lines:
            await _begun(lines)
            assert set(vars(cluster)) > plain
        assert set(vars(cluster)) == plain  # edits are the core's own again
        recorders.cycle(object())  # type: ignore[arg-type]  # nobody looks at it
        assert caplog.records == []

    asyncio.run(main())
