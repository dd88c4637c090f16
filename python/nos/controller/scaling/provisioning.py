"""Answers ProvisioningRequests: whether there is room for Pods that are still to come, and books it for a while.

Arrives: the requests from their watch, and after each cycle what became of their stand-ins (`Bookings`). Leaves: the
conditions of each request. All that has to outlive a restart is in its status: a booking ends so many seconds after
Provisioned became True, and the nodes it was on are among the details.

Not every wish is an error: what may pass is tried until the request's time is over; what cannot pass fails at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import DecodeError

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.pods import SAME_SECOND
from nos.controller.report import Word
from nos.controller.scaling.bookings import Bookings
from nos.controller.scaling.room_wanted import NotYet, Refusal, age, read
from nos.controller.store import Store
from nos.controller.watches import Watches, serves
from nos.kube.client import MERGE, Client
from nos.kube.decode import created
from nos.kube.errors import ApiError, Unreachable
from nos.kube.provisioning_request import (
    ACCEPTED,
    BOOKING_EXPIRED,
    CAPACITY_REVOKED,
    CHECK_CAPACITY,
    FAILED,
    PROVISIONED,
    PROVISIONING_REQUESTS,
    ProvisioningRequest,
    answered,
    decode_provisioning_request,
    request_path,
    status_patch,
)
from nos.kube.watch import Watch

_LOOK_S = 1.0
_AGAIN_S = 5.0  # before what could not be read or written is tried again
_REWORDED_S = 10.0  # between two conditions that differ in their message only
_LONGEST_S = 7 * 24 * 3600  # that a request is tried
_NEVER_PASS = frozenset(("Unsupported", "GangInvalid"))  # codes of a Reason
_NODES = "nodes-"  # the detail with the nodes of a pod set, by its number
_SHARED_LABELS = (  # a detail each, where all nodes have the same value
    "kubernetes.io/hostname",
    "node.kubernetes.io/instance-type",
    "nvidia.com/gpu.product",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
)

_log = logging.getLogger(__name__)


class Answerer:
    """`store` is the sink; `hand_over` and `judge` are for the loop, before and after a cycle; `run` answers."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        booking_seconds: float,
        may_write: Callable[[], bool],
        word: Callable[[str, str, str], Word],
    ) -> None:
        self.store = Store[ProvisioningRequest](self._told)
        self._bookings = Bookings(ledger)
        self._client = client
        self._ledger = ledger
        self._booking_s = booking_seconds
        self._may_write = may_write
        self._word = word
        self._pauses: dict[str, float] = {}  # by request: until when it is left alone, by the loop's time
        self._reworded: dict[str, float] = {}  # by request: when its words were last written
        self._news = asyncio.Event()

    def hand_over(self) -> None:
        """A cycle is to begin."""
        self._bookings.hand_over()

    def judge(self, outcome: Sequence[tuple[str, _core.Reason]]) -> None:
        """A cycle left these over."""
        self._bookings.judge(outcome)
        self._news.set()

    async def watch(self, parts: asyncio.TaskGroup, watches: Watches, *, may_lack: bool = False) -> bool:
        """Watch the requests as a task of the group, and return when all are known. False where the API server has
        none; may_lack: or where we have no right to see them."""
        if not await serves(self._client, PROVISIONING_REQUESTS, may_lack=may_lack):
            return False
        watches.begin(parts, Watch(self._client, PROVISIONING_REQUESTS, decode_provisioning_request, self.store))
        await self.store.synced_once.wait()
        return True

    async def restore(self) -> None:
        """Book again what was booked, before the first cycle gives that room to others."""
        for request in list(self.store.known.values()):
            if request.is_ours and request.says(PROVISIONED):
                await self._attend(request)

    async def look(self) -> None:
        """Have in the ledger what is booked now: for whoever writes nothing, and has no cycles."""
        await self.restore()
        self._bookings.look()
        self._bookings.place()
        self._bookings.hand_over()

    async def run(self) -> None:
        """Answer until cancelled."""
        loop, looked = asyncio.get_running_loop(), 0.0
        while True:
            self._news.clear()
            if loop.time() - looked >= _LOOK_S:
                looked = loop.time()
                self._bookings.look()
            if self._may_write():
                await self.turn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S if any(self._bookings) or self._pauses else None):
                    await self._news.wait()

    async def turn(self) -> None:
        """Say what is to be said now."""
        for request in list(self.store.known.values()):
            if request.is_ours:
                await self._attend(request)

    def _told(self, before: ProvisioningRequest | None, now: ProvisioningRequest | None) -> None:
        if before and (now is None or now.metadata.uid != before.metadata.uid):
            self._forget(before.metadata.key)
        self._news.set()

    def _forget(self, key: str) -> None:
        self._bookings.drop(key)
        self._pauses.pop(key, None)
        self._reworded.pop(key, None)

    async def _attend(self, request: ProvisioningRequest) -> None:
        key, now = request.metadata.key, asyncio.get_running_loop().time()
        if request.is_over:
            self._forget(key)
            return
        if self._pauses.get(key, 0.0) > now:
            return
        self._pauses.pop(key, None)
        try:
            if request.says(PROVISIONED):
                await self._keep(request)
            else:
                await self._look_for_room(request)
        except NotYet as error:
            await self._say(request, ACCEPTED, "False", error.reason, error.message)
            self._pause(key)
        except Refusal as error:
            await self._end(request, FAILED, error.reason, error.message)
        except ApiError as error:
            await self._say(request, ACCEPTED, "False", "CannotRead", f"What it names cannot be read: {error}")
            self._pause(key)
        except Unreachable:
            self._pause(key)

    async def _keep(self, request: ProvisioningRequest) -> None:
        """It has its room: for as long as it is booked, and there. Who has Pods that run is not told that it is gone,
        for Kueue would end them."""
        key = request.metadata.key
        if age(request.condition(PROVISIONED).last_transition_time) >= self._booking_s:
            words = f"The room was booked for {self._booking_s:g} s; whoever comes now takes what there is"
            await self._end(request, BOOKING_EXPIRED, "CapacityReservationTimeExpired", words)
        elif key not in self._bookings:
            try:
                await self._book(request)
            except Refusal as error:
                words = f"After a restart nos cannot tell any more what was booked: {error.message}"
                await self._end(request, BOOKING_EXPIRED, error.reason, words)
        elif reason := self._bookings.reason(key):
            kind = BOOKING_EXPIRED if self._bookings.is_used(key) else CAPACITY_REVOKED
            await self._end(
                request, kind, reason[0], f"What was booked is gone, and there is no other room: {reason[1]}"
            )

    async def _look_for_room(self, request: ProvisioningRequest) -> None:
        key, orders = request.metadata.key, request.spec.provisioning_class_name != CHECK_CAPACITY
        patience, said = _patience(request), request.condition(PROVISIONED).message
        is_late = age(request.metadata.creation_timestamp) >= patience
        if key not in self._bookings and not is_late:
            await self._book(request)
            await self._say(request, ACCEPTED, "True", "Accepted", "Room is looked for")
            return
        waits = self._bookings.first(key) if key in self._bookings else ""
        if key in self._bookings and not waits:
            await self._found(request)
            return
        reason = self._bookings.reason(key) if waits else None
        if reason and reason[0] in _NEVER_PASS:
            raise Refusal(*reason)
        if reason and not orders and request.spec.parameters.get("noRetry") == "true":
            raise Refusal(*reason)
        if reason and orders:
            code, words, _ = self._word(waits, *reason)
            reason = code, words
        if is_late:
            raise Refusal("Expired", f"No room within {patience} s. {reason[1] if reason else said}".rstrip())
        if reason:
            await self._say(request, PROVISIONED, "False", *reason)

    async def _found(self, request: ProvisioningRequest) -> None:
        """There is room for all of it."""
        places = await self._bookings.places(request.metadata.key)
        if places is not None:
            orders = request.spec.provisioning_class_name != CHECK_CAPACITY
            words = f"There is room for all of its Pods, booked for {self._booking_s:g} s"
            found = "CapacityIsProvisioned" if orders else "CapacityIsFound"
            await self._say(request, PROVISIONED, "True", found, words, self._details(places))

    async def _book(self, request: ProvisioningRequest) -> None:
        """Read what it asks for, and begin to look for room."""
        of = request.metadata
        sets, terms = await read(self._client, self._ledger, request)
        known = self.store.known.get(of.key)
        if known is None or known.metadata.uid != of.uid:  # it has gone meanwhile
            return
        self._bookings.book(
            of.key,
            of.uid,
            [wanted._replace(nodes=_nodes(request, number)) for number, wanted in enumerate(sets)],
            terms,
            arrival=created(of.creation_timestamp) << SAME_SECOND,
            orders=request.spec.provisioning_class_name != CHECK_CAPACITY,
        )

    def _details(self, places: Sequence[Counter[str]]) -> dict[str, str]:
        """Where Pods are to run: the nodes of each pod set, and what labels all of these share."""
        details = {f"{_NODES}{number}": _text(nodes) for number, nodes in enumerate(places)}
        names = {name for nodes in places for name in nodes}
        labels = [node.metadata.labels for name in names if (node := self._ledger.nodes.node(name))]
        for label in _SHARED_LABELS:
            values = {of.get(label, "") for of in labels}
            if len(values) == 1 and (value := values.pop()):
                details[label] = value
        return details

    async def _end(self, request: ProvisioningRequest, kind: str, reason: str, message: str) -> None:
        if await self._say(request, kind, "True", reason, message):
            self._bookings.drop(request.metadata.key)

    async def _say(
        self,
        request: ProvisioningRequest,
        kind: str,
        status: str,
        reason: str,
        message: str,
        details: dict[str, str] | None = None,
    ) -> bool:
        """Write a condition, if it is news; whether it is there now."""
        key, now, before = request.metadata.key, asyncio.get_running_loop().time(), request.condition(kind)
        is_said, is_fresh = (
            (before.status, before.reason) == (status, reason),
            now - self._reworded.get(key, -_REWORDED_S) < _REWORDED_S,
        )
        if is_said and (before.message == message or is_fresh):
            return True
        if not self._may_write():
            return False
        body = status_patch(request, answered(request, kind, status, reason, message), details)
        path = request_path(request, "status")
        try:
            answer = await self._client.request("PATCH", path, body=body, content_type=MERGE, attempts=2)
            written = decode_provisioning_request(answer)
        except ApiError as error:
            if error.status not in (404, 409):  # it has gone or changed; its event tells how
                _log.warning("the status of ProvisioningRequest %s: %s", key, error)
            self._pause(key, _LOOK_S)
            return False
        except (Unreachable, DecodeError):
            self._pause(key)
            return False
        self._reworded[key] = now
        if self.store.known.get(key) is request:
            self.store.changed(written)
        return True

    def _pause(self, key: str, seconds: float = _AGAIN_S) -> None:
        if key in self.store.known:  # else nobody would take it out again
            self._pauses[key] = asyncio.get_running_loop().time() + seconds * random.uniform(0.8, 1.2)


def _patience(request: ProvisioningRequest) -> int:
    """For how many seconds it is tried."""
    said = request.spec.parameters.get("ValidUntilSeconds")
    if said is None:
        return _LONGEST_S
    if not (said.isascii() and said.isdigit() and len(said) < 10 and int(said)):
        raise Refusal("ParameterInvalid", f'ValidUntilSeconds is "{said}", which is no whole number above 0')
    return min(int(said), _LONGEST_S)


def _text(nodes: Counter[str]) -> str:
    """`a*2,b`."""
    return ",".join(name if count == 1 else f"{name}*{count}" for name, count in sorted(nodes.items()))


def _nodes(request: ProvisioningRequest, number: int) -> Counter[str]:
    """Out of such a text, which somebody may have edited."""
    found: Counter[str] = Counter()
    for part in filter(None, request.status.provisioning_class_details.get(f"{_NODES}{number}", "").split(",")):
        name, _, count = part.partition("*")
        found[name] += int(count) if count.isascii() and count.isdigit() and len(count) < 6 else 1
    return found
