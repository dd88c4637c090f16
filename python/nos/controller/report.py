"""Says of each Pod what became of it: PodScheduled conditions and events.

Arrives: after each cycle the Pods that wait with their Reasons, and each Pod that was bound. Leaves: PodScheduled=False
conditions and FailedScheduling events, Scheduled events. A condition is written when the code of the Reason is new, and
at most every 20-40 seconds when only its wording is: node counts change all the time. An event accompanies a new code.

These writes must not compete with Bindings, nor wait for ever behind them: while the binder is busy they trickle.
Conditions are certain to be written in the end; events are best effort, as everywhere in Kubernetes.
"""

import asyncio
import contextlib
import heapq
import logging
import random
from collections import deque
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import DecodeError

from nos import _core
from nos.controller.binder import Place
from nos.controller.evictor import Order
from nos.controller.ledger import Ledger
from nos.controller.pace import Pace
from nos.controller.waiting import State, Waiting
from nos.kube.client import STRATEGIC_MERGE, Client
from nos.kube.encode import BINDING_VOLUMES, CUTTING, event, gpu_list, instance_list, not_scheduled, pod_path
from nos.kube.errors import ApiError, Unreachable
from nos.kube.pod import Pod, decode_pod

_log = logging.getLogger(__name__)
_MOST_EVENTS = 20_000  # waiting to be sent; past that the oldest are dropped
_REWORDED_S = (20.0, 40.0)
_AGAIN_S = (1.0, 3.0)
_CUT_S = (2.0, 3.0)  # most cuts take less: then the event says enough


class _Event(NamedTuple):
    """To be encoded when it is sent: not while Bindings are."""

    at: datetime
    namespace: str
    pod: str
    uid: str
    type_: str
    reason: str
    action: str
    note: str
    related: tuple[str, str, str] | None = None


class Reporter:
    """`waiting` and `bound` take note, `run` writes."""

    def __init__(self, client: Client, ledger: Ledger, identity: str, *, pace: Pace) -> None:
        self._client = client
        self._ledger = ledger
        self._identity = identity
        self._pace = pace
        self._reasons: dict[str, tuple[str, str]] = {}  # uid: code, message; what is to be on the Pod
        self._cuts: dict[str, tuple[str, str]] = {}  # likewise, while GPUs are cut or volumes bound for them
        self._now: dict[str, None] = {}  # uids to write, in order
        self._later: list[tuple[float, str]] = []  # a heap of uids to write at their time
        self._scheduled: set[str] = set()  # uids in `_later`
        self._events: deque[_Event] = deque(maxlen=_MOST_EVENTS)

    def waiting(self, outcome: Sequence[tuple[str, _core.Reason]]) -> None:
        """A cycle left these over."""
        texts: dict[int, tuple[str, str]] = {}  # equal Pods share one Reason
        reasons: dict[str, tuple[str, str]] = {}
        for uid, reason in outcome:
            waiting = self._ledger.waiting.get(uid)
            if waiting is None:
                continue
            text = texts.get(id(reason))
            if text is None:
                text = texts[id(reason)] = (reason.code, reason.message)
            reasons[uid] = text
            code, message = text
            if waiting.message == message:
                waiting.code = code
            elif waiting.message is None or (waiting.code and waiting.code != code):
                self._now[uid] = None
            elif uid not in self._scheduled:
                self._write_later(uid, _REWORDED_S)
        self._reasons = reasons
        self._cuts = {uid: cut for uid, cut in self._cuts.items() if uid in self._ledger.waiting}

    def bound(self, waiting: Waiting, bind: Place) -> None:
        """A Pod has got its node."""
        self._cuts.pop(waiting.uid, None)
        on = f", GPU {gpu_list(bind.gpus)}" if bind.gpus else ""
        on += f", {instance_list(bind.instances)}" if bind.instances else ""
        note = f"Successfully assigned {waiting.namespace}/{waiting.name} to {bind.node}{on}"
        self._note(waiting, "Normal", "Scheduled", "Binding", note)

    def cut(self, waiting: Waiting, node: str) -> None:
        """A Pod has got its node, whose GPUs have to be cut first."""
        message = f"needs repartition: in flight on node {node}"
        self._cuts[waiting.uid] = CUTTING, message
        self._write_later(waiting.uid, _CUT_S)
        self._note(waiting, "Normal", CUTTING, "Scheduling", message)

    def not_cut(self, waiting: Waiting, why: str) -> None:
        """Nothing came of that."""
        self._cuts.pop(waiting.uid, None)
        self._note(waiting, "Warning", "RepartitionFailed", "Scheduling", f"Is placed anew: {why}")

    def binding_volumes(self, waiting: Waiting, what: str) -> None:
        """A Pod has got its node, where its volumes are being bound or made."""
        self._cuts[waiting.uid] = BINDING_VOLUMES, what
        self._write_later(waiting.uid, _CUT_S)

    def volumes_not_bound(self, waiting: Waiting, why: str) -> None:
        """Nothing came of that."""
        self._cuts.pop(waiting.uid, None)
        self._note(waiting, "Warning", "FailedScheduling", "Binding", f"Is placed anew: {why}")

    def refused(self, waiting: Waiting, why: str) -> None:
        """The API server does not let us bind this Pod."""
        self._note(waiting, "Warning", "FailedScheduling", "Binding", why)

    def making_room(self, waiting: Waiting, orders: list[Order]) -> None:
        """These are to go for a Pod that waits."""
        who = ", ".join(f"{order.namespace}/{order.name}" for order in orders)
        self._note(waiting, "Normal", "Preempting", "Preempting", f"Makes room on node {orders[0].node}: evicts {who}")

    def evicted(self, order: Order, beneficiary: Waiting | None, note: str) -> None:
        """A Pod is going, for another or for a reason of its own."""
        to = (beneficiary.namespace, beneficiary.name, beneficiary.uid) if beneficiary else None
        reason, action = ("Preempted", "Preempting") if order.for_uid else ("Evicted", "Evicting")
        of = order.namespace, order.name, order.uid
        self._events.append(_Event(datetime.now(UTC), *of, "Normal", reason, action, note, to))

    async def run(self) -> None:
        """Write until cancelled."""
        await self._pace.write(self._next)

    def _next(self) -> Coroutine[None, None, None] | None:
        """The next write that is due: conditions first."""
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            uid = heapq.heappop(self._later)[1]
            self._scheduled.discard(uid)
            self._now[uid] = None
        while self._now:
            uid = next(iter(self._now))
            del self._now[uid]
            if (waiting := self._ledger.waiting.get(uid)) is None:
                continue
            reasons = {State.PENDING: self._reasons, State.BINDING: self._cuts}.get(waiting.state, {})
            if (reason := reasons.get(uid)) and waiting.message != reason[1]:
                return self._condition(waiting, *reason)
        if self._events and not self._pace.busy():
            return self._event(self._events.popleft())
        return None

    async def _condition(self, waiting: Waiting, code: str, message: str) -> None:
        path = pod_path(waiting.namespace, waiting.name, "status")
        body = not_scheduled(waiting.uid, waiting.version, code, message, is_news=waiting.message is None)
        try:
            answer = await self._client.request("PATCH", path, body=body, content_type=STRATEGIC_MERGE, attempts=2)
        except ApiError as error:
            if error.status == 409:  # the Pod has changed; its event tells how
                self._write_later(waiting.uid, _AGAIN_S)
            elif error.status != 404:
                _log.warning("the condition of Pod %s/%s: %s", waiting.namespace, waiting.name, error)
                self._write_later(waiting.uid, _REWORDED_S)
            return
        except Unreachable:
            self._write_later(waiting.uid, _AGAIN_S)
            return
        with contextlib.suppress(DecodeError):  # then its event brings it
            waiting.version = decode_pod(answer).metadata.resource_version
        if waiting.code != code and code not in (CUTTING, BINDING_VOLUMES):
            self._note(waiting, "Warning", "FailedScheduling", "Scheduling", message)
        waiting.code, waiting.message = code, message

    async def _event(self, noted: _Event) -> None:
        path, body = event(
            noted.namespace,
            noted.pod,
            noted.uid,
            at=noted.at,
            reporter=self._identity,
            type_=noted.type_,
            reason=noted.reason,
            action=noted.action,
            note=noted.note,
            related=noted.related,
        )
        try:
            await self._client.request("POST", path, body=body, attempts=2)
        except (ApiError, Unreachable) as error:
            _log.debug("an event was not written: %s", error)

    def rejected(self, pod: Pod, why: str) -> None:
        """The kubelet of the node that a Pod was bound to did not admit it."""
        of = pod.metadata
        self._events.append(
            _Event(datetime.now(UTC), of.namespace, of.name, of.uid, "Warning", "RejectedByKubelet", "Binding", why)
        )

    def _note(self, waiting: Waiting, type_: str, reason: str, action: str, note: str) -> None:
        self._events.append(
            _Event(datetime.now(UTC), waiting.namespace, waiting.name, waiting.uid, type_, reason, action, note)
        )

    def _write_later(self, uid: str, between: tuple[float, float]) -> None:
        if uid not in self._scheduled:
            self._scheduled.add(uid)
            heapq.heappush(self._later, (asyncio.get_running_loop().time() + random.uniform(*between), uid))
