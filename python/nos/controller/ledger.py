"""What the API server says, kept as facts in one Cluster.

Arrives: what the sinks make of their watches, and how our own bindings ended. Leaves: the Cluster for the scheduler,
and `waiting`, the Pods that we are to place. While `schedule` runs in its thread nobody may enter the Cluster, so what
arrives then is queued and applied in order when it is over.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nos import _core
from nos.controller.gpu_nodes import GpuNodeSink
from nos.controller.nodes import NodeSink
from nos.controller.pods import PodSink
from nos.controller.waiting import State, Waiting

_log = logging.getLogger(__name__)


class Ledger:
    """The Cluster, its sinks (`pods`, `nodes`, `gpu_nodes`) and the Pods that wait."""

    def __init__(self, scheduler_name: str) -> None:
        self.cluster = _core.Cluster()
        self.waiting: dict[str, Waiting] = {}
        self.pods = PodSink(self, scheduler_name)
        self.nodes = NodeSink(self)
        self.gpu_nodes = GpuNodeSink(self)
        self._news = asyncio.Event()  # something that may let a Pod run
        self._stale = False  # something that only may, if it is more than an echo
        self._busy = False
        self._queued: list[Callable[[], object]] = []

    @property
    def synced(self) -> bool:
        """True once the watches have listed what exists."""
        return all(sink.synced_once.is_set() for sink in (self.pods, self.nodes, self.gpu_nodes))

    async def wait_synced(self) -> None:
        """Return when the watches have listed what exists."""
        for sink in (self.pods, self.nodes, self.gpu_nodes):
            await sink.synced_once.wait()

    async def wait_news(self, patience: float) -> None:
        """Return when a cycle is worth while: at once on news, after `patience` seconds on what may be none."""
        while True:
            try:
                # Not wait_for: that of Python 3.11 can swallow a cancellation.
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                if not self._stale:
                    continue
            self._news.clear()
            self._stale = False
            if any(waiting.state is State.PENDING for waiting in self.waiting.values()):
                return

    @contextmanager
    def scheduling(self) -> Iterator[None]:
        """The scheduler has the Cluster to itself; what arrives meanwhile is applied afterwards."""
        self._busy = True
        yield  # an exception here means that the scheduler's thread may still run: leave the Cluster alone
        self._busy = False
        queued, self._queued = self._queued, []
        for edit in queued:
            self._apply(edit)

    def edit(self, edit: Callable[[], object]) -> None:
        """Edit the Cluster, now or when the scheduler is done with it."""
        if self._busy:
            self._queued.append(edit)
        else:
            self._apply(edit)

    def wake(self, *, urgent: bool = True) -> None:
        """A Pod that waits may fit now."""
        if urgent:
            self._news.set()
        else:
            self._stale = True

    def decided(self, uid: str) -> Waiting | None:
        """The scheduler has assumed this Pod; None when it left or was bound while the scheduler thought."""
        waiting = self.waiting.get(uid)
        if waiting is not None:
            waiting.state = State.BINDING
        return waiting

    def awaits(self, waiting: Waiting) -> bool:
        """Whether this decision still stands; no longer when the Pod was deleted, or has got a node."""
        return self.waiting.get(waiting.uid) is waiting and waiting.state is State.BINDING

    def bound(self, waiting: Waiting) -> None:
        """Its Binding succeeded. It stays assumed until the watch says so."""
        waiting.failures = 0

    def defer(self, waiting: Waiting, seconds: float) -> None:
        """Its Binding failed for certain: give its room back, and try it again later."""
        if not self.awaits(waiting):
            return
        waiting.state = State.DEFERRED
        waiting.failures += 1
        self.edit(lambda: self.cluster.remove_pod(waiting.uid))
        asyncio.get_running_loop().call_later(seconds, self._readmit, waiting)

    def _readmit(self, waiting: Waiting) -> None:
        if self.waiting.get(waiting.uid) is waiting and waiting.state is State.DEFERRED:
            waiting.state = State.PENDING
            self.admit(waiting)

    def admit(self, waiting: Waiting) -> None:
        """Let the scheduler see it."""
        uid, spec, priority, arrival = waiting.uid, waiting.spec, waiting.priority, waiting.arrival
        self.edit(lambda: self.cluster.upsert_pod(uid, spec, priority=priority, arrival=arrival))
        self.wake()

    def _apply(self, edit: Callable[[], object]) -> None:
        try:
            edit()
        except (ValueError, KeyError) as error:
            _log.error("the core refuses a fact, which is left out: %s", error)
