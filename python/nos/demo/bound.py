"""The fewest GPU nodes that any scheduler could have used for the same Pods: a bound, not a plan.

Sums only: for every number of nodes of each shape it asks whether their GPUs, CPU and memory together suffice, and
whether the nodes have room for the Pods of each size at least (a node of 8 GPUs holds one Pod of more than 4). A plan
that keeps to it need not exist; one that beats it cannot.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nos.testbed import nodes

from .workload import Ask

_MOST_COMBINATIONS = 300_000  # about a second


@dataclass(frozen=True)
class Shape:
    """Equal nodes: how many there are, and what one of them offers."""

    count: int
    gpus: int
    cpu: int
    memory_gib: int

    @classmethod
    def of(cls, shape: str, count: int) -> Shape:
        """From a shape of the testbed with GPUs."""
        gpus, name = nodes.parse_shape(shape)
        model = nodes.MODELS[name]
        cpu, memory = gpus * model.cpus - nodes.SYSTEM_CPU, gpus * model.host_gib - nodes.SYSTEM_MEMORY_GIB
        return cls(count, gpus, cpu, memory)


@dataclass(frozen=True)
class Fewest:
    """No scheduler could do with fewer nodes, nor with nodes that have fewer GPUs in sum."""

    nodes: int
    gpus: int


def fewest(shapes: Sequence[Shape], pods: Sequence[Ask]) -> Fewest:
    """For Pods that ask for GPUs. What the shapes cannot hold at all is the caller's mistake: ValueError."""
    constraints = _constraints(shapes, pods)
    if math.prod(shape.count + 1 for shape in shapes) > _MOST_COMBINATIONS:
        return Fewest(max((_alone(shapes, *constraint) for constraint in constraints), default=0), _asked(pods))
    best_nodes = best_gpus = -1
    for counts in itertools.product(*(range(shape.count + 1) for shape in shapes)):
        used = sum(counts)
        gpus = sum(map(int.__mul__, counts, (shape.gpus for shape in shapes)))
        if 0 <= best_nodes <= used and 0 <= best_gpus <= gpus:
            continue
        if all(sum(map(int.__mul__, counts, capacities)) >= demand for capacities, demand in constraints):
            best_nodes = used if best_nodes < 0 else min(best_nodes, used)
            best_gpus = gpus if best_gpus < 0 else min(best_gpus, gpus)
    if best_nodes < 0:
        raise ValueError("these Pods do not fit these nodes")
    return Fewest(best_nodes, best_gpus)


def _constraints(shapes: Sequence[Shape], pods: Sequence[Ask]) -> list[tuple[list[int], int]]:
    """What one node of each shape offers, and how much of it all of them must."""
    found = [
        ([shape.gpus for shape in shapes], _asked(pods)),
        ([shape.cpu for shape in shapes], sum(pod.cpu for pod in pods)),
        ([shape.memory_gib for shape in shapes], sum(pod.memory_gib for pod in pods)),
    ]
    for size in sorted({pod.gpus for pod in pods}):
        found.append(([shape.gpus // size for shape in shapes], sum(pod.gpus >= size for pod in pods)))
    return found


def _alone(shapes: Sequence[Shape], capacities: Sequence[int], demand: int) -> int:
    """The fewest nodes for one constraint: the largest first."""
    used = 0
    for capacity, count in sorted(zip(capacities, (shape.count for shape in shapes), strict=True), reverse=True):
        taken = min(count, -(-demand // capacity)) if capacity else 0
        used += taken
        demand -= taken * capacity
        if demand <= 0:
            return used
    raise ValueError("these Pods do not fit these nodes")


def _asked(pods: Sequence[Ask]) -> int:
    return sum(pod.gpus for pod in pods)
