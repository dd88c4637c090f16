"""The best set of new nodes, as OR-tools finds it. Nothing is shared with the core.

What one node holds is listed whole: GPU contents from the rules of `tests.cut_gpus`, then sets of Pods, one class after
the other. CP-SAT then chooses how many nodes of each kind and who is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from ortools.sat.python import cp_model

from tests.cut_gpus import MODELS, fits_with

Counts = tuple[int, ...]


@dataclass(frozen=True, order=True)
class Ask:
    """A Pod; share in milli-GPU, mig as (profile, instances)."""

    cpu: int = 0
    memory: int = 0
    gpus: int = 0
    share: int = 0
    mig: tuple[tuple[str, int], ...] = ()
    priority: int = 0
    gang: str = ""

    @property
    def needs(self) -> tuple[int, int, int, int, tuple[tuple[str, int], ...]]:
        return (self.cpu, self.memory, self.gpus, self.share, self.mig)


@dataclass(frozen=True)
class Offer:
    """A group; model: that of its GPUs where they are cut. uses: of the one limit."""

    cpu: int
    memory: int
    pods: int
    gpus: int
    model: str | None
    price: int
    room: int
    uses: int = 0


@dataclass(frozen=True)
class World:
    """All of it. gangs: how many of each must run."""

    asks: Sequence[Ask]
    offers: Sequence[Offer]
    gangs: Mapping[str, int] = field(default_factory=dict)
    limit: int = 1000


@cache
def _contents(model: str | None, items: tuple[str | int, ...]) -> frozenset[Counts]:
    """What one GPU may hold of these: shares (numbers) or instances (profiles)."""
    shares = {(0,) * len(items)}
    frontier = set(shares)
    while frontier:
        more = set()
        for counts in frontier:
            for place, item in enumerate(items):
                grown = (*counts[:place], counts[place] + 1, *counts[place + 1 :])
                if isinstance(item, int) and sum(n * s for n, s in zip(grown, items, strict=True) if n) <= 1000:
                    more.add(grown)
        frontier = more - shares
        shares |= more
    instances: set[Counts] = set()
    todo: list[tuple[tuple[str, int], ...]] = [()]
    seen = set(todo)
    while model and todo:
        there = todo.pop()
        have = Counter(profile for profile, _ in there)
        instances.add(tuple(have[item] if isinstance(item, str) else 0 for item in items))
        for placement in MODELS[model].placements:
            grown_set = tuple(sorted([*there, placement]))
            if placement[0] in items and grown_set not in seen and fits_with(model, there, placement):
                seen.add(grown_set)
                todo.append(grown_set)
    return frozenset(shares | instances)


@cache
def _pack(model: str | None, items: tuple[str | int, ...], gpus: int, counts: Counts) -> bool:
    first = next((place for place, count in enumerate(counts) if count), None)
    if first is None:
        return True
    if gpus == 0:
        return False
    some = {tuple(map(min, content, counts)) for content in _contents(model, items) if content[first]}
    return any(_pack(model, items, gpus - 1, tuple(a - b for a, b in zip(counts, one, strict=True))) for one in some)


def _holds(offer: Offer, classes: Sequence[Ask], counts: Counts) -> bool:
    used: Counter[str | int] = Counter()
    for ask, count in zip(classes, counts, strict=True):
        used.update({"cpu": ask.cpu * count, "memory": ask.memory * count, "gpus": ask.gpus * count, "pods": count})
        if ask.share:
            used[ask.share] += count
        used.update({profile: n * count for profile, n in ask.mig})
    items: tuple[str | int, ...] = tuple(
        item for item, n in sorted(used.items(), key=str) if n and item not in ("cpu", "memory", "gpus", "pods")
    )
    return (
        used["cpu"] <= offer.cpu
        and used["memory"] <= offer.memory
        and used["pods"] <= offer.pods
        and used["gpus"] <= offer.gpus
        and _pack(offer.model, items, offer.gpus - used["gpus"], tuple(used[item] for item in items))
    )


def _patterns(offer: Offer, classes: Sequence[Ask], demand: Counts) -> Iterator[Counts]:
    """The sets to which nobody can be added."""

    def extend(counts: Counts) -> Iterator[Counts]:
        place = len(counts)
        if place == len(classes):
            grown = ((*counts[:i], counts[i] + 1, *counts[i + 1 :]) for i in range(place) if counts[i] < demand[i])
            if not any(_holds(offer, classes, more) for more in grown):
                yield counts
            return
        for count in range(demand[place] + 1):
            if not _holds(offer, classes[: place + 1], (*counts, count)):
                return
            yield from extend((*counts, count))

    yield from extend(())


def optimum(world: World) -> tuple[tuple[int, ...], int]:
    """How many Pods of each priority are left, the highest first, and what the nodes cost."""
    needs = sorted({ask.needs for ask in world.asks})
    classes = [next(ask for ask in world.asks if ask.needs == need) for need in needs]
    demand = tuple(sum(ask.needs == need for ask in world.asks) for need in needs)
    model = cp_model.CpModel()
    places: list[list[cp_model.LinearExprT]] = [[] for _ in classes]
    price: list[cp_model.LinearExprT] = []
    limited: list[cp_model.LinearExprT] = []
    for offer in world.offers:
        taken: list[cp_model.LinearExprT] = []
        for pattern in _patterns(offer, classes, demand) if offer.room else ():
            if any(pattern):
                nodes = model.new_int_var(0, min(offer.room, len(world.asks)), "")
                taken.append(nodes)
                for place, count in enumerate(pattern):
                    places[place].append(count * nodes)
        model.add(sum(taken) <= offer.room)
        price.append(offer.price * sum(taken))
        limited.append(offer.uses * sum(taken))
    model.add(sum(limited) <= world.limit)
    left: dict[int, list[cp_model.LinearExprT]] = {}
    served: list[list[cp_model.LinearExprT]] = [[] for _ in classes]
    of_gang: dict[str, list[cp_model.LinearExprT]] = {}
    for ask, count in Counter(world.asks).items():
        placed = model.new_int_var(0, count, "")
        served[needs.index(ask.needs)].append(placed)
        left.setdefault(ask.priority, []).append(count - placed)
        if ask.gang:
            of_gang.setdefault(ask.gang, []).append(placed)
    for gang, members in of_gang.items():
        starts = model.new_bool_var("")
        model.add(sum(members) >= world.gangs[gang]).only_enforce_if(starts)
        model.add(sum(members) == 0).only_enforce_if(~starts)
    for place, asked in enumerate(served):
        model.add(sum(asked) <= sum(places[place]))
    unplaced = []
    for priority in sorted(left, reverse=True):
        unplaced.append(_minimise(model, sum(left[priority])))
        model.add(sum(left[priority]) == unplaced[-1])
    return tuple(unplaced), _minimise(model, sum(price))


def _minimise(model: cp_model.CpModel, what: cp_model.LinearExprT) -> int:
    model.minimize(what)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = 60  # beyond that the world is too hard for a test, and it says so
    assert solver.solve(model) == cp_model.OPTIMAL
    return round(solver.objective_value)
