"""Writes that must not compete with Bindings and Evictions: at a steady rate, few at a time."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

_IN_FLIGHT = 8
_IDLE_S = 0.1

_log = logging.getLogger(__name__)


class Pace:
    """How fast: `rate` a second, `busy_rate` while those are sent."""

    def __init__(self, *, busy: Callable[[], bool], rate: float, busy_rate: float) -> None:
        self.busy = busy
        self._rate, self._busy_rate = rate, busy_rate

    async def write(self, due: Callable[[], Coroutine[None, None, None] | None]) -> None:
        """Make the writes that are due, one after another, until cancelled. One that fails costs itself alone."""
        slots = asyncio.Semaphore(_IN_FLIGHT)
        tasks: set[asyncio.Task[None]] = set()

        def finished(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            slots.release()
            if not task.cancelled() and (error := task.exception()):
                _log.error("a report was not written: %s: %s", type(error).__name__, error)

        while True:
            if (write := due()) is None:
                await asyncio.sleep(_IDLE_S)
                continue
            await slots.acquire()
            task = asyncio.create_task(write)
            tasks.add(task)
            task.add_done_callback(finished)
            await asyncio.sleep(1 / (self._busy_rate if self.busy() else self._rate))
