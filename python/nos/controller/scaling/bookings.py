"""Room that is kept for Pods still to come: in the ledger each of them has a stand-in.

The stand-ins of a request wait like Pods, as one gang: the scheduler finds them places by quotas, geometry and topology
as it does for Pods, nodes are ordered for them, but nobody is evicted. When they have their places they keep them,
decided and never bound, so nobody else gets that room and no node with them is taken away. A Pod that names the request
takes over the room of its stand-in, just before a cycle, so that it goes first there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from nos import _core
from nos.controller.waiting import Facts, State, Waiting
from nos.kube.decode import pod_labels, requests_of, template
from nos.kube.pod import Pod
from nos.kube.podgroup import Terms
from nos.kube.provisioning_request import consumes

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger

Asks = frozenset[tuple[str, int]]  # effective requests: by them a Pod finds its stand-in


class Wanted(NamedTuple):
    """Pods of one template that are to come."""

    pod: Pod  # as each of them will be
    pods: int
    priority: int
    nodes: Mapping[str, int]  # where they had their places before a restart, and how many


class Consumer(NamedTuple):
    """A Pod that names a request."""

    request: str
    asks: Asks


@dataclass(slots=True)
class Booking:
    """The stand-ins of a request."""

    gang: str
    terms: Terms  # of that gang, but for how many
    stand_ins: list[list[str]] = field(default_factory=list)  # uids, by pod set
    asks: list[Asks] = field(default_factory=list)  # likewise
    served: set[str] = field(default_factory=set)  # uids of Pods that have taken over
    reason: tuple[str, str] | None = None  # why they wait, code and message; None: no cycle has tried, or they do not

    @property
    def all(self) -> Iterator[str]:
        """The uids of its stand-ins."""
        return chain.from_iterable(self.stand_ins)


class Bookings:
    """`book` and `drop` act at once; `hand_over` before a cycle, `judge` after it, `look` now and then."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, Booking] = {}  # by namespace/name of the request
        self._consumers: dict[str, Consumer] = {}  # by uid
        ledger.pods.came = self._came

    def __contains__(self, request: str) -> bool:
        return request in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def book(self, request: str, id_: str, sets: Sequence[Wanted], terms: Terms, *, arrival: int, orders: bool) -> None:
        """Begin to look for room. Pods that have taken over already, as a restart finds them, need none. id_: of the
        request, the same after a restart. orders: whether nodes may be ordered."""
        self.drop(request)
        gang = f"{request} (ProvisioningRequest)"  # no Pod is in one of such a name
        booking = self._known[request] = Booking(gang, terms)
        counts = [wanted.pods for wanted in sets]
        for wanted in sets:
            booking.asks.append(_asks(wanted.pod))
        for uid, consumer in self._consumers.items():
            known = self._ledger.pods.known.get(uid)
            if consumer.request == request and known and known.node:
                booking.served.add(uid)
                of = next((i for i in _like(booking.asks, consumer.asks) if counts[i]), None)
                if of is not None:
                    counts[of] -= 1
        for number, (wanted, count) in enumerate(zip(sets, counts, strict=True)):
            nodes = list(Counter(wanted.nodes).elements())
            booking.stand_ins.append([f"{id_}/{number}/{n}" for n in range(count)])
            for n, uid in enumerate(booking.stand_ins[-1]):
                stand_in = self._stand_in(wanted, uid, arrival)
                stand_in.request, stand_in.gang, stand_in.gets_nodes = request, booking.gang, orders
                stand_in.wish = nodes[n] if n < len(nodes) else ""
                self._ledger.waiting[uid] = stand_in
                self._ledger.admit(stand_in)
        self._settle(booking)

    def drop(self, request: str) -> None:
        """Its room is for everybody."""
        booking = self._known.pop(request, None)
        if booking is None:
            return
        for uid in booking.all:
            self._remove(uid)
        self._ledger.edit(lambda: self._ledger.cluster.remove_gang(booking.gang))

    def reason(self, request: str) -> tuple[str, str] | None:
        """Why its stand-ins wait, code and message; None before a cycle has tried, and when they have their places."""
        return self._known[request].reason

    def is_used(self, request: str) -> bool:
        """Whether a Pod has taken over."""
        return bool(self._known[request].served)

    def first(self, request: str) -> str:
        """The uid of a stand-in that waits; empty where all have their places."""
        waiting = self._ledger.waiting
        return next((uid for uid in self._known[request].all if waiting[uid].state is not State.BINDING), "")

    async def places(self, request: str) -> list[Counter[str]] | None:
        """By pod set, on which node are how many; None where they have not all a place any more."""
        found: asyncio.Future[list[Counter[str]] | None] = asyncio.get_running_loop().create_future()

        def look() -> None:
            booking, cluster = self._known.get(request), self._ledger.cluster
            if found.done():
                return
            if booking is None or self.first(request):
                found.set_result(None)
            else:
                found.set_result([Counter(cluster.pod(uid).node for uid in uids) for uids in booking.stand_ins])

        self._ledger.edit(look)
        return await found

    def hand_over(self) -> None:
        """Let Pods that have come, and can start, take over from their stand-ins."""
        booked: dict[str, bool] = {}
        if not self._known:
            return
        for uid, consumer in list(self._consumers.items()):
            known = self._ledger.pods.known.get(uid)
            if known is None:
                del self._consumers[uid]
                continue
            request, waiting = consumer.request, self._ledger.waiting.get(uid)
            booking = self._known.get(request)
            if not booking or uid in booking.served:
                continue
            if known.node:  # it did not wait for its turn, or another nos has bound it
                self._serve(booking, uid, consumer.asks)
            if not waiting or waiting.state is not State.PENDING:
                continue
            if request not in booked:
                booked[request] = not self.first(request)
            can_start = booked[request] and self._can_start(waiting)
            if can_start and (node := self._serve(booking, uid, consumer.asks)):
                waiting.wish = node
                self._ledger.admit(waiting)

    def place(self) -> None:
        """Give stand-ins that wait their places at once. They go first in a cycle, so nobody else needs to be in it."""
        self._ledger.edit(self._place)

    def _place(self) -> None:
        waiting, cluster = self._ledger.waiting, self._ledger.cluster
        if all(waiting[uid].state is State.BINDING for booking in self._known.values() for uid in booking.all):
            return
        alone = cluster.copy()
        for each in waiting.values():
            if not each.request:
                alone.remove_pod(each.uid)
        for bind in _core.Scheduler(alone, _core.Policy()).schedule().binds:
            cluster.assume(bind.uid, bind.node, bind.gpus, bind.instances, bind.volumes)
            self._ledger.decided(bind.uid)

    def judge(self, outcome: Sequence[tuple[str, _core.Reason]]) -> None:
        """A cycle left these over."""
        for booking in self._known.values():
            booking.reason = None
        for uid, reason in outcome:
            waiting = self._ledger.waiting.get(uid)
            of = self._known.get(waiting.request) if waiting else None
            if of and not of.reason:
                of.reason = reason.code, reason.message

    def look(self) -> None:
        """Those who have lost their place, as their node has gone or is another now, look for one again."""
        self._ledger.edit(self._look)

    def _look(self) -> None:
        cluster = self._ledger.cluster
        for booking in self._known.values():
            for uid in booking.all:
                waiting = self._ledger.waiting[uid]
                if waiting.state is not State.BINDING:
                    continue
                if not cluster.pod(uid).placed:
                    cluster.forget(uid)
                    waiting.state, booking.reason = State.PENDING, None
                    self._ledger.wake()

    def _came(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if request := consumes(pod):
            if uid not in self._consumers:
                self._consumers[uid] = Consumer(request, _asks(pod))
        else:
            self._consumers.pop(uid, None)

    def _can_start(self, waiting: Waiting) -> bool:
        """Whether it waits neither for its volumes nor for others of its gang."""
        name = self._ledger.gangs.of(waiting.uid)
        gang = self._ledger.gangs.known.get(name)
        is_whole = not name or (gang is not None and gang.terms is not None and len(gang.members) >= gang.least)
        return is_whole and not waiting.facts.asked.volumes.waits_for

    def _serve(self, booking: Booking, consumer: str, asks: Asks) -> str:
        """Take away the stand-in of a Pod (uid); where it was, if it had a place."""
        booking.served.add(consumer)
        number = next((number for number in _like(booking.asks, asks) if booking.stand_ins[number]), None)
        if number is None:  # more have come than were asked for
            return ""
        uid = booking.stand_ins[number].pop()
        node = self._ledger.cluster.pod(uid).node
        self._remove(uid)
        self._settle(booking)
        return node

    def _settle(self, booking: Booking) -> None:
        """Its gang is as large as it has stand-ins."""
        cluster, terms, least = self._ledger.cluster, booking.terms, sum(map(len, booking.stand_ins))
        self._ledger.edit(
            lambda: cluster.upsert_gang(
                booking.gang,
                min_members=least,
                topology_key=terms.topology_key,
                required=terms.required,
                problem=terms.problem,
            )
        )

    def _stand_in(self, wanted: Wanted, uid: str, arrival: int) -> Waiting:
        name = "-".join([wanted.pod.metadata.name, *uid.split("/")[-2:]])
        pod = Pod(replace(wanted.pod.metadata, name=name, uid=uid), wanted.pod.spec)
        facts = Facts(template(pod), self._ledger.storage.asked(pod), bytes(pod.metadata.labels), None)
        namespace = pod.metadata.namespace
        spec = self._ledger.pods.spec(namespace, facts)
        made = Waiting(namespace, name, uid, facts, spec, pod_labels(pod), wanted.priority, arrival)
        made.preempts = False
        return made

    def _remove(self, uid: str) -> None:
        del self._ledger.waiting[uid]
        self._ledger.storage.forget(uid)
        cluster = self._ledger.cluster
        self._ledger.edit(lambda: cluster.remove_pod(uid))
        self._ledger.wake()


def _asks(pod: Pod) -> Asks:
    return frozenset(requests_of(template(pod)).items())


def _like(sets: Sequence[Asks], asks: Asks) -> Iterator[int]:
    """The pod sets, first those that ask for the same."""
    yield from (number for number, of in enumerate(sets) if of == asks)
    yield from (number for number, of in enumerate(sets) if of != asks)
