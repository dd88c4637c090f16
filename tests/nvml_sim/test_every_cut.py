"""The simulated driver accepts what fits, and nothing else: held against the list of all sets in tests/mig/cuts.py."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pynvml as nvml
import pytest

from nos.mig import Model, models
from tests.mig.cuts import Cuts, Placement, cuts, facts

from .caller import create_at, driven, machine, mig_on, profiles, start_and_id

SAMPLE = 60  # sets of a model whose rules are another's under other names


def accepted(device: Any, number: int, start: int, size: int) -> Any:
    """The instance, or None where there is no room."""
    try:
        return create_at(device, number, start, size)
    except nvml.NVMLError_InsufficientResources:
        return None


def try_each(device: Any, ids: dict[str, int], every: Cuts, instances: list[Placement], first: int) -> int:
    """Tries to add each placement there is to these, which exist; and, from the one numbered `first` on, so again with
    that one beside them. How many sets that were."""
    gpu, sets = every.gpu, 1
    for number, (name, start) in enumerate(every.placements):
        more = [*instances, (name, start)]
        instance = accepted(device, ids[name], start, gpu.by_name[name].size)
        assert (instance is not None) == gpu.fits(more), more
        if instance is not None:
            if number >= first:
                sets += try_each(device, ids, every, more, number + 1)
            nvml.nvmlGpuInstanceDestroy(instance)
    return sets


def rules(model: Model) -> tuple[Any, ...]:
    """What decides about a set, without the names."""
    gpu = facts(model)
    kinds = tuple((kind.size, kind.starts, kind.slices, kind.most, kind.engines) for kind in gpu.kinds)
    return gpu.units, gpu.slices, gpu.engines, kinds


DIFFERENT = tuple({rules(model): model for model in reversed(models())}.values())


@pytest.mark.parametrize("model", DIFFERENT, ids=lambda model: model.id)
def test_exactly_what_fits_is_accepted_beside_every_set(folder: Path, model: Model) -> None:
    every = cuts(facts(model))
    with driven(machine(folder, [model.id])) as sim:
        device = mig_on(0)
        ids = {name: info.id for name, info in profiles(device).items()}
        assert try_each(device, ids, every, [], 0) == len(every.sets)
        assert sim.instances(0) == ()


@pytest.mark.parametrize("model", [m for m in models() if m not in DIFFERENT], ids=lambda model: model.id)
def test_a_set_can_be_made_in_any_order(folder: Path, model: Model) -> None:
    every = cuts(facts(model))
    chance = random.Random(model.id)
    with driven(machine(folder, [model.id])) as sim:
        device = mig_on(0)
        ids = {name: info.id for name, info in profiles(device).items()}
        for instances in chance.sample(every.sets, SAMPLE):
            order = chance.sample(instances, len(instances))
            made = [create_at(device, ids[name], start, every.gpu.by_name[name].size) for name, start in order]
            assert {(there.profile, there.start) for there in sim.instances(0)} == set(instances)
            assert len({start_and_id(instance)[1] for instance in made}) == len(made), "two have the same id"
            try_each(device, ids, every, order, len(every.placements))
            for instance in made:
                nvml.nvmlGpuInstanceDestroy(instance)
