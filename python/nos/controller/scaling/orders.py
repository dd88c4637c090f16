"""What was ordered and is on its way: what has come of it, what will not, and whom not to ask again so soon.

The cluster is the record: instances that are coming. Kept here beside it is what a survey cannot tell: orders that the
backend has taken and does not show yet, for whom each was, and how often a group has failed. After a restart an order
is found among the instances; one that was for certain Pods says so itself, where its backend can write that down.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from nos.autoscaler.backend import BackendError, Group, Instance, Order, OrderRefusedError, State
from nos.controller.scaling.fleet import Fleet
from nos.observe.view import Moment

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60.0, 1800.0  # before a group that failed is asked again
_UNANSWERED_S = 10.0  # before one that did not take an order is
_NODES_FOR_ONE = 2  # nodes that are made for one Pod before the group is suspected
_UNSEEN_S = 60.0  # that an order which was taken has to show itself

_log = logging.getLogger(__name__)


class Expected(NamedTuple):
    """A node that is on its way."""

    group_id: str
    group: Group
    node: str  # its Node, where there is one already
    pods: tuple[str, ...]  # uids of those it was ordered for


@dataclass(slots=True)
class _Taken:
    """Orders that a backend has taken in one call, and that its surveys do not show yet."""

    group: str
    until: float
    orders: list[Order]


@dataclass(slots=True)
class _Coming:
    group: str
    since: float  # the loop's time
    unneeded: float | None = None  # since when nobody is to run there


@dataclass(slots=True)
class _Pause:
    failures: int = 0
    until: float = 0.0
    words: str = ""


@dataclass(slots=True)
class Orders:
    """Surveys are followed, orders placed.

    on_failed: told of orders from which nothing came: the group, the uids of those they were for, and why.
    """

    fleet: Fleet
    on_failed: Callable[[str, Sequence[str], str], None]
    pods_of: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by Node: the uids of those it was ordered for
    movers: set[str] = field(default_factory=set)  # uids of Pods that are to move to a node which was ordered for them
    placed: Counter[tuple[str, str]] = field(default_factory=Counter)  # nodes by group: taken, refused or unanswered
    failures: Counter[str] = field(default_factory=Counter)  # by group
    on_up: Callable[[float], None] = lambda _: None  # told how long a node took to be up: seconds
    happened: Callable[[Moment], None] = lambda _: None
    _taken: list[_Taken] = field(default_factory=list)
    _seen: dict[str, tuple[str, ...]] = field(default_factory=dict)  # instances, and for whom each is
    _coming: dict[str, _Coming] = field(default_factory=dict)  # those of them that are
    _arrivals: dict[str, int] = field(default_factory=dict)  # by uid: nodes that were made for the Pod
    _were_up: set[str] = field(default_factory=set)  # instances that have been
    _given_up: set[str] = field(default_factory=set)  # likewise, that we have cancelled
    _pauses: dict[str, _Pause] = field(default_factory=dict)  # by group

    def coming(self) -> dict[str, Expected]:
        """By the name that each has until it is up."""
        found: dict[str, Expected] = {}
        for id_ in self._coming.keys() - self._given_up:
            instance = self.fleet.instances[id_]
            group = self.fleet.groups[instance.group]
            found[instance.node or id_] = Expected(instance.group, group, instance.node, self._seen[id_])
        for taken in self._taken:
            for order in taken.orders:
                group = self.fleet.groups[taken.group]
                found[f"{taken.group}#{order.request}"] = Expected(taken.group, group, "", order.pods)
        return dict(sorted(found.items()))

    def room(self, id_: str) -> int:
        """How many nodes may be ordered from a group now."""
        if id_ in self.fleet.problems or self.pause(id_):
            return 0
        group = self.fleet.groups[id_]
        unseen = sum(len(taken.orders) for taken in self._taken if taken.group == id_)
        return max(0, group.max - group.target - unseen)

    def pause(self, id_: str) -> str:
        """Why a group is not asked now; empty where it may be."""
        pause = self._pauses.get(id_)
        return pause.words if pause and pause.until > asyncio.get_running_loop().time() else ""

    def follow(self) -> None:
        """Compare a new survey with the one before."""
        now, wall, instances = asyncio.get_running_loop().time(), time.time(), self.fleet.instances
        before, self._coming = self._coming, {}
        for id_ in [id_ for id_ in instances if id_ not in self._seen]:
            self._meet(id_, before)
        for id_, instance in instances.items():
            if instance.state is State.UP:
                self._were_up.add(id_)
            if instance.state is State.COMING and id_ not in self._were_up:  # else it only is not ready now
                # One that is a node may have been up before we looked.
                age = max(0.0, wall - instance.since) if instance.since and not instance.node else 0.0
                self._coming[id_] = before.get(id_) or _Coming(instance.group, now - age)
            elif instance.state is State.UP and id_ in before:
                _log.info("%s is up after %.0f s: node %s", id_, now - before[id_].since, instance.node)
                self.on_up(now - before[id_].since)
                self._tell("NodeUp", instance.node or id_, f"The node is up after {now - before[id_].since:.0f} s")
                self._arrived(instance.group, self._seen[id_])
        for id_ in before.keys() - self._coming.keys() - self._given_up:
            gone = instances.get(id_)
            if gone is None or gone.state is not State.UP:
                why = gone.message if gone else ""
                self._fail(before[id_].group, self._seen[id_], why or f"{id_} is gone before it was up")
        self._seen = {id_: pods for id_, pods in self._seen.items() if id_ in instances}
        self.pods_of = {node: pods for id_, pods in self._seen.items() if pods and (node := instances[id_].node)}
        self._given_up &= instances.keys()
        self._were_up &= instances.keys()
        for taken in self._taken:
            if taken.orders and taken.until <= now:
                uids = [uid for order in taken.orders for uid in order.pods]
                self._fail(taken.group, uids, f"{_nodes(taken.orders)} that it was to make did not appear")
                taken.orders.clear()
        self._taken = [taken for taken in self._taken if taken.orders and taken.group in self.fleet.groups]

    async def give_up(self, needed: Callable[[str], bool], used: Callable[[str], bool], patience: float) -> None:
        """Cancel what failed, what is overdue, and what nobody is to run on any more: for so many seconds, and while
        it is no Node yet. needed: whether one that is coming is, by its name. used: whether Pods are on a Node, which
        then stays, whatever its backend says of it."""
        now = asyncio.get_running_loop().time()
        for id_, instance in list(self.fleet.instances.items()):
            coming = self._coming.get(id_)
            if id_ in self._given_up:
                continue
            if instance.state is State.FAILED and not used(instance.node):
                await self._cancel(id_, instance)
            elif coming is None:
                continue
            elif now - coming.since > self.fleet.groups[instance.group].boot_seconds:
                self._fail(instance.group, self._seen[id_], f"{id_} was not up within {now - coming.since:.0f} s")
                if used(instance.node):
                    self._given_up.add(id_)
                else:
                    await self._cancel(id_, instance)
            elif instance.node or needed(id_):
                coming.unneeded = None
            elif coming.unneeded is None:
                coming.unneeded = now
            elif now - coming.unneeded >= patience:
                _log.info("%s is cancelled: nobody is to run there any more", id_)
                self._tell("NodeCancelled", id_, "Nobody is to run there any more")
                await self._cancel(id_, instance)

    async def place(self, id_: str, nodes: Iterable[Order]) -> bool:
        """Order nodes of a group; whether they are on their way now."""
        group, backend, orders = self.fleet.groups[id_], self.fleet.backend(id_), list(nodes)
        now = asyncio.get_running_loop().time()
        if stranded := [uid for order in orders for uid in order.pods if self._arrivals.get(uid, 0) >= _NODES_FOR_ONE]:
            why = (
                f"{_NODES_FOR_ONE} nodes were made for a Pod that still waits: the template promises more than they are"
            )
            self._fail(id_, stranded, why)
            return False
        try:
            await backend.increase(group, orders)
        except OrderRefusedError as error:
            self.placed[id_, "refused"] += len(orders)
            self._fail(id_, [uid for order in orders for uid in order.pods], str(error))
            return False
        except BackendError as error:
            _log.warning("%d nodes of %s were not ordered: %s", len(orders), id_, error)
            self.placed[id_, "unanswered"] += len(orders)
            self._rest(id_, f"the order was not taken: {error}", _UNANSWERED_S)
            return False
        _log.info("%d nodes of %s are ordered for %d Pods", len(orders), id_, sum(len(o.pods) for o in orders))
        pods = sum(len(order.pods) for order in orders)
        self._tell("NodesOrdered", id_, f"Ordered {_nodes(orders)} for {pods} {'Pod' if pods == 1 else 'Pods'}")
        self.placed[id_, "taken"] += len(orders)
        self._taken.append(_Taken(id_, now + _UNSEEN_S, orders))
        return True

    def _arrived(self, group: str, uids: Sequence[str]) -> None:
        self._arrivals |= {uid: self._arrivals.get(uid, 0) + 1 for uid in uids}
        if all(self._arrivals[uid] < _NODES_FOR_ONE for uid in uids):
            self._pauses.pop(group, None)

    def forget(self, waiting: Container[str]) -> None:
        """Only these uids wait still."""
        self._arrivals = {uid: arrivals for uid, arrivals in self._arrivals.items() if uid in waiting}

    def _meet(self, id_: str, before: dict[str, _Coming]) -> None:
        """Find out for whom a new instance is, and since when it is expected.

        What was taken and names the same Pods has come to be seen, else one of the same group, for one is as good as
        another. And who only counts has another id for what is a node now: then one that was coming is gone."""
        instance, now = self.fleet.instances[id_], asyncio.get_running_loop().time()
        self._seen[id_] = instance.pods
        for taken in self._taken:
            if taken.group == instance.group and taken.orders:
                same = next((order for order in taken.orders if order.pods == instance.pods), taken.orders[0])
                taken.orders.remove(same)
                self._seen[id_] = instance.pods or same.pods
                before[id_] = _Coming(instance.group, now)
                return
        for former in [one for one, coming in before.items() if coming.group == instance.group]:
            if former not in self.fleet.instances and former not in self._given_up:
                self._seen[id_] = instance.pods or self._seen[former]
                before[id_] = before.pop(former)
                return

    def _fail(self, group: str, uids: Sequence[str], why: str) -> None:
        self.failures[group] += 1
        seconds = self._rest(group, why)
        _log.warning("%s: %s; it is not asked for %.0f s", group, why, seconds)
        self._tell("NodesNotMade", group, f"{why}; it is not asked for {seconds:.0f} s", is_warning=True)
        self.on_failed(group, uids, why)

    def _tell(self, kind: str, of: str, text: str, *, is_warning: bool = False) -> None:
        self.happened(Moment(time.time(), kind, of, text, is_warning))

    def _rest(self, group: str, why: str, seconds: float | None = None) -> float:
        pause = self._pauses.setdefault(group, _Pause())
        if seconds is None:
            pause.failures += 1
            seconds = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(pause.failures - 1, 20))
        seconds *= random.uniform(1.0, 1.2)
        pause.until = asyncio.get_running_loop().time() + seconds
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        pause.words = f"{why}; it is asked again at {until:%H:%M:%S} UTC"  # the same as long as it rests
        return seconds

    async def _cancel(self, id_: str, instance: Instance) -> None:
        try:
            await self.fleet.backend(id_).cancel(self.fleet.groups[instance.group], [instance])
        except OrderRefusedError as error:  # it may come yet, and will be one more
            _log.warning("%s is not waited for any more, though it cannot be cancelled: %s", id_, error)
            self._given_up.add(id_)
        except BackendError as error:
            _log.warning("%s was not cancelled: %s", id_, error)
        else:
            self._given_up.add(id_)


def _nodes(orders: Sequence[Order]) -> str:
    return "1 node" if len(orders) == 1 else f"{len(orders)} nodes"
