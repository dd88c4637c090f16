"""The watch's stream: whole lines out of any pieces, and nothing that ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nos.kube.errors import ApiError, Unreachable
from nos.kube.pod import Pod, decode_pod
from nos.kube.watch import Watch


class Streams:
    """Plays given connections, one after the other, in place of a Client; then waits for ever."""

    def __init__(self, *connections: list[bytes | Exception], pages: tuple[bytes, ...] = ()) -> None:
        self.connections = list(connections)
        self.pages = list(pages)
        self.asked: list[Mapping[str, str]] = []
        self.over = asyncio.Event()

    @asynccontextmanager
    async def stream(self, _: str, params: Mapping[str, str], *, idle: float) -> AsyncIterator[AsyncIterator[bytes]]:
        assert idle
        if not self.connections:
            self.over.set()
            await asyncio.Event().wait()
        self.asked.append(params)
        pieces = self.connections.pop(0)
        if pieces and isinstance(pieces[0], ApiError):
            raise pieces[0]

        async def play() -> AsyncIterator[bytes]:
            for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece

        yield play()

    async def request(self, method: str, path: str, *, params: Mapping[str, str], timeout: float) -> bytes:
        assert (method, path) == ("GET", "/pods")
        assert timeout
        self.asked.append(params)
        return self.pages.pop(0)


class Seen:
    """A Sink that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def restart(self) -> None:
        self.calls.append("restart")

    def synced(self) -> None:
        self.calls.append("synced")

    def changed(self, pod: Pod) -> None:
        self.calls.append(f"+{pod.metadata.name}")

    def deleted(self, pod: Pod) -> None:
        self.calls.append(f"-{pod.metadata.name}")


def event(kind: str, name: str, version: int) -> bytes:
    return json.dumps({"type": kind, "object": body(name, version)}).encode() + b"\n"


def body(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": {}}


def bookmark(version: int, *, end: bool = False) -> bytes:
    annotations = {"k8s.io/initial-events-end": "true"} if end else {}
    meta = {"resourceVersion": str(version), "annotations": annotations}
    return json.dumps({"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": meta}}).encode() + b"\n"


LISTED = [event("ADDED", "a", 1), event("ADDED", "b", 2), bookmark(5, end=True)]
GONE = json.dumps({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}).encode() + b"\n"


def play(streams: Streams) -> list[str]:
    seen = Seen()

    async def run() -> None:
        watch = Watch[Pod](streams, "/pods", decode_pod, seen)  # type: ignore[arg-type]
        running = asyncio.create_task(watch.run())
        over = asyncio.create_task(streams.over.wait())
        await asyncio.wait({running, over}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert over.done(), running
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(run())
    return seen.calls


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nos.kube.watch._FIRST_PAUSE_S", 0.0)


def test_a_list_then_events() -> None:
    streams = Streams([*LISTED, event("MODIFIED", "a", 6), event("DELETED", "b", 7)])
    assert play(streams) == ["restart", "+a", "+b", "synced", "+a", "-b"]
    assert streams.asked[0]["sendInitialEvents"] == "true"
    assert "resourceVersion" not in streams.asked[0]


@given(st.lists(st.integers(1, 400), max_size=12))
def test_any_pieces_make_the_same_lines(cuts: list[int]) -> None:
    stream = b"".join([*LISTED, event("MODIFIED", "ä", 6)])
    edges = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    pieces: list[bytes | Exception] = [stream[a:b] for a, b in pairwise(edges)]
    assert play(Streams(pieces)) == ["restart", "+a", "+b", "synced", "+ä"]


@pytest.mark.parametrize(
    "end",
    [
        [],
        [b'{"type":"MODI'],
        [event("MODIFIED", "cut", 9)[:-1]],
        [b"<html>\n"],
        [b"[]\n"],
        [b"\xff\xfe\n"],
        [b'{"type":"ADDED"}\n'],
        [b'{"type":"ERROR","object":7}\n'],
        [b'{"type":"BOOKMARK","object":[]}\n'],
        [Unreachable("cut")],
        [b'{"type":"ERROR","object":{"code":500}}\n'],
    ],
    ids=repr,
)
def test_it_goes_on_after_the_last_whole_event(end: list[bytes | Exception]) -> None:
    streams = Streams([*LISTED, event("ADDED", "c", 6), *end], [event("ADDED", "d", 8)])
    assert play(streams) == ["restart", "+a", "+b", "synced", "+c", "+d"]
    assert streams.asked[1]["resourceVersion"] == "6"
    assert "sendInitialEvents" not in streams.asked[1]


def test_bookmarks_move_the_position() -> None:
    streams = Streams([*LISTED, bookmark(99)], [])
    play(streams)
    assert streams.asked[1]["resourceVersion"] == "99"


def test_an_object_that_makes_no_sense_is_left_out() -> None:
    odd = b'{"type":"ADDED","object":{"metadata":{"name":7}}}\n'
    assert play(Streams([*LISTED, odd, event("ADDED", "c", 8)])) == ["restart", "+a", "+b", "synced", "+c"]


@pytest.mark.parametrize("how", ["event", "answer"])
def test_410_lists_again(how: str) -> None:
    first: list[bytes | Exception] = [*LISTED, GONE] if how == "event" else [*LISTED]
    middle: list[list[bytes | Exception]] = [] if how == "event" else [[ApiError(410, "Expired", "too old")]]
    streams = Streams(first, *middle, [event("ADDED", "b", 8), bookmark(9, end=True)])
    assert play(streams) == ["restart", "+a", "+b", "synced", "restart", "+b", "synced"]


def test_a_list_that_is_cut_begins_again() -> None:
    assert play(Streams(LISTED[:1], LISTED)) == ["restart", "+a", "restart", "+a", "+b", "synced"]


def test_pages_where_the_server_streams_no_lists() -> None:
    pages = (
        json.dumps({"metadata": {"resourceVersion": "20", "continue": "x y"}, "items": [body("a", 1)]}).encode(),
        json.dumps({"metadata": {"resourceVersion": "20"}, "items": [body("b", 2)]}).encode(),
    )
    streams = Streams([ApiError(422, "Invalid", "sendInitialEvents")], [event("ADDED", "c", 21)], pages=pages)
    assert play(streams) == ["restart", "restart", "+a", "+b", "synced", "+c"]
    assert streams.asked[2]["continue"] == "x y"
    assert streams.asked[3]["resourceVersion"] == "20"
