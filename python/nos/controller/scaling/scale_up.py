"""Orders the cheapest nodes for the Pods that nothing else helps, and says what it did for each.

Arrives: after each cycle the Pods that wait, with their Reasons. When no more have come for a while, the core looks on
a copy of the ledger, on which the nodes that are on their way are there already, which new nodes would let them run.
These are ordered. Who waits for one is told so, and no autoscaler is (its condition is not Unschedulable): nos has seen
to it. Where somebody else makes a group's nodes, he is told: that is all that nos orders there. Whom no node group
would help is told what forbids it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from nos import _core
from nos.autoscaler.backend import NOS, Order
from nos.controller.ledger import Ledger
from nos.controller.report import Word
from nos.controller.scaling.daemons import Daemons
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Orders
from nos.controller.scaling.plan import Plan, plan
from nos.controller.scaling.settings import Scaling
from nos.controller.waiting import State
from nos.kube.decode import WITH_ITS_NODE
from nos.kube.encode import node_may_help

NODE_ORDERED = "NodeOrdered"  # the code of a Pod whose node is on its way
NODE_WANTED = "NodeWanted"  # and of one for which an autoscaler is to make one
_AGAIN_S = 30.0  # before what could not be helped is tried anew, while nothing happens

_log = logging.getLogger(__name__)


class Verdict(NamedTuple):
    """What scaling does for a Pod."""

    code: str  # empty: nothing, and why
    words: str


class ScaleUp:
    """`waiting` takes note, `run` orders; `word` is for the reporter, `latest` for an autoscaler that asks.

    on_change: told of Pods whose verdict is another. on_ordered: of a Pod (uid) for whom a node of a group was ordered.
    """

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        orders: Orders,
        daemons: Daemons,
        settings: Scaling,
        *,
        policy: _core.Policy,
        may_write: Callable[[], bool],
        on_change: Callable[[Iterable[str]], None],
        on_ordered: Callable[[str, str], None],
    ) -> None:
        self.latest: Plan | None = None
        self._ledger = ledger
        self._fleet = fleet
        self._orders = orders
        self._daemons = daemons
        self._settings = settings
        self._policy = policy
        self._may_write = may_write
        self._on_change = on_change
        self._on_ordered = on_ordered
        self._hopeful: frozenset[str] = frozenset()  # who waits and might be helped by a node
        self._verdicts: dict[str, Verdict] = {}
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "scale")

    def waiting(self, outcome: Sequence[tuple[str, _core.Reason]]) -> None:
        """A cycle left these over."""
        codes: dict[int, bool] = {}  # equal Pods share one Reason
        hopeful = []
        for uid, reason in outcome:
            may_help = codes.get(id(reason))
            if may_help is None:
                may_help = codes[id(reason)] = node_may_help(reason.code)
            if may_help and ((waiting := self._ledger.waiting.get(uid)) is None or waiting.gets_nodes):
                hopeful.append(uid)
        before, self._hopeful = self._hopeful, frozenset(hopeful)
        if not self._hopeful <= before:
            self._news.set()

    def word(self, uid: str, code: str, message: str) -> Word:
        """What the Pod is to be told."""
        if not node_may_help(code):
            return Word(code, message)
        verdict = self._verdicts.get(uid)
        if verdict is None:  # the first look is under way
            return Word(code, message)
        return Word(verdict.code or code, f"{message} {verdict.words}.", verdict.code == NODE_WANTED)

    async def run(self) -> None:
        """Order until cancelled."""
        try:
            while True:
                await self._settled()
                if self._may_write():
                    await self.turn()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _settled(self) -> None:
        """Return when there is something to look at: new Pods, and then no more of them for a while; or time has gone
        by."""
        loop, settings = asyncio.get_running_loop(), self._settings
        is_busy = bool(self._hopeful or self._orders.coming())
        patience = settings.survey_seconds if is_busy else _AGAIN_S
        if not await self._heard(patience):
            return
        latest = loop.time() + settings.longest_settle_seconds
        while await self._heard(min(settings.settle_seconds, latest - loop.time())):
            pass

    async def _heard(self, seconds: float) -> bool:
        if seconds <= 0:
            self._news.clear()
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    async def turn(self) -> None:
        """Look at what is on its way and at who waits, and order."""
        async with self._fleet.turn:
            await self._look()

    async def _look(self) -> None:
        await self._fleet.survey()
        self._orders.follow()
        self._orders.forget(self._ledger.waiting)
        hopeful = self._hopeful
        found = None
        if hopeful:
            found = await plan(self._ledger, self._fleet, self._orders, self._daemons, self._policy, self._thread)
            self.latest = found
            if await self._order(found, hopeful):
                await self._fleet.survey()
                self._orders.follow()
        else:
            self._judge({})
        needed = {bind.node for bind in found.outcome.binds} if found else set()
        self._orders.movers &= self._ledger.pods.known.keys()
        coming, movers = self._orders.coming(), self._orders.movers
        needed |= {name for name, expected in coming.items() if not movers.isdisjoint(expected.pods)}
        used = {pod.node for pod in self._ledger.pods.known.values() if pod.node and pod.stays != WITH_ITS_NODE}
        await self._orders.give_up(needed.__contains__, used.__contains__, self._settings.longest_settle_seconds)

    async def _order(self, found: Plan, hopeful: frozenset[str]) -> bool:
        """Whether anything was ordered."""
        verdicts = {uid: Verdict("", f"No new node would help: {why}") for uid, why in found.left}
        verdicts |= {
            bind.uid: Verdict(NODE_ORDERED, _on_its_way(found.coming[bind.node]))
            for bind in found.outcome.binds
            if bind.node in found.coming
        }
        by_group: dict[str, list[_core.NewNode]] = {}
        for node in found.outcome.nodes:
            by_group.setdefault(node.group, []).append(node)
        ordered = False
        for id_, nodes in by_group.items():
            group, uids = self._fleet.groups[id_], [uid for node in nodes for uid in node.pods]
            if group.by != NOS:
                verdict = Verdict(NODE_WANTED, f"{_count(nodes)} of {id_} would let it run: {group.by} is told")
            elif self._settings.mode != "order":
                verdict = Verdict("", f"{_count(nodes)} of {id_} would let it run; nos may not order any (mode report)")
            else:
                took = await self._orders.place(id_, map(wanted, nodes))
                ordered |= took
                words = _on_its_way(id_) if took else f"Group {id_} takes no order: {self._orders.pause(id_)}"
                verdict = Verdict(NODE_ORDERED if took else "", words)
                for uid in uids if took else ():
                    self._on_ordered(uid, id_)
            verdicts |= dict.fromkeys(uids, verdict)
        self._judge({uid: verdict for uid, verdict in self._with_gangs(verdicts).items() if uid in hopeful})
        return ordered

    def _with_gangs(self, verdicts: dict[str, Verdict]) -> dict[str, Verdict]:
        """Who belongs to a gang that is helped is told the same as the others of it."""
        gangs = {uid: waiting.gang for uid in self._hopeful if (waiting := self._ledger.waiting.get(uid))}
        of_gangs = {gang: v for uid, v in verdicts.items() if v.code and (gang := gangs.get(uid))}
        for uid in self._hopeful if of_gangs else ():
            own, verdict = verdicts.get(uid), of_gangs.get(gangs.get(uid, ""))
            if verdict and (own is None or not own.code):  # that of one who is to run on a node that is up, too
                verdicts[uid] = verdict
        return verdicts

    def _judge(self, verdicts: dict[str, Verdict]) -> None:
        before, self._verdicts = self._verdicts, verdicts
        changed = {uid for uid, verdict in verdicts.items() if before.get(uid) != verdict}
        self._on_change(changed | (before.keys() - verdicts.keys()))

    def arrived(self, node: str) -> None:
        """What a node offers has changed: those for whom it was ordered go there before others do."""
        for uid in self._orders.pods_of.get(node, ()):
            waiting = self._ledger.waiting.get(uid)
            if waiting and waiting.state is State.PENDING:
                waiting.wish = node
                self._ledger.admit(waiting)


def wanted(node: _core.NewNode) -> Order:
    """A new node of the core's, as an order."""
    return Order(uuid.uuid4().hex, tuple(node.pods), tuple((mig, list(instances)) for mig, instances in node.cuts))


def _on_its_way(group: str) -> str:
    return f"A node of {group} is on its way"


def _count(nodes: Sequence[object]) -> str:
    return "A node" if len(nodes) == 1 else f"{len(nodes)} nodes"
