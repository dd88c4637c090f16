"""A model of `models.json` as the native core knows it."""

from __future__ import annotations

import msgspec

from nos._core import GpuModel, GpuProfile

from .models import Model

_made: dict[bytes, GpuModel] = {}


def core_model(model: Model) -> GpuModel:
    """All ways to cut a GPU of that model. Equal models share one, since a table is derived for each."""
    content = msgspec.json.encode(model)
    if content not in _made:
        _made[content] = _make(model)
    return _made[content]


def _make(model: Model) -> GpuModel:
    profiles = [
        GpuProfile(
            profile.name,
            size=profile.size,
            starts=profile.starts,
            compute_slices=profile.compute_slices,
            max_instances=profile.max_instances,
            memory_mib=profile.memory_mib or 0,
            engines={engine: getattr(profile.engines, engine) for engine in model.engine_totals},
        )
        for profile in model.profiles
    ]
    return GpuModel(
        model.id,
        units=model.units,
        compute_slices=model.compute_slices,
        engines=model.engine_totals,
        profiles=profiles,
    )
