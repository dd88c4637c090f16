"""Recorders of a running controller: each is sent the Cluster as it is, then its edits and cycles.

While nobody records, an edit costs nothing. What a recorder is still to be sent is bounded: one who does not keep up is
left, and his last line says so.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from nos import _core
from nos.record.cluster import Made, Outcome, Recorded
from nos.record.codec import EDITS, Call, Writer, checkpoint_line, first_line, last_line
from nos.record.decisions import Decisions, plan_of

_MOST_BEHIND = 64 << 20  # bytes
_PIECE = 1 << 20  # bytes, about, that are sent at once
_BATCH = 2_000  # edits of the checkpoint that are made lines at once

_log = logging.getLogger(__name__)


class Recorders:
    """Of one Cluster. between: does something when no cycle is running (`Ledger.edit`)."""

    def __init__(
        self,
        cluster: Recorded,
        between: Callable[[Callable[[], object]], None],
        policy: str,
        *,
        most_behind: int = _MOST_BEHIND,
    ) -> None:
        """most_behind: how many bytes of lines may wait for one reader."""
        self._cluster = cluster
        self._between = between
        self._policy = policy
        self._most_behind = most_behind
        self._recorders: set[_Recorder] = set()

    def cycle(self, outcome: _core.Outcome) -> None:
        """A cycle has ended so; before anything else is told to the Cluster."""
        for recorder in self._recorders:
            recorder.cycle(outcome)

    def happened(self, kind: str, to: str, text: str) -> None:
        """Something that people are to know."""
        for recorder in self._recorders:
            recorder.happened(kind, to, text)

    async def record(self) -> AsyncGenerator[bytes, None]:
        """Whole lines, until it is closed, the reader was too slow, or something cannot be written down."""
        loop, recorder = asyncio.get_running_loop(), _Recorder(self._most_behind)
        begun: asyncio.Future[_core.Cluster] = loop.create_future()

        def begin() -> None:
            if begun.cancelled():
                return
            # As it is: so who decides has no other memory of it than one who does it all again.
            self._cluster.set_demand(**self._cluster.demand())
            begun.set_result(self._cluster.copy())
            self._cluster.listen(recorder)
            self._recorders.add(recorder)

        try:
            self._between(begin)
            copy = await begun
            yield first_line(self._policy)
            writer = Writer()  # of its own; the numbers of its values are given anew afterwards
            try:
                # In a thread, so that the controller goes on; nobody else has the copy.
                edits = await asyncio.to_thread(copy.edits)
                for first in range(0, len(edits), _BATCH):
                    yield await asyncio.to_thread(_checkpoint, writer, edits[first : first + _BATCH])
            except Exception as error:  # who records is told, and the log
                yield last_line(_failed(error))
                return
            yield checkpoint_line(len(edits))
            del copy, edits
            while lines := await recorder.next():
                yield lines
            yield last_line(recorder.ended)
        finally:
            begun.cancel()
            self._recorders.discard(recorder)
            self._cluster.leave(recorder)


class _Recorder:
    """What one of them is still to be sent. Lines are made at once: so their size is known, and no event is kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._began = time.monotonic()
        self._writer = Writer()
        self._lines = bytearray()
        self._copies: set[int] = set()  # on which something is still to be planned
        self._news = asyncio.Event()
        self.ended = ""  # why nothing is added any more

    def edit(self, made: Made, *, refused: bool) -> None:
        self._add(lambda at: self._writer.edit(*_call(made), at, refused=refused))

    def copied(self, copy: int) -> None:
        self._copies.add(copy)
        self._add(lambda _: self._writer.copied(copy))

    def planned(self, copy: int, made: list[Made], plan: str, arguments: Mapping[str, Any], outcome: Outcome) -> None:
        if copy in self._copies:  # else it was made before this record began
            self._copies.remove(copy)
            calls = [_call(one) for one in made]
            self._add(lambda at: self._writer.plan(plan, copy, calls, arguments, plan_of(outcome), at))

    def cycle(self, outcome: _core.Outcome) -> None:
        self._add(lambda at: self._writer.cycle(Decisions.of(outcome), at))

    def happened(self, kind: str, to: str, text: str) -> None:
        self._add(lambda at: self._writer.happened(kind, to, text, at))

    def _add(self, made: Callable[[float], bytes]) -> None:
        if self.ended:
            return
        try:
            lines = made(time.monotonic() - self._began)
        except Exception as error:  # no matter of who edits
            self.ended = _failed(error)
        else:
            if len(self._lines) + len(lines) > self._most:
                self.ended = "the reader was too slow: nearer to the controller it keeps up"
            else:
                self._lines += lines
        self._news.set()

    async def next(self) -> bytes:
        """Whole lines, as soon as there are any; none when it has ended."""
        await self._news.wait()
        end = self._lines.rfind(b"\n", 0, _PIECE) + 1 or self._lines.find(b"\n") + 1
        lines = bytes(self._lines[:end])
        del self._lines[:end]
        if not self._lines and not self.ended:
            self._news.clear()
        return lines


def _call(made: Made) -> Call:
    name, positional, named = made
    return name, dict(zip(EDITS[name], positional, strict=False)) | named


def _checkpoint(writer: Writer, edits: list[tuple[str, dict[str, Any]]]) -> bytes:
    return b"".join(writer.edit(name, arguments, 0.0) for name, arguments in edits)


def _failed(error: Exception) -> str:
    _log.error("a record could not go on", exc_info=error)
    return f"the controller cannot make a record: {error}; its log has more"
