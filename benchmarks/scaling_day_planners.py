"""What decides which nodes there are: nos, and the rules of Cluster Autoscaler. Machines and prices are the same.

The latter are a re-implementation, not the program: one node group per loop, of those that help the one with the least
waste of CPU and memory; nodes go, one at a time, that are used less than half and whose Pods fit elsewhere. As it knows
no MIG geometry, each of its groups has a fixed layout, as NVIDIA's MIG manager cuts them: all of one profile, or
balanced. In its favour it packs each group's nodes as well as nos does, and takes no full MIG node for an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.scaling_day_arrivals import GPU, MIG

from nos._core import Cluster, GpuSpec, NodeGroup, NodeSpec, Removable, scale_down, scale_up
from nos.mig import core_model, find

MICRO = 1_000_000
MOVE_DOLLARS = 0.05  # as in the controller's settings, where what is saved counts for an hour
_H100 = find("h100-80gb")
assert _H100


@dataclass(frozen=True)
class Shape:
    """A kind of machine with H100s. price: dollars per hour."""

    gpus: int
    cpus: int
    gib: int
    price: float

    @property
    def id(self) -> str:
        return f"{self.gpus}xH100-{self.cpus}"

    def amounts(self) -> dict[str, int]:
        """Millicores of CPU, bytes of memory, Pods."""
        return {"cpu": self.cpus * 1000, "memory": self.gib << 30, "pods": 110}


# Prices per GPU are those of large clouds on demand, rounded; small machines cost more for each GPU.
SHAPES = (
    Shape(1, 26, 200, 7.6),
    Shape(2, 52, 400, 14.6),
    Shape(4, 104, 800, 28.4),
    Shape(8, 192, 2000, 55.0),
    Shape(8, 96, 1000, 51.0),
)


LAYOUTS = {
    "1g.10gb": {"1g.10gb": 7},
    "1g.20gb": {"1g.20gb": 4},
    "2g.20gb": {"2g.20gb": 3},
    "3g.40gb": {"3g.40gb": 2},
    "4g.40gb": {"4g.40gb": 1},
    "7g.80gb": {"7g.80gb": 1},
    "balanced": {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1},
}


@dataclass(frozen=True)
class Offer:
    """A node group. resources: what each of its nodes offers."""

    id: str
    shape: Shape
    resources: Mapping[str, int]
    is_cut_by_nos: bool = False

    @property
    def price(self) -> int:
        """Micro-dollars per hour."""
        return round(self.shape.price * MICRO)

    def node(self) -> NodeSpec:
        assert _H100
        gpus = [GpuSpec(core_model(_H100), ready=True)] * self.shape.gpus if self.is_cut_by_nos else []
        return NodeSpec(self.resources, gpus=gpus)

    def group(self) -> NodeGroup:
        return NodeGroup(self.id, self.node(), price=self.price, room=1000)


def uncut(shape: Shape) -> Offer:
    """Machines whose GPUs nos cuts at will."""
    return Offer(shape.id, shape, shape.amounts() | {GPU: shape.gpus}, is_cut_by_nos=True)


def fixed(shape: Shape) -> list[Offer]:
    """Machines for who knows no geometry: the GPUs of each are whole, or all cut like this, for good."""
    whole = Offer(f"{shape.id}/whole", shape, shape.amounts() | {GPU: shape.gpus})
    cut = [
        Offer(
            f"{shape.id}/{name}",
            shape,
            shape.amounts() | {f"{MIG}{profile}": count * shape.gpus for profile, count in layout.items()},
        )
        for name, layout in LAYOUTS.items()
    ]
    return [whole, *cut]


@dataclass
class Machine:
    """A node, or one that is to be. Times are in seconds of the day. pods: by uid, eighths of a GPU."""

    name: str
    offer: Offer
    ordered: float
    payback: float = 0.0  # how long it has to serve until it has saved what its coming cost
    pods: dict[str, int] = field(default_factory=dict)
    gone: float | None = None
    served: bool = False
    unneeded: float | None = None


@dataclass(frozen=True)
class Removal:
    """Nodes that are not needed, once new ones of these groups are there. onto: where else their Pods go. saved: by it,
    micro-dollars per hour."""

    nodes: list[str]
    new: list[str] = field(default_factory=list)
    onto: frozenset[str] = frozenset()
    moves: int = 0
    saved: int = 0


class Planner(Protocol):
    """Says what to order and what to give back."""

    @property
    def offers(self) -> Mapping[str, Offer]:
        """By the id of the group."""

    def up(self, cluster: Cluster) -> list[str]:
        """The groups of the nodes to order. The cluster is a copy, with those that are coming."""

    def down(self, cluster: Cluster, machines: Sequence[Machine], coming: Sequence[Machine]) -> list[Removal]:
        """What is not needed, in an order in which it can go. The cluster is a copy, without those that are coming."""


class Nos:
    """scale_up and scale_down, as the controller calls them. longest_boot: hours that a node may take to serve."""

    def __init__(self, shapes: Sequence[Shape], longest_boot: float = 0.25) -> None:
        self._longest_boot = longest_boot
        self.offers = {shape.id: uncut(shape) for shape in shapes}
        self._groups = [offer.group() for offer in self.offers.values()]

    def up(self, cluster: Cluster) -> list[str]:
        return [node.group for node in scale_up(cluster, self._groups).nodes]

    def down(self, cluster: Cluster, machines: Sequence[Machine], coming: Sequence[Machine]) -> list[Removal]:
        for machine in coming:
            cluster.upsert_node(machine.name, machine.offer.node())
        busy = {machine.offer.id for machine in coming}
        found = scale_down(
            cluster,
            [Removable(one.name, price=one.offer.price) for one in machines if one.offer.id not in busy],
            movable=[uid for machine in machines for uid in machine.pods],
            groups=self._groups,
            move_price=round(MOVE_DOLLARS * MICRO),
        )
        steps = [
            Removal(
                step.nodes,
                [node.group for node in step.new],
                frozenset(node for _, node in step.moves) - {node.name for node in step.new},
                len(step.moves),
                step.saved,
            )
            for step in found.steps
        ]
        return [step for step in steps if self._pays(step)]

    def _pays(self, step: Removal) -> bool:
        boots = sum(self.offers[group].price for group in step.new) * self._longest_boot
        return not step.new or step.saved > boots + step.moves * MOVE_DOLLARS * MICRO


class LeastWaste:
    """Cluster Autoscaler's rules, see above."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.offers = {offer.id: offer for shape in shapes for offer in fixed(shape)}
        self._groups = [offer.group() for offer in self.offers.values()]

    def up(self, cluster: Cluster) -> list[str]:
        options = []
        for group in self._groups:
            copy = cluster.copy()
            nodes = scale_up(copy, [group]).nodes
            if nodes:
                states = [copy.node(node.name) for node in nodes]
                waste = [
                    1 - sum(s.requested.get(r, 0) for s in states) / sum(s.allocatable[r] for s in states)
                    for r in ("cpu", "memory")
                ]
                options.append((sum(waste), group.price, [node.group for node in nodes]))
        return min(options)[2] if options else []

    def down(self, cluster: Cluster, machines: Sequence[Machine], coming: Sequence[Machine]) -> list[Removal]:  # noqa: ARG002
        found: list[Removal] = []
        for machine in machines:
            if sum(machine.pods.values()) < 0.5 * 8 * machine.offer.shape.gpus:
                one = Removable(machine.name, price=machine.offer.price)
                steps = scale_down(cluster, [one], movable=list(machine.pods)).steps
                found += [Removal(step.nodes, moves=len(step.moves), saved=step.saved) for step in steps]
        return found
