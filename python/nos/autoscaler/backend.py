"""The interface of a backend: groups of equal nodes, the instances that there are of them, and more or fewer of these.

What was ordered is state of the cluster, never of this process: whoever surveys it after a crash finds the same. Every
call may safely be made twice.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from msgspec import Struct

from nos.kube.gpunode import LAYOUT_ANNOTATION, STARTUP_TAINT, Target
from nos.kube.node import Node

__all__ = [
    "ACTUATOR_ANNOTATION",
    "LAYOUT_ANNOTATION",
    "NOS",
    "PODS_ANNOTATION",
    "STARTUP_TAINT",
    "Backend",
    "BackendError",
    "Group",
    "Instance",
    "Order",
    "OrderRefusedError",
    "State",
    "Survey",
]

PODS_ANNOTATION = "nos.nebuly.com/ordered-for"  # on an order: uids, separated by commas
ACTUATOR_ANNOTATION = "nos.nebuly.com/actuator"  # on a group's object: who makes its nodes; no other may
NOS = "nos"


class BackendError(Exception):
    """The backend refused or did not answer; for people, with the remedy where there is one."""


class OrderRefusedError(BackendError):
    """The backend makes no such node now: out of capacity, over a quota, or the like."""


class Group(Struct, frozen=True):
    """Nodes that can be had, all alike."""

    id: str  # unique in its backend
    template: Node  # as its nodes are once they are ready; no name
    price: int  # micro-dollars per hour and node
    target: int  # so many are wanted now
    min: int = 0
    max: int = 1_000_000
    uses: Mapping[str, int] = {}  # per node, of limits that it shares with other groups; see Survey.limits
    object: str = ""  # "kind namespace/name" of what is scaled: no two backends may have the same
    by: str = NOS  # who makes its nodes: nos, or an autoscaler that nos only tells what would help
    names_victims: bool = True  # nos can say which nodes go; else it takes none away
    drains: bool = False  # `delete` empties the nodes first, minding budgets; else nos does that before
    boot_seconds: float = 900.0  # an instance that is not up after so long has failed
    problem: str = ""  # why nothing is ordered from it; for people


class State(Enum):
    """How far an instance has come."""

    COMING = "coming"  # ordered; there may be a Node already, but it is not ready to be used
    UP = "up"
    GOING = "going"  # it is being deleted
    FAILED = "failed"  # it will never be a node


class Instance(Struct, frozen=True):
    """A node of a group, or one that is to become one."""

    id: str  # in its backend, stable: the name of a NodeClaim or Machine, say
    group: str
    state: State
    node: str = ""  # its Node's name, once there is one
    since: float = 0.0  # unix time of its order; 0: unknown
    pods: tuple[str, ...] = ()  # uids of those it was ordered for, as far as anybody knows
    message: str = ""  # why it failed
    layout: str = ""  # how its GPUs were ordered to be cut, as LAYOUT_ANNOTATION has it, as far as the backend knows


class Survey(Struct, frozen=True):
    """What a backend has now."""

    groups: tuple[Group, ...]
    instances: tuple[Instance, ...]
    limits: Mapping[str, int] = {}  # what is left of each, after what the targets use


class Order(Struct, frozen=True):
    """A node that is wanted."""

    request: str  # a new one for each order: one made twice under the same is made once
    pods: tuple[str, ...] = ()  # uids of those who are to run there
    layout: tuple[Target, ...] = ()  # how its GPUs are to be cut, by slot; empty: nothing to cut

    def resources(self) -> dict[str, int]:
        """The MIG resources that the layout offers, by name."""
        found: dict[str, int] = {}
        for _, instances in self.layout:
            for profile, _ in instances:
                name = "nvidia.com/mig-" + profile.replace("+", ".")
                found[name] = found.get(name, 0) + 1
        return found


class Backend(Protocol):
    """Made once, inside a running event loop, with a `nos.kube.client.Client` where it speaks to the API server.

    All raise BackendError for what is wrong outside, and nothing else.
    """

    name: str

    async def survey(self) -> Survey:
        """Read everything anew."""

    async def increase(self, group: Group, orders: Sequence[Order]) -> None:
        """Have more nodes made; returns once that is recorded. group: as surveyed when it was decided, so that a
        backend that counts sets group.target + len(orders), and refuses when the target is not group.target any
        more."""

    async def cancel(self, group: Group, instances: Sequence[Instance]) -> None:
        """Give up those that are still coming."""

    async def delete(self, group: Group, instances: Sequence[Instance]) -> None:
        """Take these nodes away, and lower the target by as many."""
