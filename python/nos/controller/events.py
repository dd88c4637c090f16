"""Events about Pods: each thing that happens is told once, and counted when it happens again.

Arrives: `tell`. Leaves: Event objects. What happens to the same Pod again, in the same words or on the same topic, is
one object whose series counts; it is written at most every 10 seconds, with all that came meanwhile. After 6 minutes of
silence it is another thing, and another object: its words cannot change. An Event that somebody has deleted, or that
has expired, is written anew with its whole count. A restart knows no Events, and begins new ones.

Events are best effort, as everywhere in Kubernetes: past 20,000 Pods and things the oldest are forgotten, first those
that are written, and what the API server does not take in 5 tries is dropped. What was lost so is counted.
"""

import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from nos.kube.client import MERGE, Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.event import event, event_name, events_path, series_patch

_MOST = 20_000
_SILENCE_S = 360.0
_GATHER_S = 10.0
_ATTEMPTS = 5

_log = logging.getLogger(__name__)


class Kind(Enum):
    """All that can happen: type, reason and action of the Event, and what it means."""

    SCHEDULED = (
        "Normal",
        "Scheduled",
        "Binding",
        "The Pod has its node, and its GPUs or slices where it asked for some.",
    )
    WAITS = (
        *("Warning", "FailedScheduling", "Scheduling"),
        "No node can take the Pod now. The note says why, and the smallest change that would help. Told when the code "
        "of the Reason is another one; the condition `PodScheduled` has the present numbers.",
    )
    NOT_BOUND = (
        *("Warning", "FailedScheduling", "Binding"),
        "The Pod had its node, but its volumes could not be bound there, or the API server refused the Binding. It is "
        "placed anew.",
    )
    REPARTITIONING = (
        *("Normal", "Repartitioning", "Scheduling"),
        "The Pod has its node, whose GPUs are cut for it first. It is bound when the agent of the node reports them.",
    )
    NOT_CUT = (
        *("Warning", "RepartitionFailed", "Scheduling"),
        "The GPUs could not be cut, or not in time. The Pod is placed anew; the GPUNode says more.",
    )
    PREEMPTING = (
        *("Normal", "Preempting", "Preempting"),
        "Other Pods are evicted so that this one can run. It is bound when they are gone.",
    )
    PREEMPTED = (
        *("Normal", "Preempted", "Preempting"),
        "The Pod is evicted so that another, its `related`, can run: by priority, because a quota takes back what it "
        "lent, or to move elsewhere.",
    )
    EVICTED = (
        *("Normal", "Evicted", "Evicting"),
        "The Pod is evicted, and nobody gets its room: its node is drained, or its pod group has lost too many Pods.",
    )
    NODE_ORDERED = "Normal", "NodeOrdered", "Scaling", "A new node was ordered that can take the Pod."
    NODE_NOT_MADE = (
        *("Warning", "NodeNotMade", "Scaling"),
        "The node that was ordered for the Pod does not come. Another is ordered where one can be had.",
    )
    REJECTED = (
        *("Warning", "RejectedByKubelet", "Binding"),
        "The kubelet did not admit the Pod after it was bound: somebody else took the room first. Who made the Pod "
        "has to make another, as its Deployment or Job does by itself.",
    )

    def __init__(self, type_: str, reason: str, action: str, meaning: str) -> None:
        self.type_ = type_
        self.reason = reason
        self.action = action
        self.meaning = meaning


class Told(NamedTuple):
    """Something that happened to a Pod. topic: what makes it the same thing as before; empty: its note does. related:
    namespace, name and uid of another Pod."""

    kind: Kind
    at: datetime
    namespace: str
    name: str
    uid: str
    note: str
    topic: str = ""
    related: tuple[str, str, str] | None = None


_Key = tuple[str, Kind, str, str]


@dataclass(slots=True)
class _Series:
    """One Event object, or what is to be one."""

    first: Told
    last: datetime
    heard: float  # when it happened last, by the event loop's clock
    count: int = 1
    written: int = 0  # of them
    name: str = ""  # of the object; empty where there is none to our knowledge
    is_there: bool = False
    failures: int = 0  # in a row


class Events:
    """`tell` takes note, `due` writes. now: seconds of a clock that never goes back."""

    def __init__(self, client: Client, reporter: str) -> None:
        self.lost = 0  # things that happened and were not written
        self._client = client
        self._reporter = reporter
        self._known: dict[_Key, _Series] = {}  # each in one of these, or being written:
        self._new: deque[_Key] = deque()
        self._later: deque[tuple[float, _Key]] = deque()  # with the time
        self._written: dict[_Key, None] = {}  # the longest so first

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    def tell(self, told: Told, now: float) -> None:
        """This happened."""
        key = told.uid, told.kind, told.topic or told.note, told.related[2] if told.related else ""
        series = self._known.get(key)
        if series and key in self._written:
            del self._written[key]
            if now - series.heard > _SILENCE_S:
                del self._known[key]
                series = None
            else:
                self._later.append((now + _GATHER_S, key))
        if series:
            series.count += 1
            series.last, series.heard = told.at, now
            return
        if len(self._known) >= _MOST:
            self._forget_one()
        self._known[key] = _Series(told, told.at, now)
        self._new.append(key)

    def due(self, now: float) -> Coroutine[None, None, None] | None:
        """The next write that is due."""
        while self._written and now - self._known[key := next(iter(self._written))].heard > _SILENCE_S:
            del self._written[key], self._known[key]
        if self._new:
            return self._write(self._new.popleft(), now)
        if self._later and self._later[0][0] <= now:
            return self._write(self._later.popleft()[1], now)
        return None

    def _forget_one(self) -> None:
        if self._written:
            key = next(iter(self._written))
            del self._written[key]
        elif self._later or self._new:
            key = self._later.popleft()[1] if self._later else self._new.popleft()
        else:
            return  # all are being written, which are few
        self._drop(key)

    def _drop(self, key: _Key) -> None:
        series = self._known.pop(key)
        self.lost += series.count - series.written

    async def _write(self, key: _Key, now: float) -> None:
        series = self._known[key]
        count = series.count
        try:
            if series.is_there:
                await self._repeat(series)
            else:
                await self._create(series)
        except ApiError as error:
            if error.status == 404 and series.is_there:  # expired, or deleted
                series.is_there, series.name, series.written = False, "", 0
                self._new.append(key)
            elif error.reason == "AlreadyExists" and not series.is_there:  # by a try whose answer was lost
                series.is_there, series.written = True, 1
                self._done(key, now)
            elif error.status == 409 or error.may_pass:
                self._failed(key, now, error)
            else:  # its namespace is going, say
                _log.debug("an event was not written: %s", error)
                self._drop(key)
        except Unreachable as error:
            self._failed(key, now, error)
        else:
            series.is_there, series.written, series.failures = True, count, 0
            self._done(key, now)

    async def _create(self, series: _Series) -> None:
        first = series.first
        series.name = series.name or event_name(first.name)  # the same at each try
        body = event(
            first.namespace,
            first.name,
            first.uid,
            name=series.name,
            at=first.at,
            reporter=self._reporter,
            type_=first.kind.type_,
            reason=first.kind.reason,
            action=first.kind.action,
            note=first.note,
            related=first.related,
            count=series.count,
            last=series.last,
        )
        await self._client.request("POST", events_path(first.namespace), body=body, attempts=2)

    async def _repeat(self, series: _Series) -> None:
        path, body = events_path(series.first.namespace, series.name), series_patch(series.count, series.last)
        await self._client.request("PATCH", path, body=body, content_type=MERGE, attempts=2)

    def _done(self, key: _Key, now: float) -> None:
        series = self._known[key]
        if series.count > series.written:
            self._later.append((now + _GATHER_S, key))
        else:
            self._written[key] = None

    def _failed(self, key: _Key, now: float, error: Exception) -> None:
        series = self._known[key]
        series.failures += 1
        if series.failures < _ATTEMPTS:
            self._later.append((now + _GATHER_S, key))
            return
        _log.debug("an event was not written: %s", error)
        self._drop(key)
