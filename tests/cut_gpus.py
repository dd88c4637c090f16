"""GPUs that nos cuts, as a slow oracle sees them: which instances can be together, and where more would fit.

A placement is tried by the rules of `tests.mig.cuts`; nothing here is shared with the core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from nos._core import GpuModel
from nos.mig import core_model, find
from tests.mig.cuts import Gpu, Placement, facts

Spot = tuple[int, str, int]  # GPU slot, profile, start


@dataclass(frozen=True)
class CutModel:
    """What tests need of a model."""

    gpu: Gpu
    core: GpuModel
    placements: tuple[Placement, ...]


def _model(model_id: str) -> CutModel:
    model = find(model_id)
    assert model
    gpu = facts(model)
    return CutModel(gpu, core_model(model), tuple((kind.name, start) for kind in gpu.kinds for start in kind.starts))


MODELS = {name: _model(name) for name in ("a100-40gb", "a30-24gb", "rtxpro6000-96gb")}


@cache
def _fit(model: str, instances: tuple[Placement, ...]) -> bool:
    return MODELS[model].gpu.fits(instances)


def together(model: str, instances: Sequence[Placement]) -> bool:
    """Whether these can be on one GPU."""
    return _fit(model, tuple(sorted(instances)))


def fits_with(model: str, there: Sequence[Placement], placement: Placement) -> bool:
    """Whether one more can be on that GPU."""
    return placement[1] >= 0 and together(model, [*there, placement])


def ways(
    open_gpus: dict[int, tuple[str, list[Placement]]], whole: Sequence[int], wholes: int, wanted: Counter[str]
) -> Iterator[tuple[tuple[int, ...], list[Spot]]]:
    """All ways to take so many of the `whole` GPUs, and instances from the rest of the open ones."""
    for taken in combinations(whole, wholes):
        rest = {slot: gpu for slot, gpu in open_gpus.items() if slot not in taken}
        for spots in _spots(rest, sorted(wanted.elements())):
            yield taken, spots


def _spots(gpus: dict[int, tuple[str, list[Placement]]], wanted: list[str]) -> Iterator[list[Spot]]:
    if not wanted:
        yield []
        return
    tried = set()
    for slot, (model, there) in gpus.items():
        if (alike := (model, tuple(sorted(there)))) in tried:
            continue
        tried.add(alike)
        for placement in MODELS[model].placements:
            if placement[0] == wanted[0] and fits_with(model, there, placement):
                more = gpus | {slot: (model, [*there, placement])}
                for spots in _spots(more, wanted[1:]):
                    yield [(slot, *placement), *spots]
