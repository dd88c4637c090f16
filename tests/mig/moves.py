"""Oracles for repack: the best there is, by OR-tools CP-SAT, and what a plain rule finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

from .cuts import Gpu, Placement

Spot = tuple[int, str, int]  # GPU, profile, start


@dataclass(frozen=True)
class Packed:
    """A GPU, and what runs on it."""

    gpu: Gpu
    fixed: tuple[Placement, ...] = ()
    movable: tuple[Placement, ...] = ()


@dataclass(frozen=True)
class Packing:
    """Which wishes are served, by index, and how many instances move."""

    served: tuple[int, ...]
    moves: int


def check(cluster: list[Packed], wanted: list[str], plan: Any) -> Packing:
    """Check that the plan can be carried out and serves what it says."""
    then: list[list[Placement]] = [list(packed.movable) for packed in cluster]
    for (gpu, name, start), to in plan.moves:
        then[gpu].remove((name, start))  # a movable one, once
        assert name == to[1]
        assert (gpu, name, start) != to
    for gpu, name, start in [*(to for _, to in plan.moves), *(spot for _, spot in plan.placed)]:
        then[gpu].append((name, start))
    for packed, instances in zip(cluster, then, strict=True):
        assert packed.gpu.fits([*packed.fixed, *instances])
    assert [wanted[wish] for wish, _ in plan.placed] == [name for _, (_, name, _) in plan.placed]
    assert sorted(wish for wish, _ in [*plan.placed, *plan.unplaced]) == list(range(len(wanted)))
    return Packing(tuple(wish for wish, _ in plan.placed), len(plan.moves))


def best(cluster: list[Packed], wanted: list[str]) -> Packing:
    """Each wish in order if it fits beside those before it, then the fewest moves: one objective, since the wish before
    outweighs all that follow it, and any wish all moves.

    Instances of one profile are alike, so the model only says which places they take: an old place that is taken by one
    of the same profile is one that did not move.
    """
    model = cp_model.CpModel()
    on: list[list[tuple[Placement, cp_model.IntVar]]] = []
    for packed in cluster:
        every = [(kind.name, start) for kind in packed.gpu.kinds for start in kind.starts]
        on.append([(one, model.new_bool_var("")) for one in every if one not in packed.fixed])
    served = [model.new_bool_var("") for _ in wanted]
    movable = [name for packed in cluster for name, _ in packed.movable]
    for name in {*wanted, *(name for placements in on for (name, _), _ in placements)}:
        taken = sum(chosen for placements in on for (other, _), chosen in placements if other == name)
        wishes = sum(one for one, wish in zip(served, wanted, strict=True) if wish == name)
        model.add(taken == movable.count(name) + wishes)
    for packed, placements in zip(cluster, on, strict=True):
        _limit(model, packed, placements)
    stays = [
        chosen
        for packed, placements in zip(cluster, on, strict=True)
        for one, chosen in placements
        if one in packed.movable
    ]
    assert len(stays) == len(movable)
    weights = [(len(stays) + 1) << (len(wanted) - 1 - wish) for wish in range(len(wanted))]
    model.maximize(sum(w * s for w, s in zip(weights, served, strict=True)) + sum(stays))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    kept = sum(solver.boolean_value(stay) for stay in stays)
    return Packing(tuple(i for i, one in enumerate(served) if solver.boolean_value(one)), len(stays) - kept)


def _limit(model: cp_model.CpModel, packed: Packed, placements: list[tuple[Placement, cp_model.IntVar]]) -> None:
    gpu = packed.gpu
    all_of_them: list[tuple[Placement, cp_model.IntVar | int]] = [*placements, *((one, 1) for one in packed.fixed)]
    for unit in range(gpu.units):
        model.add(sum(on for (name, s), on in all_of_them if s <= unit < s + gpu.by_name[name].size) <= 1)
    model.add(sum(gpu.by_name[name].slices * on for (name, _), on in all_of_them) <= gpu.slices)
    for kind in gpu.kinds:
        model.add(sum(on for (name, _), on in all_of_them if name == kind.name) <= kind.most)
    for engine, total in gpu.engines:
        needs = [(dict(gpu.by_name[name].engines).get(engine, 0), on) for (name, _), on in all_of_them]
        model.add(sum(need * on for need, on in needs) <= total)


def plain_rule(cluster: list[Packed], wanted: list[str]) -> Packing:
    """Each wish goes where the fewest are in its way that all find another place as it is, first come, first served."""
    fixed = [list(packed.fixed) for packed in cluster]
    movable = [list(packed.movable) for packed in cluster]
    served, moves = [], 0

    def first_place(name: str) -> tuple[int, Placement] | None:
        for number, packed in enumerate(cluster):
            for start in packed.gpu.by_name[name].starts if name in packed.gpu.by_name else ():
                if packed.gpu.fits([*fixed[number], *movable[number], (name, start)]):
                    return number, (name, start)
        return None

    for wish, name in enumerate(wanted):
        options: list[tuple[int, int, int]] = []
        for number, packed in enumerate(cluster):
            for start in packed.gpu.by_name[name].starts if name in packed.gpu.by_name else ():
                units = set(range(start, start + packed.gpu.by_name[name].size))
                in_the_way = [one for one in movable[number] if units & _units(packed.gpu, one)]
                staying = [one for one in movable[number] if one not in in_the_way]
                if packed.gpu.fits([*fixed[number], *staying, (name, start)]):
                    options.append((len(in_the_way), number, start))
        for _, number, start in sorted(options):
            gpu = cluster[number].gpu
            units = set(range(start, start + gpu.by_name[name].size))
            leaving = [one for one in movable[number] if units & _units(gpu, one)]
            before = [list(all_of) for all_of in fixed], [list(all_of) for all_of in movable]
            movable[number] = [one for one in movable[number] if one not in leaving]
            fixed[number].append((name, start))
            homes = []
            for one in leaving:
                if home := first_place(one[0]):
                    fixed[home[0]].append(home[1])
                    homes.append(home)
            if len(homes) == len(leaving):
                served.append(wish)
                moves += len(leaving)
                break
            fixed, movable = before
    return Packing(tuple(served), moves)


def _units(gpu: Gpu, instance: Placement) -> set[int]:
    return set(range(instance[1], instance[1] + gpu.by_name[instance[0]].size))
