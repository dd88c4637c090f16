"""What the API server says, kept as facts in one Cluster.

Arrives: what the sinks make of their watches, and how our own bindings ended. Leaves: the Cluster for the scheduler,
and `waiting`, the Pods that we are to place. While `schedule` runs in its thread nobody may enter the Cluster, so what
arrives then is queued and applied in order when it is over.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from nos.controller.budgets import Budgets
from nos.controller.devices import DeviceOffers
from nos.controller.gangs import Gangs
from nos.controller.gpu_nodes import GpuNodeSink
from nos.controller.nodes import NodeSink
from nos.controller.pods import PodSink
from nos.controller.quotas import Quotas
from nos.controller.spread_defaults import SpreadDefaults
from nos.controller.storage import Storage
from nos.controller.store import Store
from nos.controller.waiting import State, Waiting
from nos.kube.decode import Owner
from nos.kube.namespace import Namespace
from nos.record.cluster import Recorded

_log = logging.getLogger(__name__)


class Listed(Protocol):
    """What has been listed once `synced_once` is set."""

    synced_once: asyncio.Event

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""


class Ledger:
    """The Cluster, its sinks and the Pods that wait."""

    def __init__(self, scheduler_name: str) -> None:
        self.cluster = Recorded()
        self.waiting: dict[str, Waiting] = {}
        self.gangs = Gangs(self)
        self.pods = PodSink(self, scheduler_name)
        self.nodes = NodeSink(self)
        self.gpu_nodes = GpuNodeSink(self)
        self.namespaces = Store[Namespace](self._namespace)
        self.spread_defaults = SpreadDefaults(self._revise)
        self.devices = DeviceOffers(self.nodes.revise)
        self.storage = Storage(self)
        self.quotas = Quotas(self)
        self.budgets = Budgets(self)
        self.gave_back: Callable[[str], None] = lambda _: None  # told of a Pod whose decision does not hold
        # Told how long the watch took to show a Pod's Binding: seconds.
        self.echoed: Callable[[Waiting, float], None] = lambda *_: None
        # Pods that are to go, each with all that go for the same Pod or gang, which fits when the last of them is gone.
        self.expected: dict[str, set[str]] = {}
        self._news = asyncio.Event()  # something that may let a Pod run
        self._stale = False  # something that only may, if it is more than an echo
        self._busy = False
        self._queued: list[Callable[[], object]] = []

    @property
    def sinks(self) -> tuple[Listed, ...]:
        """All of them."""
        devices: tuple[Listed, ...] = self.devices.classes, self.devices.slices
        shared: tuple[Listed, ...] = *self.quotas.sinks, self.budgets.store
        more: tuple[Listed, ...] = *self.spread_defaults.sinks, *devices, *self.storage.sinks
        return self.pods, self.nodes, self.gpu_nodes, self.namespaces, self.gangs.groups, *shared, *more

    @property
    def synced(self) -> bool:
        """True once the watches have listed what exists."""
        return all(sink.synced_once.is_set() for sink in self.sinks)

    async def wait_synced(self) -> None:
        """Return when the watches have listed what exists."""
        for sink in self.sinks:
            await sink.synced_once.wait()
        for waiting in self.waiting.values():  # their nodes may have come after them
            if waiting.nominated:
                self.admit(waiting)

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

    @property
    def deciding(self) -> bool:
        """True while a cycle decides, by what was known when it began."""
        return self._busy

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

    def gone(self, uid: str) -> None:
        """A Pod has left its node, or does not wait any more. The room of one that goes for another is spoken for."""
        others = self.expected.pop(uid, None)
        if others is not None:
            others.discard(uid)
        self.wake(urgent=not others)

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
        waiting.bound = time.monotonic()
        if self.waiting.get(waiting.uid) is not waiting:
            self.echoed(waiting, 0.0)  # the watch was quicker than the answer

    def defer(self, waiting: Waiting, seconds: float) -> None:
        """Its Binding failed for certain: give its room back, and try it again later."""
        if not self.awaits(waiting):
            return
        waiting.state = State.DEFERRED
        waiting.failures += 1
        self.gave_back(waiting.uid)
        self.edit(lambda: self.cluster.remove_pod(waiting.uid))
        self.wake()  # others may have its room meanwhile
        asyncio.get_running_loop().call_later(seconds, self._readmit, waiting)

    def _readmit(self, waiting: Waiting) -> None:
        if self.waiting.get(waiting.uid) is waiting and waiting.state is State.DEFERRED:
            waiting.state = State.PENDING
            self.admit(waiting)

    def admit(self, waiting: Waiting) -> None:
        """Let the scheduler see it."""
        as_is, wish, offers = replace(waiting), waiting.nominated or waiting.wish, waiting.facts.asked.offers

        def offer() -> None:
            as_is.offer(self.cluster, wish)
            waiting.offers = offers

        self.edit(offer)
        self.wake()

    def _namespace(self, before: Namespace | None, now: Namespace | None) -> None:
        name = (now or before).metadata.name  # type: ignore[union-attr]
        if now is None:
            self.edit(lambda: self.cluster.remove_namespace(name))
        elif before is None or before.metadata.labels != now.metadata.labels:
            self.edit(lambda: self.cluster.upsert_namespace(name, now.metadata.labels))
            self.wake()

    def _revise(self, namespaces: set[str], owners: set[tuple[str, Owner]]) -> None:
        for waiting in list(self.waiting.values()):
            owner = waiting.facts.owner
            if waiting.namespace in namespaces or (owner and (waiting.namespace, owner) in owners):
                self.pods.revise(waiting)

    def _apply(self, edit: Callable[[], object]) -> None:
        try:
            edit()
        except (ValueError, KeyError) as error:
            _log.error("the core refuses a fact, which is left out: %s", error)
