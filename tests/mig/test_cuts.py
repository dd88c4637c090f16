"""What can be cut from each of the 20 models, and how one GPU is recut, against the listing of all sets."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nos._core import GpuModel, repartition
from nos.mig import Model, core_model, find, models

from .cuts import Best, Cuts, Gpu, Kind, Placement, TooManySetsError, cuts, facts, worth

EVERY = pytest.mark.parametrize("model", models(), ids=lambda model: model.id)
# Non-empty geometries and maximal ones, as others have counted them.
COUNTS = {"a30-24gb": (19, 8), "rtxpro6000-96gb": (114, 64), "rtxpro5000-48gb": (17, 12), "rtxpro4500-32gb": (13, 9)}


def as_counts(gpu: Gpu, geometries: list[dict[str, int]]) -> set[tuple[int, ...]]:
    assert all(count > 0 for geometry in geometries for count in geometry.values())
    result = {tuple(geometry.get(kind.name, 0) for kind in gpu.kinds) for geometry in geometries}
    assert len(result) == len(geometries), "one is listed twice"
    return result


@EVERY
def test_geometries(model: Model) -> None:
    gpu, core = facts(model), core_model(model)
    every, maximal = cuts(gpu).geometries(), cuts(gpu).maximal()
    assert as_counts(gpu, core.geometries()) == every
    assert as_counts(gpu, core.geometries(maximal=True)) == maximal
    assert (len(every) - 1, len(maximal)) == COUNTS.get(model.id, (127, 44))


def test_geometries_of_plain_profiles() -> None:
    model = find("a100-40gb")
    assert model
    gpu = facts(model, plain=True)
    assert [kind.name for kind in gpu.kinds] == ["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"]
    assert len(gpu.core().geometries()) - 1 == len(cuts(gpu).geometries()) - 1 == 37
    assert len(gpu.core().geometries(maximal=True)) == len(cuts(gpu).maximal()) == 12
    assert len(cuts(gpu).sets) - 1 == 297


def check_room(listed: Cuts, core: GpuModel) -> None:
    names = [kind.name for kind in listed.gpu.kinds]
    for instances, room in zip(listed.sets, listed.room, strict=True):
        assert core.room(instances) == dict(zip(names, room.tolist(), strict=True)), instances


@EVERY
def test_room_beside_every_set(model: Model) -> None:
    check_room(cuts(facts(model)), core_model(model))


def check_plan(listed: Cuts, core: GpuModel, used: list[Placement], free: list[Placement], wanted: list[str]) -> Best:
    plan = repartition(core, used=used, free=free, wanted=wanted)
    reached = worth(listed, used, free, wanted, plan)
    assert reached == listed.best(used, free, Counter(wanted)), (used, free, wanted)
    return reached


@EVERY
def test_recut_of_every_set(model: Model) -> None:
    """Every set is used, with seeded free instances beside it and seeded wishes."""
    listed, core, random = cuts(facts(model)), core_model(model), Random(model.id)
    names = [kind.name for kind in listed.gpu.kinds]
    served = changed = 0
    for used in listed.sets * (1 + 300 // len(listed.sets)):
        beside = [one for one in random.sample(listed.sets, 20) if listed.gpu.fits([*used, *one])]
        free = list(random.choice(beside)) if beside else []
        wanted = random.choices(names, k=random.randrange(1, 6))
        best = check_plan(listed, core, list(used), free, wanted)
        served += best.instances > 0
        changed += best.changes > best.instances
    assert served > 10
    assert changed > 3, "nothing was ever destroyed: the samples are too easy"


def distinct() -> list[Model]:
    """One model of each set of rules: many have the same ones under other names."""
    found: dict[object, Model] = {}
    for model in models():
        gpu = facts(model)
        rules = [(kind.size, kind.starts, kind.slices, kind.most, kind.engines) for kind in gpu.kinds]
        found.setdefault((gpu.units, gpu.slices, tuple(rules), gpu.engines), model)
    return list(found.values())


@pytest.mark.parametrize("model", distinct(), ids=lambda model: model.id)
def test_recut_beside_every_set(model: Model) -> None:
    """All sets in use, and all wishes of up to two: nothing is sampled."""
    listed, core = cuts(facts(model)), core_model(model)
    names = [kind.name for kind in listed.gpu.kinds]
    wishes = [list(wanted) for count in (1, 2) for wanted in combinations_with_replacement(names, count)]
    for used in listed.sets:
        for wanted in wishes:
            check_plan(listed, core, list(used), [], wanted)


@EVERY
def test_recut_with_nothing_in_use(model: Model) -> None:
    """Every set is free once, on a GPU where little or nothing is used."""
    listed, core, random = cuts(facts(model)), core_model(model), Random(model.id)
    names = [kind.name for kind in listed.gpu.kinds]
    for there in listed.sets:
        used = random.sample(there, min(len(there), random.randrange(2)))
        wanted = random.choices(names, k=random.randrange(9))
        check_plan(listed, core, used, [one for one in there if one not in used], wanted)


@pytest.mark.parametrize("model_id", ["a30-24gb", "rtxpro4500-32gb", "rtxpro5000-48gb"])
def test_recut_of_every_pair(model_id: str) -> None:
    """All sets, each split in all ways into used and free, with all wishes of up to two and a seeded larger one."""
    model = find(model_id)
    assert model
    listed, core, random = cuts(facts(model)), core_model(model), Random(model_id)
    names = [kind.name for kind in listed.gpu.kinds]
    small = [list(wanted) for count in range(3) for wanted in combinations_with_replacement(names, count)]
    for there in listed.sets:
        for choice in range(1 << len(there)):
            used = [one for number, one in enumerate(there) if choice >> number & 1]
            free = [one for one in there if one not in used]
            for wanted in [*small, random.choices(names, k=random.randrange(3, 7))]:
                check_plan(listed, core, used, free, wanted)


@st.composite
def invented(draw: st.DrawFn) -> Cuts:
    """A model of any number of units, whose limits other than units bind now and then."""
    units = draw(st.sampled_from([1, 2, 3, 5, 6, 7, 9, 12, 16]))
    engines = tuple((name, draw(st.integers(0, 4))) for name in ("jpeg", "ofa")[: draw(st.integers(0, 2))])
    kinds = []
    for number in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, units))
        starts = draw(st.sets(st.integers(0, units - size), min_size=1, max_size=6))
        kinds.append(
            Kind(
                f"{number}g",
                size,
                tuple(sorted(starts)),
                draw(st.integers(0, 3)),
                draw(st.integers(1, 5)),
                tuple((name, draw(st.integers(0, 2))) for name, _ in engines),
            )
        )
    try:
        return Cuts(Gpu(units, draw(st.integers(1, 8)), tuple(kinds), engines), most=1000)
    except TooManySetsError:
        assume(False)
        raise


@settings(max_examples=150)
@given(data=st.data(), listed=invented())
def test_invented_models(data: st.DataObject, listed: Cuts) -> None:
    gpu, core = listed.gpu, listed.gpu.core()
    assert as_counts(gpu, core.geometries()) == listed.geometries()
    assert as_counts(gpu, core.geometries(maximal=True)) == listed.maximal()
    check_room(listed, core)
    there = data.draw(st.sampled_from(listed.sets))
    in_use = data.draw(st.lists(st.booleans(), min_size=len(there), max_size=len(there)))
    used = [one for one, is_used in zip(there, in_use, strict=True) if is_used]
    free = [one for one, is_used in zip(there, in_use, strict=True) if not is_used]
    wanted = data.draw(st.lists(st.sampled_from([kind.name for kind in gpu.kinds]), max_size=6))
    check_plan(listed, core, used, free, wanted)


@EVERY
def test_the_order_of_what_is_there_decides_nothing(model: Model) -> None:
    listed, core, random = cuts(facts(model)), core_model(model), Random(model.id)
    names = [kind.name for kind in listed.gpu.kinds]
    for there in random.sample(listed.sets, min(len(listed.sets), 50)):
        used, wanted = list(there[::2]), random.choices(names, k=3)
        free = [one for one in there if one not in used]
        first = repartition(core, used=used, free=free, wanted=wanted)
        second = repartition(core, used=used[::-1], free=free[::-1], wanted=wanted)
        assert (first.create, first.placed, first.unplaced) == (second.create, second.placed, second.unplaced)
        assert sorted(first.destroy) == sorted(second.destroy)


def test_misuse_is_refused() -> None:
    model = find("a100-40gb")
    assert model
    core = core_model(model)
    for used, free, wanted, message in [
        ([("1g.5gb", 0)], [("2g.10gb", 0)], [], "2g.10gb@0 cannot be on one a100-40gb with the instances named before"),
        ([("1g.5gb", 0), ("1g.5gb", 0)], [], [], "1g.5gb@0 cannot be"),
        ([("1g.5gb", 7)], [], [], "a100-40gb: 1g.5gb cannot start at 7"),
        ([("1g.5gb", 256)], [], [], "a100-40gb: 1g.5gb cannot start at 256"),
        ([], [], ["1g.10GB"], "a100-40gb has no profile 1g.10GB"),
    ]:
        with pytest.raises(ValueError, match=message):
            repartition(core, used=used, free=free, wanted=wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": 17}, "1 to 16 placement units"),
        ({"units": 0}, "1 to 16 placement units"),
        ({"kinds": ()}, "1 to 64 profiles"),
        ({"kinds": (Kind("1g", 1, (0, 0), 1, 1),)}, "starts must ascend"),
        ({"kinds": (Kind("1g", 1, (5,), 1, 1),)}, "a start is outside the GPU"),
        ({"kinds": (Kind("1g", 1, (0,), 1, 1), Kind("1g", 1, (1,), 1, 1))}, "two profiles are called 1g"),
        ({"kinds": (Kind("1g", 1, (0,), 1, 1, (("ofa", -1),)),)}, "absurd numbers"),
    ],
)
def test_models_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    shape = {"units": 5, "slices": 4, "kinds": (Kind("1g", 1, (0,), 1, 1),), "engines": (("ofa", 1),)} | change
    with pytest.raises(ValueError, match=message):
        Gpu(**shape).core()  # type: ignore[arg-type]
