"""What people write about one GPU: `1g.10gb@0,2g.20gb@2` for instances, `3g.40gb,1g.10gb` for wishes.

Profiles are taken as NVML names them (`1g.10gb+me`) and as resources do (`1g.10gb.me`). All else that is not exact is
refused, with the argument, the part of it that is wrong, and what would be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from nos._core import repartition

from .core import core_model
from .models import Model, Profile, find, models, recognize

Placement = tuple[str, int]  # a profile's name and its start unit


class RequestError(Exception):
    """What was written cannot be; the message is one line for who wrote it."""


def model_of(text: str, argument: str = "--model") -> Model:
    """The model with that id."""
    if model := find(text):
        return model
    by_name = recognize(text)
    known = [model.id for model in models()]
    begins = [model_id for model_id in known if text and model_id.startswith(text.lower())]
    ids = [by_name.id] if by_name else begins or get_close_matches(text.lower(), known)
    remedy = f"did you mean {' or '.join(ids)}?" if ids else "nos mig models lists all"
    raise RequestError(f"{argument}: there is no GPU model {text!r}; {remedy}")


def wishes_of(model: Model, text: str, argument: str = "--want") -> list[str]:
    """Profiles by name, as often as they are wanted."""
    wishes = []
    for part in _parts(text, argument):
        name, at, _ = part.partition("@")
        profile = _profile(model, name, part, argument)
        if at:
            raise RequestError(f"{argument}: {part!r} names a start; write {profile.name}: the plan says where")
        wishes.append(profile.name)
    return wishes


def instances_of(model: Model, text: str, argument: str, beside: Sequence[Placement] = ()) -> list[Placement]:
    """Instances that can be together with those beside them. Blank text names none."""
    found: list[Placement] = []
    for part in _parts(text, argument) if text.strip() else ():
        instance = _instance(model, part, argument)
        _check_room(model, instance, [*beside, *found], part, argument)
        found.append(instance)
    return found


def _parts(text: str, argument: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    for number, part in enumerate(parts, 1):
        if not part:
            where = f"part {number} of {text!r}" if len(parts) > 1 else repr(text)
            raise RequestError(f"{argument}: {where} is empty; separate parts by one comma, such as 1g.10gb,2g.20gb")
    return parts


def _profile(model: Model, name: str, part: str, argument: str) -> Profile:
    for profile in model.profiles:
        if name in (profile.name, profile.name.replace("+", ".")):
            return profile
    names = ", ".join(profile.name for profile in model.profiles)
    raise RequestError(f"{argument}: {part!r} is no profile of {model.id}; it has {names}")


def _instance(model: Model, part: str, argument: str) -> Placement:
    name, at, start = part.partition("@")
    profile = _profile(model, name, part, argument)
    starts = ", ".join(map(str, profile.starts))
    if not at:
        raise RequestError(
            f"{argument}: {part!r} does not say where it is; write {profile.name}@START, its starts are {starts}"
        )
    if start not in map(str, profile.starts):
        raise RequestError(f"{argument}: {part!r} cannot be; {profile.name} starts at {starts}")
    return profile.name, int(start)


def _check_room(model: Model, instance: Placement, there: Sequence[Placement], part: str, argument: str) -> None:
    taken = units(model, instance)
    for other in there:
        if other == instance:
            raise RequestError(f"{argument}: {part!r} is named twice; an instance is either used or free, once")
        if shared := sorted(taken & units(model, other)):
            raise RequestError(
                f"{argument}: {part!r} overlaps {other[0]}@{other[1]} at unit {shared[0]}; leave one of them out"
            )
    # Of the same units no two; what else stops it is a limit of the model, and the core can say which.
    refused = repartition(core_model(model), used=there, free=[], wanted=[instance[0]]).unplaced
    if refused:
        raise RequestError(f"{argument}: {part!r} cannot be beside those before it; {refused[0][1]}")


def units(model: Model, instance: Placement) -> set[int]:
    """The units that an instance covers."""
    profile = model.profile(instance[0])
    assert profile
    return set(range(instance[1], instance[1] + profile.size))
