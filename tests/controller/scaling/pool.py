"""A backend in memory that does as it is told, and lies, forgets and fails where a test wants it to."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from nos.autoscaler.backend import BackendError, Group, Instance, Order, OrderRefusedError, State, Survey
from nos.kube.node import Metadata, Node, Status


def template(**allocatable: str) -> Node:
    """Of a node with GPUs."""
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"} | allocatable
    return Node(Metadata(labels={"pool": "gpu"}), status=Status(allocatable=amounts))


class Pool:
    """Groups and the instances made of them."""

    def __init__(self, name: str = "pool") -> None:
        self.name = name
        self.groups: dict[str, Group] = {}
        self.there: dict[str, Instance] = {}
        self.limits: dict[str, int] = {}
        self.calls: list[str] = []
        self.fails = ""  # every call says so
        self.refuses = ""  # every order
        self.hides = 0  # so many new instances are made only when they are `shown`
        self.hidden: list[Instance] = []
        self.remembers_pods = True

    def group(self, id_: str = "a", **fields: object) -> Group:
        """Add a group, or change it."""
        defaults: dict[str, object] = {"template": template(), "price": 1_000_000, "target": 0, "max": 10}
        self.groups[id_] = Group(id_, **(defaults | fields))  # type: ignore[arg-type]
        return self.groups[id_]

    def set(self, id_: str, **fields: object) -> None:
        """Change an instance."""
        self.there[id_] = replace(self.there[id_], **fields)  # type: ignore[arg-type]

    def show(self) -> None:
        """What was hidden is there now."""
        for instance in self.hidden:
            self.there[instance.id] = instance
        self.hidden.clear()

    async def survey(self) -> Survey:
        """See Backend."""
        self._say("survey")
        return Survey(tuple(self.groups.values()), tuple(self.there.values()), dict(self.limits))

    async def increase(self, group: Group, orders: Sequence[Order]) -> None:
        """See Backend."""
        self._say(f"increase {group.id} {len(orders)}")
        if self.refuses:
            raise OrderRefusedError(self.refuses)
        for order in orders:
            pods = order.pods if self.remembers_pods else ()
            instance = Instance(f"{group.id}-{len(self.there) + len(self.hidden)}", group.id, State.COMING, pods=pods)
            if self.hides:
                self.hides -= 1
                self.hidden.append(instance)
            else:
                self.there[instance.id] = instance
        self._retarget(group.id, len(orders))

    async def cancel(self, group: Group, instances: Sequence[Instance]) -> None:
        """See Backend."""
        self._say(f"cancel {' '.join(instance.id for instance in instances)}")
        for instance in instances:
            del self.there[instance.id]
        self._retarget(group.id, -len(instances))

    async def delete(self, group: Group, instances: Sequence[Instance]) -> None:
        """See Backend."""
        self._say(f"delete {' '.join(instance.id for instance in instances)}")
        for instance in instances:
            self.set(instance.id, state=State.GOING)
        self._retarget(group.id, -len(instances))

    def _retarget(self, id_: str, more: int) -> None:
        self.groups[id_] = replace(self.groups[id_], target=self.groups[id_].target + more)

    def _say(self, call: str) -> None:
        self.calls.append(call)
        if self.fails:
            raise BackendError(self.fails)
