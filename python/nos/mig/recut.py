"""How one GPU becomes what is wanted of it: by what is free on it, or by moving what is used as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nos._core import PackedGpu, repack, repartition

from .core import core_model
from .models import Model
from .request import Placement

Spot = tuple[int, str, int]  # a GPU, 0 being the one described, a profile's name and its start unit


@dataclass(frozen=True)
class Recut:
    """destroy and create are about the GPU described, as are used and free, what is there afterwards apart from what
    was placed. Wishes are named by their index. exact: false when fewer moves, or more placed, may be possible."""

    destroy: list[Placement]
    create: list[Placement]
    placed: list[tuple[int, Spot]]
    unplaced: list[tuple[int, str]]
    used: list[Placement]
    free: list[Placement]
    moves: list[tuple[Spot, Spot]]
    exact: bool = True


def recut(model: Model, used: list[Placement], free: list[Placement], wanted: list[str]) -> Recut:
    """Used instances stay where they are."""
    plan = repartition(core_model(model), used=used, free=free, wanted=wanted)
    placed = [(wish, (0, *placement)) for wish, placement in plan.placed]
    given = [placement for _, placement in plan.placed]
    kept = [one for one in free if one not in plan.destroy and one not in given]
    return Recut(plan.destroy, plan.create, placed, plan.unplaced, used, kept, [])


def recut_moving(
    model: Model, used: list[Placement], free: list[Placement], wanted: list[str], empty_gpus: int
) -> Recut:
    """Used instances may move, on this GPU and to empty ones of the same model, where that serves more."""
    still = recut(model, used, free, wanted)
    if not still.unplaced:
        return still
    core = core_model(model)
    found = repack([PackedGpu(core, movable=used), *[PackedGpu(core)] * empty_gpus], wanted)
    if _served(model, found.placed) > _served(model, still.placed):
        return _moved(model, used, free, wanted, found)
    same = [wish for wish, _ in found.unplaced] == [wish for wish, _ in still.unplaced]
    unplaced = found.unplaced if same else still.unplaced
    return Recut(still.destroy, still.create, still.placed, unplaced, used, still.free, [], found.exact)


def _served(model: Model, placed: list[tuple[int, Spot]]) -> int:
    """In units."""
    sizes = {profile.name: profile.size for profile in model.profiles}
    return sum(sizes[name] for _, (_, name, _) in placed)


def _moved(model: Model, used: list[Placement], free: list[Placement], wanted: list[str], found: Any) -> Recut:
    """What was moved away is as free as what was free: it serves a wish or another move as it is, where it can."""
    left = [(name, start) for (gpu, name, start), _ in found.moves if gpu == 0]
    arrived = [(name, start) for _, (gpu, name, start) in found.moves if gpu == 0]
    used_then = [one for one in used if one not in left] + arrived
    gone: list[Placement] = []
    idle: list[Placement] = []
    for one in [*free, *left]:
        if one not in used_then:
            (idle if _fit(model, [*used_then, *idle, one]) else gone).append(one)
    here = [wish for wish, (gpu, _, _) in found.placed if gpu == 0]
    rest = recut(model, used_then, idle, [wanted[wish] for wish in here])
    assert not rest.unplaced
    placed = [(here[index], spot) for index, spot in rest.placed]
    placed += [(wish, spot) for wish, spot in found.placed if spot[0] != 0]
    return Recut(
        destroy=sorted(gone + rest.destroy, key=lambda one: one[1]),
        create=sorted([one for one in arrived if one not in free + left] + rest.create, key=lambda one: one[1]),
        placed=sorted(placed),
        unplaced=found.unplaced,
        used=used_then,
        free=rest.free,
        moves=found.moves,
        exact=found.exact,
    )


def _fit(model: Model, instances: list[Placement]) -> bool:
    try:
        core_model(model).room(instances)
    except ValueError:
        return False
    return True
