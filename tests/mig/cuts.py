"""An oracle: every set of instances that fits on a GPU, listed one by one from the four rules of `nos.mig.models`.

It shares no code with the core. A set is a bit mask over the model's placements; questions are put to all sets at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nos._core import GpuModel, GpuProfile
from nos.mig import Model

Placement = tuple[str, int]  # a profile's name and its start


class TooManySetsError(Exception):
    """The model can be cut in more ways than a test wants to list."""


@dataclass(frozen=True)
class Kind:
    """One profile."""

    name: str
    size: int
    starts: tuple[int, ...]
    slices: int
    most: int
    engines: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Gpu:
    """The facts of one model."""

    units: int
    slices: int
    kinds: tuple[Kind, ...]
    engines: tuple[tuple[str, int], ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Kind]:
        return {kind.name: kind for kind in self.kinds}

    def fits(self, instances: Sequence[Placement]) -> bool:
        """Whether these can be together."""
        taken: Counter[int] = Counter()
        engines: Counter[str] = Counter()
        for name, start in instances:
            kind = self.by_name[name]
            if start not in kind.starts:
                return False
            taken.update(range(start, start + kind.size))
            engines.update(dict(kind.engines))
        counts = Counter(name for name, _ in instances)
        return (
            max(taken.values(), default=0) <= 1
            and max(taken, default=0) < self.units
            and all(count <= self.by_name[name].most for name, count in counts.items())
            and sum(self.by_name[name].slices for name, _ in instances) <= self.slices
            and all(engines[name] <= total for name, total in self.engines)
        )

    def core(self) -> GpuModel:
        """The same facts as the core takes them."""
        return GpuModel(
            "invented",
            units=self.units,
            compute_slices=self.slices,
            engines=dict(self.engines),
            profiles=[
                GpuProfile(
                    kind.name,
                    size=kind.size,
                    starts=kind.starts,
                    compute_slices=kind.slices,
                    max_instances=kind.most,
                    engines=dict(kind.engines),
                )
                for kind in self.kinds
            ],
        )


def facts(model: Model, *, plain: bool = False) -> Gpu:
    """The facts of a model; plain: only profiles that take as much memory as compute, and no media engines."""

    def is_plain(name: str, size: int, slices: int) -> bool:
        return "+" not in name and "-" not in name and not (slices == 1 and size > 1)

    kinds = tuple(
        Kind(
            profile.name,
            profile.size,
            profile.starts,
            profile.compute_slices,
            profile.max_instances,
            tuple((engine, getattr(profile.engines, engine)) for engine in model.engine_totals),
        )
        for profile in model.profiles
        if not plain or is_plain(profile.name, profile.size, profile.compute_slices)
    )
    return Gpu(model.units, model.compute_slices, kinds, tuple(model.engine_totals.items()))


@dataclass(frozen=True)
class Best:
    """What the best plan is worth, best first."""

    units: int
    instances: int
    changes: int
    doors: int


class Cuts:
    """All sets of instances that fit on one GPU."""

    def __init__(self, gpu: Gpu, most: int = 1 << 16) -> None:
        self.gpu = gpu
        self.placements: list[Placement] = [(kind.name, start) for kind in gpu.kinds for start in kind.starts]
        assert len(self.placements) < 64
        self.bit = {placement: 1 << number for number, placement in enumerate(self.placements)}
        self.sets: list[tuple[Placement, ...]] = []
        self._list((), 0, most)
        self.masks = np.array([self.mask(instances) for instances in self.sets], dtype=np.int64)
        self.counts = self._count(self.masks)
        self.sizes = np.array([kind.size for kind in gpu.kinds])
        self.of_kind = [self.mask((kind.name, start) for start in kind.starts) for kind in gpu.kinds]

    def _list(self, instances: tuple[Placement, ...], first: int, most: int) -> None:
        if len(self.sets) == most:
            raise TooManySetsError
        self.sets.append(instances)
        for number in range(first, len(self.placements)):
            more = (*instances, self.placements[number])
            if self.gpu.fits(more):
                self._list(more, number + 1, most)

    def mask(self, instances: Iterable[Placement]) -> int:
        """The set as a bit mask."""
        return sum(self.bit[placement] for placement in instances)

    def _count(self, masks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Instances of each profile."""
        kinds, first = [], 0
        for kind in self.gpu.kinds:
            bits = ((1 << len(kind.starts)) - 1) << first
            kinds.append(np.bitwise_count(masks & bits).astype(np.int64))
            first += len(kind.starts)
        return np.stack(kinds, axis=1)

    def geometries(self) -> set[tuple[int, ...]]:
        """Instances per profile, of every set."""
        return {tuple(int(number) for number in row) for row in self.counts}

    def maximal(self) -> set[tuple[int, ...]]:
        """Those that no other geometry contains."""
        every = self.geometries()
        return {
            one
            for one in every
            if not any(one != other and all(a <= b for a, b in zip(one, other, strict=True)) for other in every)
        }

    @cached_property
    def room(self) -> NDArray[np.int64]:
        """By set and profile: how many of that profile alone could still be added."""
        rooms = np.zeros_like(self.counts)
        for index, mask in enumerate(self.masks):
            added = self.masks[(self.masks & mask) == mask] & ~mask
            for kind, bits in enumerate(self.of_kind):
                rooms[index, kind] = np.bitwise_count(added[(added & ~np.int64(bits)) == 0]).max()
        return rooms

    @cached_property
    def doors(self) -> NDArray[np.int64]:
        """By set: the units that each profile alone could still fill, added up."""
        doors: NDArray[np.int64] = self.room @ self.sizes
        return doors

    def best(self, used: Iterable[Placement], free: Iterable[Placement], wanted: Mapping[str, int]) -> Best:
        """The most that a set with the used instances in it is worth; what it has beside them was free or is wanted."""
        used_mask, free_mask = self.mask(used), self.mask(free)
        wants = np.array([wanted.get(kind.name, 0) for kind in self.gpu.kinds])
        indices = np.flatnonzero((self.masks & used_mask) == used_mask)
        others = self.masks[indices] & ~used_mask
        indices = indices[(self._count(others & ~free_mask) <= wants).all(axis=1)]
        others = self.masks[indices] & ~used_mask
        served = np.minimum(self._count(others), wants)
        units, instances = served @ self.sizes, served.sum(axis=1)
        changes = np.bitwise_count(others ^ free_mask).astype(np.int64)
        doors = self.doors[indices]
        last = np.lexsort((doors, -changes, instances, units))[-1]
        return Best(int(units[last]), int(instances[last]), int(changes[last]), int(doors[last]))


@cache
def cuts(gpu: Gpu) -> Cuts:
    """All sets, listed once per test run."""
    return Cuts(gpu)


def worth(cuts: Cuts, used: Sequence[Placement], free: Sequence[Placement], wanted: Sequence[str], plan: Any) -> Best:
    """Check that the plan can be carried out and serves what it says, and count what it is worth."""
    after = [*used, *(placement for placement in free if placement not in plan.destroy), *plan.create]
    assert all(placement in free for placement in plan.destroy), "something other than free instances is destroyed"
    assert not set(plan.create) & set(free), "destroyed and made again"
    assert len(set(after)) == len(after)
    assert cuts.gpu.fits(after)
    given = [placement for _, placement in plan.placed]
    assert len(set(given)) == len(given)
    assert set(plan.create) <= set(given), "made without need"
    assert set(given) <= set(after) - set(used)
    assert [wanted[index] for index, _ in plan.placed] == [name for name, _ in given]
    assert sorted(index for index, _ in [*plan.placed, *plan.unplaced]) == list(range(len(wanted)))
    for index, reason in plan.unplaced:
        check_reason(cuts.gpu, [*used, *given], wanted[index], reason)
    mask = cuts.mask(after)
    doors = int(cuts.doors[int(np.flatnonzero(cuts.masks == mask)[0])])
    units = sum(cuts.gpu.by_name[name].size for name, _ in given)
    return Best(units, len(given), len(plan.destroy) + len(plan.create), doors)


def check_reason(gpu: Gpu, there: Sequence[Placement], name: str, reason: str) -> None:
    """The reason why no instance of the profile fits beside these is true."""
    kind = gpu.by_name[name]
    covered = {unit for other, start in there for unit in range(start, start + gpu.by_name[other].size)}
    free_units = gpu.units - len(covered)
    open_starts = [start for start in kind.starts if not covered & set(range(start, start + kind.size))]
    slices = gpu.slices - sum(gpu.by_name[other].slices for other, _ in there)
    same = sum(other == name for other, _ in there)
    in_a_row = "free unit at" if kind.size == 1 else "free units in a row from"

    def free(count: int, what: str) -> str:
        return f"{count} free {what}{'' if count == 1 else 's'}"

    truths = {
        f"{name} needs {free(kind.size, 'unit')}, the GPU has {free_units}": free_units < kind.size,
        f"{name} needs {kind.size} {in_a_row} one of its starts, the GPU has {free_units} elsewhere": (
            free_units >= kind.size and not open_starts
        ),
        f"{name} needs {free(kind.slices, 'compute slice')}, the GPU has {slices}": slices < kind.slices,
        f"a GPU holds at most {kind.most} of {name}": same == kind.most,
    }
    for engine, total in gpu.engines:
        needs = dict(kind.engines).get(engine, 0)
        left = total - sum(dict(gpu.by_name[other].engines).get(engine, 0) for other, _ in there)
        truths[f"{name} needs {free(needs, f'{engine} engine')}, the GPU has {left}"] = needs > left
    assert truths[reason], reason
