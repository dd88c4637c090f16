"""The node groups of all backends, their instances, and what is wrong with them.

A backend that does not answer keeps what it last said: its instances may be coming still, and count; its groups are
left alone. What contradicts itself is left alone as well, and said.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from nos.autoscaler.backend import Backend, BackendError, Group, Instance, State, Survey

_log = logging.getLogger(__name__)
_NOTHING = Survey((), ())
_HIGHEST_PRICE = 10**12  # as the core has it


class Fleet:
    """Groups, instances and limits by their full ids, which begin with the backend's name and a slash.

    Who surveys holds the `turn` until he is done with what he saw.
    """

    def __init__(self, backends: Sequence[Backend], *, patience: float = 20.0) -> None:
        self.turn = asyncio.Lock()
        self.groups: dict[str, Group] = {}
        self.instances: dict[str, Instance] = {}
        self.limits: dict[str, int] = {}
        self.problems: dict[str, str] = {}  # of groups and backends: nothing is ordered there, and why
        self._backends = {backend.name: backend for backend in backends}
        self._patience = patience
        self._said: dict[str, Survey] = {}
        self._logged: dict[str, str] = {}

    def backend(self, id_: str) -> Backend:
        """Whose group or instance that is."""
        return self._backends[id_.partition("/")[0]]

    async def survey(self) -> None:
        """Ask all backends, at the same time."""
        names = list(self._backends)
        answers = await asyncio.gather(*(self._ask(self._backends[name]) for name in names))
        problems = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, str)}
        self._said |= {name: said for name, said in zip(names, answers, strict=True) if not isinstance(said, str)}
        self._merge(problems)
        for id_, problem in self.problems.items():
            if self._logged.get(id_) != problem:
                _log.warning("nothing is ordered from %s: %s", id_, problem)
        self._logged = dict(self.problems)

    def of(self, group: str, *states: State) -> list[str]:
        """The ids of its instances in these states."""
        return [id_ for id_, instance in self.instances.items() if instance.group == group and instance.state in states]

    async def _ask(self, backend: Backend) -> Survey | str:
        try:
            async with asyncio.timeout(self._patience):
                return await backend.survey()
        except BackendError as error:
            return str(error)
        except TimeoutError:
            return f"it has not answered for {self._patience:g} s"

    def _merge(self, problems: Mapping[str, str]) -> None:
        self.groups, self.instances, self.limits, self.problems = {}, {}, {}, dict(problems)
        owners: dict[str, str] = {}
        for name in self._backends:
            said = self._said.get(name, _NOTHING)
            self.limits |= {f"{name}/{limit}": max(0, left) for limit, left in said.limits.items()}
            for group in said.groups:
                id_ = f"{name}/{group.id}"
                problem = problems.get(name) or group.problem or _contradiction(group, said.limits)
                if id_ in self.groups:
                    problem = "the backend has two groups of that id; give them different ones"
                elif group.object and owners.setdefault(group.object, id_).partition("/")[0] != name:
                    problem = f"{group.object} is scaled by {owners[group.object]} already; configure it once"
                self.groups[id_] = group
                if problem:
                    self.problems[id_] = problem
            self._take(name, said.instances)

    def _take(self, name: str, instances: Iterable[Instance]) -> None:
        for instance in instances:
            if f"{name}/{instance.group}" in self.groups:
                group = f"{name}/{instance.group}"
                self.instances[f"{name}/{instance.id}"] = replace(instance, group=group)
            else:
                self.problems[name] = f"instance {instance.id} is of group {instance.group}, which it does not have"


def _contradiction(group: Group, limits: Mapping[str, int]) -> str:
    if group.min > group.max:
        return f"min {group.min} is above max {group.max}; correct one of them"
    if not 0 <= group.price <= _HIGHEST_PRICE:
        return f"its price is {group.price} micro-dollars per hour; it has to be from 0 to {_HIGHEST_PRICE}"
    if group.target < 0:
        return f"its target size is {group.target}; the backend is wrong about it"
    for limit, amount in group.uses.items():
        if limit not in limits or amount < 0:
            return f"it uses {amount} of the limit {limit}, which the backend does not name; the backend is wrong"
    return ""
