"""A backend's groups, kept at hand for Cluster Autoscaler, which scales them through nos.

What is asked is answered from the last survey; what is changed goes to the backend, and shows at once. No answer takes
longer than the autoscaler waits, whatever the backend does.
"""

import asyncio
import logging
import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import NamedTuple

from nos.autoscaler.backend import Backend, BackendError, Instance, Order, OrderRefusedError, State, Survey
from nos.autoscaler.cluster_autoscaler.node_groups import NodeGroup, after_increase, after_removal, node_groups, room

_SURVEY_S = 10.0  # between looks
_PATIENCE_S = 30.0  # with one of them
_OLD_S = 120.0  # a survey that is older is not answered from
_ANSWER_S = 4.0  # that a change may take; the autoscaler waits 5
_MOST_REMEMBERED = 10_000

_log = logging.getLogger(__name__)


class Why(Enum):
    """Why something was not done."""

    UNKNOWN = "there is no such thing"
    WRONG = "it can never be done"
    FORBIDDEN = "it cannot be done as things are"
    REFUSED = "no such node can be had now"
    SILENT = "the backend is out of reach"
    LATE = "the backend takes too long"


class FrontError(Exception):
    """Something was not done; for people, with the remedy where there is one."""

    def __init__(self, why: Why, words: str) -> None:
        super().__init__(words)
        self.why = why


class _Attempt(NamedTuple):
    """An increase of which nobody knows whether it was recorded: tried again it has the same orders."""

    target: int
    orders: list[Order]


class Front:
    """`run` keeps it fresh; the rest answers, and raises FrontError.

    layouts, and what provider_ids reads: see `node_groups`. provider_ids raises BackendError.
    """

    def __init__(
        self,
        backend: Backend,
        layouts: Mapping[str, Mapping[str, str]],
        provider_ids: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._backend = backend
        self._layouts = layouts
        self._read_provider_ids = provider_ids
        self._provider_ids: Mapping[str, str] = {}
        self._survey: Survey | None = None
        self._surveyed = 0.0  # the loop's time
        self._problem = "it has not been surveyed yet"
        self._groups: Mapping[str, NodeGroup] = {}
        self._changes = 0  # begun and ended: a survey during one may be of before or after it
        self._changing = asyncio.Lock()
        self._attempts: dict[str, _Attempt] = {}
        self._removed: deque[str] = deque(maxlen=_MOST_REMEMBERED)  # by provider id
        self._asked = asyncio.Event()

    async def run(self) -> None:
        """Survey until cancelled."""
        while True:
            self._asked.clear()
            await self.look()
            try:
                async with asyncio.timeout(_SURVEY_S * random.uniform(1.0, 1.1)):
                    await self._asked.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Survey now. What was learnt while something was changed is not used."""
        loop, changes = asyncio.get_running_loop(), self._changes
        began = loop.time()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                survey = await self._backend.survey()
                if any(i.node and i.node not in self._provider_ids for i in survey.instances):
                    self._provider_ids = await self._read_provider_ids()
        except BackendError as error:
            self._failed(str(error))
        except TimeoutError:
            self._failed(f"it has not answered for {_PATIENCE_S:g} s")
        else:
            self._problem = ""
            if changes == self._changes and not self._changing.locked():
                self._surveyed = began
                self._know(survey)

    def refresh(self) -> None:
        """Survey soon."""
        self._asked.set()

    def groups(self) -> Mapping[str, NodeGroup]:
        """All, by id."""
        if self._survey is None or asyncio.get_running_loop().time() - self._surveyed > _OLD_S:
            raise FrontError(Why.SILENT, f"{self._backend.name}: {self._problem or 'the last survey is too old'}")
        return self._groups

    def group(self, id_: str) -> NodeGroup:
        """One of them."""
        groups = self.groups()
        if id_ not in groups:
            raise FrontError(Why.UNKNOWN, f"there is no node group {id_}; there are {', '.join(groups) or 'none'}")
        return groups[id_]

    def of_node(self, provider_id: str, name: str) -> NodeGroup | None:
        """Whose node that is; nothing where it is not for the autoscaler to touch."""
        groups = self.groups()
        if self._provider_ids.get(name, provider_id) != provider_id:  # another node of that name
            self._provider_ids = {node: id_ for node, id_ in self._provider_ids.items() if node != name}
            self.refresh()
            return None
        return next((group for group in groups.values() if provider_id in group.members), None)

    async def increase(self, id_: str, delta: int) -> None:
        """Have so many more nodes made."""
        if delta <= 0:
            raise FrontError(Why.WRONG, f"{id_}: an increase by {delta} is none; name a number above 0")
        async with self._change(id_) as group:
            survey = self._survey
            assert survey
            if group.problem:
                raise FrontError(Why.FORBIDDEN, f"{id_}: {group.problem}")
            if delta > (left := room(group.group, survey)):
                raise FrontError(Why.FORBIDDEN, f"{id_} may have {left} more nodes, not {delta}")
            orders = self._orders(group, delta)
            await self._backend.increase(group.group, orders)
            del self._attempts[id_]
            self._know(after_increase(survey, group.group, orders))
            _log.info("%s: Cluster Autoscaler has ordered %d nodes", id_, delta)

    def _orders(self, group: NodeGroup, count: int) -> list[Order]:
        before = self._attempts.get(group.id)
        orders = before.orders[:count] if before and before.target == group.group.target else []
        orders += [Order(uuid.uuid4().hex, layout=group.layout) for _ in range(count - len(orders))]
        self._attempts[group.id] = _Attempt(group.group.target, orders)
        return orders

    async def decrease(self, id_: str, delta: int) -> None:
        """Give up so many orders of which there is no node yet. delta: below 0, as the autoscaler has it."""
        if delta >= 0:
            raise FrontError(Why.WRONG, f"{id_}: a decrease by {delta} is none; name a number below 0")
        async with self._change(id_) as group:
            coming = [one for one in group.members.values() if one.state is State.COMING and not one.node]
            if len(coming) < -delta:
                words = f"{id_}: {len(coming)} of its nodes are still to come; no more than those can be given up"
                raise FrontError(Why.FORBIDDEN, words)
            latest = sorted(coming, key=lambda one: (-one.since, one.id))[:-delta]
            await self._remove(group, latest, self._backend.cancel)

    async def delete(self, id_: str, nodes: Sequence[tuple[str, str]]) -> None:
        """Take nodes away: provider id and name of each. What is gone already is a success."""
        async with self._change(id_) as group:
            gone = [self._member(group, *node) for node in dict.fromkeys(nodes)]
            members = [one for one in gone if one and one.state is not State.GOING]
            standing = sum(one.state is not State.FAILED for one in members)
            if group.group.target - standing < group.group.min and standing:
                words = f"{id_} has {group.group.target} nodes and keeps {group.group.min}: not {standing} can go"
                raise FrontError(Why.FORBIDDEN, words)
            up = [one for one in members if one.node and one.state is not State.FAILED]
            if up and not group.group.names_victims:
                raise FrontError(Why.FORBIDDEN, f"{id_} cannot be told which of its nodes is to go")
            rest = [one for one in members if one not in up]
            if rest:
                await self._remove(group, rest, self._backend.cancel)
            if up:
                await self._remove(group, up, self._backend.delete)
            self._removed.extend(provider_id for provider_id, _ in nodes)

    def _member(self, group: NodeGroup, provider_id: str, name: str) -> Instance | None:
        """The instance, or nothing when it was taken away before."""
        member = group.members.get(provider_id)
        if member is None and provider_id not in self._removed:
            raise FrontError(Why.UNKNOWN, f"{name or provider_id} ({provider_id}) is no node of {group.id}")
        return member

    async def _remove(
        self, group: NodeGroup, instances: Sequence[Instance], how: Callable[..., Awaitable[None]]
    ) -> None:
        await how(group.group, instances)
        assert self._survey
        self._know(after_removal(self._survey, group.group, instances))
        _log.info("%s: Cluster Autoscaler has given up %s", group.id, ", ".join(one.id for one in instances))

    @asynccontextmanager
    async def _change(self, id_: str) -> AsyncIterator[NodeGroup]:
        """Change a group: one at a time, in time, and with errors in words."""
        try:
            async with asyncio.timeout(_ANSWER_S), self._changing:
                self._changes += 1
                try:
                    yield self.group(id_)
                finally:
                    self._changes += 1
                    self.refresh()
        except OrderRefusedError as error:
            raise FrontError(Why.REFUSED, f"{id_}: {error}") from None
        except BackendError as error:
            raise FrontError(Why.SILENT, f"{id_}: {error}") from None
        except TimeoutError:
            words = f"{id_}: {self._backend.name} has not answered within {_ANSWER_S:g} s; it may do it nevertheless"
            raise FrontError(Why.LATE, words) from None

    def _know(self, survey: Survey) -> None:
        self._survey, before = survey, self._groups
        self._groups = node_groups(self._backend.name, survey, self._layouts, self._provider_ids)
        targets = {id_: group.group.target for id_, group in self._groups.items()}
        self._attempts = {id_: one for id_, one in self._attempts.items() if targets.get(id_) == one.target}
        for id_, group in self._groups.items():
            if group.problem and (id_ not in before or before[id_].problem != group.problem):
                _log.warning("node group %s does not grow: %s", id_, group.problem)

    def _failed(self, why: str) -> None:
        if why != self._problem:
            _log.warning("Cluster Autoscaler's groups of %s: %s", self._backend.name, why)
        self._problem = why
