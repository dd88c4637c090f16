"""Decisions on who has to go, to Evictions.

Arrives: after each cycle the whole set of Pods that are to go now. Leaves: Evictions, each under the uid of its Pod,
and what the Pods concerned are told. The set is a level, not a list of orders: who is not in it any more is left alone.
And as the world moves between a cycle and a request, right before each it is asked again whether we still lead, whether
the Pod is there and not going already, and whether the Pod that is to have its room still waits.

Nobody is evicted twice: what was granted is remembered as long as the Pod is there, and where no answer came a read
tells whether it has to be asked again; after a restart a Pod is seen to be going.

A PodDisruptionBudget may refuse (429). Then the Pod is protected for as long as the API server asks for, so that the
core chooses another. If it is chosen once more after that, and for the sake of priority, there is no other choice: it
is deleted without asking, as kube-scheduler does. Who takes back what was lent never goes that far.

Pods that move so that others fit (repack) would not have had to stop: so many of them go in a minute, and no more.
"""

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import DecodeError

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.pods import Known
from nos.controller.waiting import State, Waiting
from nos.kube.client import STRATEGIC_MERGE, Client, pause
from nos.kube.encode import pod_path
from nos.kube.errors import ApiError, Unreachable
from nos.kube.eviction import deletion, disruption, eviction, is_refused_by_budget
from nos.kube.pod import decode_pod

_IN_FLIGHT = 32
_ATTEMPTS = 4
_SERVER_DEADLINE_S = 4  # asked of the server as ?timeout=
_REFUSED_S = 10.0  # that a Pod is protected for, where the API server does not say how long
_FAILED_S = 60.0  # likewise, when it does not let us evict it at all
_MOVES, _MOVES_S = 10, 60.0  # so many in that time

_log = logging.getLogger(__name__)


class Order(NamedTuple):
    """A Pod that is to go. for_uid: who gets its room; empty where it goes for another reason, which `why` tells, and
    `cause` in a word."""

    uid: str
    namespace: str
    name: str
    node: str
    why: str
    for_uid: str = ""
    cause: str = ""


class Evictor:
    """`wanted` takes note, `run` evicts."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        may_write: Callable[[], bool],
        on_wanted: Callable[[Waiting, list[Order]], None],
        on_evicted: Callable[[Order, Waiting | None, str], None],
    ) -> None:
        self.granted = 0
        self.causes: Counter[str] = Counter()  # of those that were granted
        self.reclaimed: Counter[str] = Counter()  # Pods that went so that a quota, by the core's name, got its own
        self.refused = 0
        self._client = client
        self._ledger = ledger
        self._may_write = may_write
        self._on_wanted = on_wanted
        self._on_evicted = on_evicted
        self._wanted: dict[str, Order] = {}  # by uid; what is left to do of the last cycle's set
        self._asked: dict[str, Order] = {}  # likewise, of what `evict` was asked for
        self._announced: dict[str, set[str]] = {}  # the Pods that go for another, by its uid
        self._going: set[str] = set()  # granted
        self._insisted: set[str] = set()  # a budget has refused them
        self._outdated: set[str] = set()  # protected since the cycle that is under way began
        self._in_flight: set[str] = set()
        self._moves: deque[float] = deque(maxlen=_MOVES)  # when the last ones were asked for
        self._marks: dict[str, tuple[Order, str]] = {}  # conditions to write when nobody has to be evicted
        self._next_move: asyncio.TimerHandle | None = None
        self._work = asyncio.Event()

    @property
    def busy(self) -> bool:
        """True while Evictions are in flight; other writes then hold back."""
        return bool(self._in_flight)

    def wanted(self, evictions: Sequence[_core.Eviction]) -> None:
        """These are to go, and of those that cycles before chose nobody else."""
        known = self._ledger.pods.known
        self._going.intersection_update(known)
        self._insisted.intersection_update(known)
        outdated, self._outdated = self._outdated, set()
        orders: dict[str, list[Order]] = {}
        for each in evictions:
            if (pod := known.get(each.uid)) and pod.node:
                orders.setdefault(each.for_uid, []).append(_order(each.uid, pod, each.why, each.for_uid))
        self._wanted = {
            order.uid: order
            for group in orders.values()
            for order in group
            if order.uid not in self._going | outdated and not known[order.uid].leaving
        }
        self._announce(orders)
        self._expect(orders)
        if self._wanted:
            self._work.set()

    def evict(self, namespace: str, name: str, uid: str, why: str, *, cause: str) -> None:
        """Evict this Pod, too, for a reason of its own: `why`, in words, and `cause` in one."""
        pod = self._ledger.pods.known.get(uid, Known(f"{namespace}/{name}"))
        self._asked[uid] = _order(uid, pod, why)._replace(cause=cause)
        self._work.set()

    async def run(self) -> None:
        """Evict until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(_IN_FLIGHT):
                workers.create_task(self._worker())

    def _announce(self, orders: dict[str, list[Order]]) -> None:
        for uid, group in orders.items():
            victims = {order.uid for order in group}
            waiting = self._ledger.waiting.get(uid)
            if waiting is not None and not victims <= self._announced.get(uid, set()):
                self._on_wanted(waiting, group)
                self._announced[uid] = victims
        self._announced = {uid: victims for uid, victims in self._announced.items() if uid in orders}

    def _expect(self, orders: dict[str, list[Order]]) -> None:
        """While one of them is there, the others' end is no news: a cycle would find nothing but what it knew."""
        groups: dict[str, set[str]] = {}
        self._ledger.expected = {}
        for uid, group in orders.items():
            together = groups.setdefault(self._ledger.gangs.of(uid) or uid, set())
            for order in group:
                together.add(order.uid)
                self._ledger.expected[order.uid] = together

    async def _worker(self) -> None:
        while True:
            if order := self._next():
                self._in_flight.add(order.uid)
                try:
                    await self._evict(order)
                finally:
                    self._in_flight.discard(order.uid)
                    if not self._in_flight:
                        self._work.set()
            elif self._marks and not self._in_flight:
                await self._mark(*self._marks.pop(next(iter(self._marks))))
            else:
                self._work.clear()
                await self._work.wait()

    def _next(self) -> Order | None:
        for orders in (self._asked, self._wanted):
            for uid, order in list(orders.items()):
                if uid in self._in_flight or (order.why == "repack" and not self._may_move()):
                    continue
                del orders[uid]
                if self._stands(order):
                    return order
        return None

    def _may_move(self) -> bool:
        """Whether one more may be moved now; else there is work again when it may."""
        loop = asyncio.get_running_loop()
        if len(self._moves) < _MOVES or (wait := self._moves[0] + _MOVES_S - loop.time()) <= 0:
            return True
        if self._next_move is None:
            self._next_move = loop.call_later(wait, self._move_again)
        return False

    def _move_again(self) -> None:
        self._next_move = None
        self._work.set()

    def _stands(self, order: Order) -> bool:
        """Whether the Pod has to go now."""
        pod = self._ledger.pods.known.get(order.uid)
        if not self._may_write() or order.uid in self._going or pod is None or not pod.node or pod.leaving:
            return False
        return not order.for_uid or self._beneficiary(order) is not None

    def _beneficiary(self, order: Order) -> Waiting | None:
        waiting = self._ledger.waiting.get(order.for_uid)
        return waiting if waiting is not None and waiting.state is State.PENDING else None

    async def _evict(self, order: Order) -> None:
        if order.why == "repack":
            self._moves.append(asyncio.get_running_loop().time())
        by_force = order.why == "priority" and order.uid in self._insisted
        beneficiary = self._beneficiary(order)
        note = self._note(order, beneficiary)
        if by_force:
            await self._mark(order, note)
        error = ""
        for attempt in range(1, _ATTEMPTS + 1):
            if not self._stands(order):
                return
            retry_after = None
            try:
                await self._ask(order, by_force=by_force)
            except ApiError as answer:
                error, retry_after = str(answer), answer.retry_after
                if is_refused_by_budget(answer):
                    self._refused(order, retry_after, error)
                    return
                if answer.status in (404, 409):  # it is gone, or another by that name is there, or it has changed
                    if await self._is_going(order):
                        self._going.add(order.uid)
                        return
                elif not answer.may_pass:
                    break
                in_doubt = answer.status >= 500
            except Unreachable as silence:
                error, in_doubt = str(silence), True
            else:
                self._granted(order, beneficiary, note, is_marked=by_force)
                return
            if in_doubt:
                await asyncio.sleep(_SERVER_DEADLINE_S + 1)  # by then the request is not alive in the server any more
                if await self._is_going(order):
                    self._granted(order, beneficiary, note, is_marked=by_force)
                    return
            else:
                await asyncio.sleep(pause(attempt, retry_after))
        _log.warning("Pod %s/%s was not evicted: %s", order.namespace, order.name, error)
        self._protect(order.uid, _FAILED_S)

    async def _ask(self, order: Order, *, by_force: bool) -> None:
        of = order.namespace, order.name
        deadline = f"?timeout={_SERVER_DEADLINE_S}s"
        if by_force:
            await self._client.request("DELETE", pod_path(*of) + deadline, body=deletion(order.uid), attempts=1)
        else:
            path = pod_path(*of, "eviction") + deadline
            await self._client.request("POST", path, body=eviction(*of, order.uid), attempts=1)

    async def _is_going(self, order: Order) -> bool:
        """Read whether the Pod is gone or on its way."""
        attempt = 0
        while self._may_write():
            attempt += 1
            try:
                pod = decode_pod(await self._client.request("GET", pod_path(order.namespace, order.name), attempts=1))
            except ApiError as error:
                if error.status == 404:
                    return True
            except (Unreachable, DecodeError):
                pass
            else:
                return pod.metadata.uid != order.uid or pod.metadata.deletion_timestamp is not None
            await asyncio.sleep(pause(attempt))
        return True  # it is for the next one who leads to see

    async def _mark(self, order: Order, note: str) -> None:
        path = pod_path(order.namespace, order.name, "status")
        try:
            body = disruption(order.uid, note)
            await self._client.request("PATCH", path, body=body, content_type=STRATEGIC_MERGE, attempts=2)
        except (ApiError, Unreachable) as error:  # gone, most likely
            _log.debug("Pod %s/%s is not told why it goes: %s", order.namespace, order.name, error)

    def _note(self, order: Order, beneficiary: Waiting | None) -> str:
        if beneficiary is None:
            return order.why
        quota = self._ledger.quotas.of(beneficiary.namespace)
        of = f" ({quota})" if quota else ""
        who = f"Pod {beneficiary.namespace}/{beneficiary.name}{of} on node {order.node}"
        return f"Moves elsewhere to make room for {who}" if order.why == "repack" else f"Preempted by {who}"

    def _granted(self, order: Order, beneficiary: Waiting | None, note: str, *, is_marked: bool) -> None:
        self.granted += 1
        self.causes[order.cause or order.why] += 1
        if beneficiary and order.why == "reclaim":
            self.reclaimed[self._ledger.quotas.of(beneficiary.namespace)] += 1
        self._going.add(order.uid)
        self._on_evicted(order, beneficiary, note)
        if order.for_uid and not is_marked:
            self._marks[order.uid] = order, note
            self._work.set()

    def _refused(self, order: Order, seconds: float | None, error: str) -> None:
        self.refused += 1
        self._insisted.add(order.uid)
        _log.info("Pod %s/%s may not be evicted now: %s", order.namespace, order.name, error)
        self._protect(order.uid, seconds or _REFUSED_S)

    def _protect(self, uid: str, seconds: float) -> None:
        self._wanted.pop(uid, None)  # by a cycle that did not know of it
        if self._ledger.deciding:
            self._outdated.add(uid)

        def protect(on: bool) -> None:
            if uid in self._ledger.cluster:
                self._ledger.cluster.protect(uid, on)

        self._ledger.edit(lambda: protect(True))
        self._ledger.wake()
        loop = asyncio.get_running_loop()

        def relent() -> None:
            self._ledger.edit(lambda: protect(False))
            self._ledger.wake()

        loop.call_later(seconds * random.uniform(1.0, 1.5), relent)


def _order(uid: str, pod: Known, why: str, for_uid: str = "") -> Order:
    namespace, _, name = pod.key.partition("/")
    return Order(uid, namespace, name, pod.node, why, for_uid)
