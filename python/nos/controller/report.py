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
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import NamedTuple

from msgspec import DecodeError

from nos import _core
from nos.controller.binder import Place
from nos.controller.events import Events, Kind, Told
from nos.controller.evictor import Order
from nos.controller.ledger import Ledger
from nos.controller.pace import Pace
from nos.controller.waiting import State, Waiting
from nos.kube.client import STRATEGIC_MERGE, Client
from nos.kube.encode import (
    BINDING_VOLUMES,
    CUTTING,
    UNSCHEDULABLE,
    gpu_list,
    node_may_help,
    not_scheduled,
    pod_path,
)
from nos.kube.errors import ApiError, Unreachable
from nos.kube.pod import Pod, decode_pod
from nos.observe.view import Moment

_log = logging.getLogger(__name__)
_REWORDED_S = (20.0, 40.0)
_AGAIN_S = (1.0, 3.0)
_CUT_S = (2.0, 3.0)  # most cuts take less: then the event says enough


class Word(NamedTuple):
    """What a Pod that waits is told. wants_node: and node autoscalers, that they are to act."""

    code: str
    message: str
    wants_node: bool = False


def by_code(_: str, code: str, message: str) -> Word:
    """Whoever makes nodes is to see for himself whether one would help."""
    return Word(code, message, node_may_help(code))


class Reporter:
    """`waiting` and `bound` take note, `run` writes.

    word: what to make of a Pod's (uid) Reason, its code and message.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        identity: str,
        *,
        pace: Pace,
        word: Callable[[str, str, str], Word] = by_code,
    ) -> None:
        self._word = word
        self._client = client
        self._ledger = ledger
        self.events = Events(client, identity)
        self._pace = pace
        self.waits: Counter[str] = Counter()  # how often a cycle left a Pod over, by code
        self._reasons: dict[str, tuple[str, str]] = {}  # uid: code, message; what is to be on the Pod
        self._cuts: dict[str, tuple[str, str]] = {}  # likewise, while GPUs are cut or volumes bound for them
        self._now: dict[str, None] = {}  # uids to write, in order
        self._later: list[tuple[float, str]] = []  # a heap of uids to write at their time
        self._scheduled: set[str] = set()  # uids in `_later`
        self.happened: Callable[[Moment], None] = lambda _: None  # told of each event

    def waiting(self, outcome: Sequence[tuple[str, _core.Reason]]) -> None:
        """A cycle left these over."""
        texts: dict[int, tuple[str, str]] = {}  # equal Pods share one Reason
        reasons: dict[str, tuple[str, str]] = {}
        for uid, reason in outcome:
            waiting = self._ledger.waiting.get(uid)
            if waiting is None or waiting.request:
                continue
            text = texts.get(id(reason))
            if text is None:
                text = texts[id(reason)] = (reason.code, reason.message)
            reasons[uid] = text
            self._compare(waiting, self._word(uid, *text))
        self.waits.update(map(itemgetter(0), reasons.values()))
        self._reasons = reasons
        self._cuts = {uid: cut for uid, cut in self._cuts.items() if uid in self._ledger.waiting}

    def by_code(self) -> Counter[str]:
        """How many wait now for each."""
        return Counter(code for uid, (code, _) in self._reasons.items() if self._is_pending(uid))

    def _is_pending(self, uid: str) -> bool:
        waiting = self._ledger.waiting.get(uid)
        return waiting is not None and waiting.state is State.PENDING

    def look_again(self, uids: Iterable[str]) -> None:
        """What these are to be told is another now, and news."""
        for uid in uids:
            waiting, reason = self._ledger.waiting.get(uid), self._reasons.get(uid)
            if waiting and reason and not _says(waiting, self._word(uid, *reason)):
                self._now[uid] = None

    def _compare(self, waiting: Waiting, word: Word) -> None:
        if _says(waiting, word):
            waiting.code = word.code
        elif (
            waiting.message is None
            or (waiting.code and waiting.code != word.code)
            or waiting.wants_node != word.wants_node
        ):
            self._now[waiting.uid] = None
        elif waiting.uid not in self._scheduled:
            self._write_later(waiting.uid, _REWORDED_S)

    def bound(self, waiting: Waiting, bind: Place) -> None:
        """A Pod has got its node."""
        self._cuts.pop(waiting.uid, None)
        on = f", {gpus_text(bind.gpus)}" if bind.gpus else ""
        on += f", {instances_text(bind.instances)}" if bind.instances else ""
        self._note(
            waiting, Kind.SCHEDULED, f"Successfully assigned {waiting.namespace}/{waiting.name} to {bind.node}{on}"
        )

    def cut(self, waiting: Waiting, node: str) -> None:
        """A Pod has got its node, whose GPUs have to be cut first."""
        message = f"Needs repartition: GPUs of node {node} are being cut into the slices that it asks for"
        self._cuts[waiting.uid] = CUTTING, message
        self._write_later(waiting.uid, _CUT_S)
        self._note(waiting, Kind.REPARTITIONING, message)

    def not_cut(self, waiting: Waiting, why: str) -> None:
        """Nothing came of that."""
        self._cuts.pop(waiting.uid, None)
        self._note(waiting, Kind.NOT_CUT, f"Another place is looked for: {why}")

    def binding_volumes(self, waiting: Waiting, what: str) -> None:
        """A Pod has got its node, where its volumes are being bound or made."""
        self._cuts[waiting.uid] = BINDING_VOLUMES, what
        self._write_later(waiting.uid, _CUT_S)

    def volumes_not_bound(self, waiting: Waiting, why: str) -> None:
        """Nothing came of that."""
        self._cuts.pop(waiting.uid, None)
        self._note(waiting, Kind.NOT_BOUND, f"Another place is looked for: {why}")

    def refused(self, waiting: Waiting, why: str) -> None:
        """The API server does not let us bind this Pod."""
        self._note(waiting, Kind.NOT_BOUND, why)

    def node_ordered(self, uid: str, group: str) -> None:
        """A node was ordered for a Pod."""
        if waiting := self._ledger.waiting.get(uid):
            self._note(waiting, Kind.NODE_ORDERED, f"Ordered a node of group {group} for this Pod")

    def node_not_made(self, uid: str, group: str, why: str) -> None:
        """Nothing came of that."""
        if waiting := self._ledger.waiting.get(uid):
            self._note(waiting, Kind.NODE_NOT_MADE, f"Node group {group} gives no node: {why}")

    def making_room(self, waiting: Waiting, orders: list[Order]) -> None:
        """These are to go for a Pod that waits."""
        who = ", ".join(f"{order.namespace}/{order.name}" for order in orders)
        pods = "1 Pod" if len(orders) == 1 else f"{len(orders)} Pods"
        self._note(waiting, Kind.PREEMPTING, f"Evicts {pods} to make room on node {orders[0].node}: {who}")

    def evicted(self, order: Order, beneficiary: Waiting | None, note: str) -> None:
        """A Pod is going, for another or for a reason of its own."""
        to = (beneficiary.namespace, beneficiary.name, beneficiary.uid) if beneficiary else None
        kind = Kind.PREEMPTED if order.for_uid else Kind.EVICTED
        self._tell(Told(kind, datetime.now(UTC), order.namespace, order.name, order.uid, note, related=to))

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
            word = None
            if waiting.state is State.PENDING and uid in self._reasons:
                word = self._word(uid, *self._reasons[uid])
            elif waiting.state is State.BINDING and uid in self._cuts:
                word = Word(*self._cuts[uid])
            if word and not _says(waiting, word):
                return self._condition(waiting, word)
        return None if self._pace.busy() else self.events.due(now)

    async def _condition(self, waiting: Waiting, word: Word) -> None:
        code, message, wants_node = word
        reason = UNSCHEDULABLE if wants_node else code
        path = pod_path(waiting.namespace, waiting.name, "status")
        body = not_scheduled(waiting.uid, waiting.version, reason, message, is_news=waiting.message is None)
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
            self._note(waiting, Kind.WAITS, message, topic=code)
        waiting.code, waiting.message, waiting.wants_node = word

    def rejected(self, pod: Pod, why: str) -> None:
        """The kubelet of the node that a Pod was bound to did not admit it."""
        of = pod.metadata
        self._tell(Told(Kind.REJECTED, datetime.now(UTC), of.namespace, of.name, of.uid, why))

    def _note(self, waiting: Waiting, kind: Kind, note: str, *, topic: str = "") -> None:
        if waiting.request:  # there is no such Pod
            return
        self._tell(Told(kind, datetime.now(UTC), waiting.namespace, waiting.name, waiting.uid, note, topic))

    def _tell(self, told: Told) -> None:
        self.events.tell(told, asyncio.get_running_loop().time())
        of, is_warning = f"{told.namespace}/{told.name}", told.kind.type_ == "Warning"
        self.happened(Moment(told.at.timestamp(), told.kind.reason, of, told.note, is_warning))

    def _write_later(self, uid: str, between: tuple[float, float]) -> None:
        if uid not in self._scheduled:
            self._scheduled.add(uid)
            heapq.heappush(self._later, (asyncio.get_running_loop().time() + random.uniform(*between), uid))


def _says(waiting: Waiting, word: Word) -> bool:
    """Whether the Pod's condition says that already."""
    return waiting.message == word.message and waiting.wants_node == word.wants_node


def gpus_text(gpus: Sequence[int]) -> str:
    """GPU slots for people: `GPU 0`, `GPUs 0,3`."""
    return f"GPU{'s' if len(gpus) > 1 else ''} {gpu_list(gpus)}"


def instances_text(instances: Sequence[tuple[int, str, int]]) -> str:
    """MIG instances for people: `3g.40gb on GPU 0`."""
    return ", ".join(f"{profile} on GPU {gpu}" for gpu, profile, _ in sorted(instances))
