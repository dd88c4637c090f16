"""What watchers are sent: everything first, then each second what is new, as server-sent events.

While nobody watches, the cluster is looked at for the history alone. An event is made once for all watchers. Who does
not keep up is sent everything anew, when he can take it: nobody is waited for, and little is kept for him.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace

from nos.observe.dashboard.history import EVERY_S, History, Sample
from nos.observe.dashboard.moments import Moments
from nos.observe.view import Changes, Moment, Snapshot

_LOOK_S = 1.0
_MOST_BEHIND = 4 << 20  # bytes

_log = logging.getLogger(__name__)


class State(Struct):
    """Everything, for one who begins to watch."""

    snapshot: Snapshot
    moments: list[Moment]
    history: list[Sample]


class Feed:
    """`run` looks, `watch` tells.

    look: what has changed since the look before, at first all.
    """

    def __init__(self, look: Callable[[], Awaitable[Changes]], moments: Moments) -> None:
        self._look = look
        self._moments = moments
        self._history = History()
        self._snapshot = Snapshot()
        self._watchers: set[_Watcher] = set()
        self._wanted = asyncio.Event()  # somebody has begun to watch
        self._has_looked = asyncio.Event()
        self._looked_at = 0.0
        self._turn = asyncio.Lock()  # who looks

    async def run(self) -> None:
        """Look until cancelled."""
        clock = asyncio.get_running_loop().time
        sample_at = clock()
        while True:
            began = clock()
            is_due = began >= sample_at
            try:
                await self.look(is_sample=is_due)
            except Exception as error:  # scheduling does not end because nobody can look at it
                _log.exception("the dashboard cannot look at the cluster: %s", error)
                await asyncio.sleep(EVERY_S)
                continue
            if is_due:
                sample_at = max(sample_at + EVERY_S, clock())
            if self._watchers:
                await asyncio.sleep(max(0.0, began + _LOOK_S - clock()))
                continue
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(sample_at):
                    await self._wanted.wait()

    async def look(self, *, is_sample: bool) -> None:
        """Look once, for the history too or not, and tell who watches."""
        async with self._turn:
            changes = replace(await self._look(), moments=tuple(self._moments.new()))
            self._snapshot.apply(changes)
            self._tell("changes", changes)
            if is_sample:
                self._sample()
            self._looked_at = asyncio.get_running_loop().time()
            self._has_looked.set()

    async def state(self) -> bytes:
        """Everything as it is now, as JSON."""
        await self._has_looked.wait()
        if self._looked_at + _LOOK_S < asyncio.get_running_loop().time():
            await self.look(is_sample=False)
        return self._all()

    def _all(self) -> bytes:
        return encode(State(self._snapshot, self._moments.kept(), self._history.samples()))

    async def watch(self) -> AsyncGenerator[bytes, None]:
        """Events: `state` first, which is everything; then `changes`, and every 15 s a `sample` of the history."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        self._wanted.set()
        try:
            while True:
                if watcher.is_lost:
                    await self._has_looked.wait()
                    watcher.restart()
                    yield _event("state", self._all())
                yield await watcher.next()
        finally:
            self._watchers.discard(watcher)

    def _sample(self) -> None:
        now = self._snapshot
        totals = now.totals
        sample = Sample(now.at, totals.gpus, totals.used, totals.waiting, totals.fragmentation, self._moments.counted())
        self._history.add(sample)
        self._tell("sample", sample)

    def _tell(self, kind: str, what: Struct) -> None:
        if self._watchers:
            event = _event(kind, encode(what))
            for watcher in self._watchers:
                watcher.add(event)


class _Watcher:
    """What one of them is still to be sent."""

    def __init__(self) -> None:
        self.is_lost = True
        self._events: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._bytes = 0

    def restart(self) -> None:
        """Everything is on its way, as it is now."""
        self.is_lost = False
        self._events.clear()
        self._bytes = 0

    def add(self, event: bytes) -> None:
        if self.is_lost:
            return
        self._events.append(event)
        self._bytes += len(event)
        self.is_lost = self._bytes > _MOST_BEHIND and len(self._events) > 1
        self._news.set()

    async def next(self) -> bytes:
        """The next one; a comment where there is none any more."""
        while not self._events:
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        self._bytes -= len(event)
        return event


def _event(kind: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)
