"""Moving what runs: as few as can be on small clusters, by CP-SAT; fewer than a plain rule on large ones."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import GpuModel, PackedGpu, Repack, repack
from nos.mig import core_model, find

from .cuts import Cuts, Gpu, Kind, Placement, cuts, facts
from .moves import Packed, Packing, best, check, plain_rule

THOROUGH = 20_000_000
SMALL = ["a30-24gb", "a100-40gb", "a100-80gb", "rtxpro6000-96gb"]
CUT_SHORT = "may fit, but the search for what to move was cut short"
TOO_MUCH = "fits, but not together with what is wanted before it and would have to move"


def facts_of(model_id: str) -> tuple[Gpu, GpuModel]:
    model = find(model_id)
    assert model
    return facts(model), core_model(model)


def run(cluster: list[tuple[Packed, GpuModel]], wanted: list[str], **options: int) -> tuple[Packing, Repack]:
    gpus = [PackedGpu(core, fixed=packed.fixed, movable=packed.movable) for packed, core in cluster]
    plan = repack(gpus, wanted, **options)
    return check([packed for packed, _ in cluster], wanted, plan), plan


def split(random: Random, instances: tuple[Placement, ...], share_fixed: float) -> dict[str, tuple[Placement, ...]]:
    fixed = tuple(one for one in instances if random.random() < share_fixed)
    return {"fixed": fixed, "movable": tuple(one for one in instances if one not in fixed)}


def seeded(random: Random, count: int, share_fixed: float, *model_ids: str) -> list[tuple[Packed, GpuModel]]:
    """GPUs that are cut at random, rather full."""
    cluster = []
    for _ in range(count):
        gpu, core = facts_of(random.choice(model_ids))
        instances = max(random.choices(cuts(gpu).sets, k=3), key=lambda one: sum(gpu.by_name[n].size for n, _ in one))
        cluster.append((Packed(gpu, **split(random, instances, share_fixed)), core))
    return cluster


def check_reasons(cluster: list[Packed], wanted: list[str], reached: Packing, plan: Repack) -> None:
    """A refusal that names moves is of a profile that fits beside the fixed ones, and any other is true of a GPU."""
    for wish, reason in plan.unplaced:
        name = wanted[wish]
        fits = any(
            packed.gpu.fits([*packed.fixed, (name, start)])
            for packed in cluster
            if name in packed.gpu.by_name
            for start in packed.gpu.by_name[name].starts
        )
        assert fits == (reason in (f"{name} {TOO_MUCH}", f"{name} {CUT_SHORT}")), reason
        assert not plan.exact or reason != f"{name} {CUT_SHORT}"
    assert len(reached.served) + len(plan.unplaced) == len(wanted)


@pytest.mark.parametrize("model_id", SMALL)
def test_best_on_small_clusters(model_id: str) -> None:
    random, moved, refused = Random(model_id), 0, 0
    for _ in range(35):
        cluster = seeded(random, random.randrange(1, 5), random.choice([0, 0.2]), model_id)
        names = [kind.name for kind in cluster[0][0].gpu.kinds]
        wanted = random.choices(names, k=random.randrange(1, 4))
        reached, plan = run(cluster, wanted, most_steps=THOROUGH)
        assert plan.exact
        assert reached == best([packed for packed, _ in cluster], wanted), (cluster, wanted)
        check_reasons([packed for packed, _ in cluster], wanted, reached, plan)
        moved += reached.moves > 0
        refused += bool(plan.unplaced)
    assert moved > 1
    assert refused > 5


def test_best_on_mixed_clusters() -> None:
    """1g.10gb takes one unit of an A100-80GB and two of an A100-40GB: moving it makes room."""
    random, moved, proven = Random(7), 0, 0
    for _ in range(40):
        cluster = seeded(random, random.randrange(2, 5), 0.1, "a100-40gb", "a100-80gb")
        wanted = random.choices(["1g.10gb", "2g.10gb", "2g.20gb", "3g.20gb", "3g.40gb", "7g.80gb"], k=2)
        reached, plan = run(cluster, wanted)
        optimum = best([packed for packed, _ in cluster], wanted)
        if plan.exact:
            assert reached == optimum, (cluster, wanted)
        elif reached.served == optimum.served:
            assert reached.moves >= optimum.moves
        moved += reached.moves > 0
        proven += plan.exact
    assert moved > 5
    assert proven > 35


@st.composite
def invented(draw: st.DrawFn) -> tuple[list[Packed], list[str]]:
    """Small GPUs of a model that no data knows, with engines and scarce profiles."""
    size = draw(st.integers(1, 6))
    kinds = []
    for number in range(draw(st.integers(1, 3))):
        units = draw(st.integers(1, size))
        starts = draw(st.sets(st.integers(0, size - units), min_size=1, max_size=4))
        engines = (("ofa", draw(st.integers(0, 1))),)
        slices, most = draw(st.integers(0, 2)), draw(st.integers(1, 3))
        kinds.append(Kind(f"{number}g", units, tuple(sorted(starts)), slices, most, engines))
    gpu = Gpu(size, draw(st.integers(1, 5)), tuple(kinds), (("ofa", draw(st.integers(0, 2))),))
    sets = Cuts(gpu).sets
    random = draw(st.randoms(use_true_random=False))
    cluster = [Packed(gpu, **split(random, draw(st.sampled_from(sets)), 0.2)) for _ in range(draw(st.integers(1, 3)))]
    return cluster, draw(st.lists(st.sampled_from([kind.name for kind in kinds]), min_size=1, max_size=3))


@settings(max_examples=150)
@given(case=invented())
def test_best_on_invented_models(case: tuple[list[Packed], list[str]]) -> None:
    cluster, wanted = case
    core = cluster[0].gpu.core()
    reached, plan = run([(packed, core) for packed in cluster], wanted)
    assert plan.exact
    assert reached == best(cluster, wanted)
    check_reasons(cluster, wanted, reached, plan)


@settings(max_examples=60)
@given(case=invented(), most_steps=st.integers(0, 12))
def test_exact_is_true_however_short_the_search(case: tuple[list[Packed], list[str]], most_steps: int) -> None:
    """Whatever is found with few steps can be done; and where it says that nothing is better, nothing is."""
    cluster, wanted = case
    core = cluster[0].gpu.core()
    reached, plan = run([(packed, core) for packed in cluster], wanted, most_steps=most_steps)
    check_reasons(cluster, wanted, reached, plan)
    optimum = best(cluster, wanted)
    if plan.exact:
        assert reached == optimum
    elif reached.served == optimum.served:
        assert reached.moves >= optimum.moves


def test_exact_is_false_where_the_search_was_cut_short() -> None:
    random = Random(3)
    cluster = seeded(random, 30, 0.2, "a100-80gb")
    wanted = random.choices(["3g.40gb", "4g.40gb", "7g.80gb"], k=12)
    assert not run(cluster, wanted, most_steps=10)[1].exact


@pytest.mark.parametrize(("gpus", "wishes", "seeds"), [(12, 4, 8), (40, 12, 3), (60, 20, 1)])
def test_better_than_a_plain_rule_on_large_clusters(gpus: int, wishes: int, seeds: int) -> None:
    """It serves no fewer of the wishes, and those with no more moves; over all, with clearly fewer or more served."""
    gained = 0
    for seed in range(seeds):
        random = Random(seed)
        cluster = seeded(random, gpus, 0.2, "a100-80gb")
        wanted = random.choices(["2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"], k=wishes)
        reached, plan = run(cluster, wanted)
        plain = plain_rule([packed for packed, _ in cluster], wanted)
        check_reasons([packed for packed, _ in cluster], wanted, reached, plan)
        assert len(reached.served) >= len(plain.served), seed
        if reached.served == plain.served:
            assert reached.moves <= plain.moves, seed
        gained += len(reached.served) - len(plain.served) + (reached.moves < plain.moves)
    assert gained > 0


def test_the_order_of_gpus_of_one_content_decides_nothing() -> None:
    random = Random(11)
    cluster = seeded(random, 6, 0.2, "a100-80gb")
    wanted = ["7g.80gb", "3g.40gb", "2g.20gb"]
    first, _ = run(cluster, wanted)
    for _ in range(5):
        random.shuffle(cluster)
        assert run(cluster, wanted)[0] == first


def test_a_chain_of_moves() -> None:
    """The 4g starts at 0 only, where a 3g is; that goes where a 2g is, which goes to the other GPU."""
    gpu, core = facts_of("a100-80gb")
    cluster = [
        (Packed(gpu, movable=(("3g.40gb", 0), ("2g.20gb", 4))), core),
        (Packed(gpu, fixed=(("1g.10gb", 0), ("3g.40gb", 4)), movable=()), core),
    ]
    reached, plan = run(cluster, ["4g.40gb"])
    # 7 slices of 7 on the first GPU then; 1 + 3 + 2 of 7 on the second, where the 2g starts at 2.
    assert reached == Packing(served=(0,), moves=2)
    assert plan.placed == [(0, (0, "4g.40gb", 0))]
    assert plan.moves == [((0, "2g.20gb", 4), (1, "2g.20gb", 2)), ((0, "3g.40gb", 0), (0, "3g.40gb", 4))]


def test_misuse_is_refused() -> None:
    _, core = facts_of("a100-80gb")
    with pytest.raises(ValueError, match="the instances on GPU 1 cannot be together"):
        repack([PackedGpu(core), PackedGpu(core, fixed=[("7g.80gb", 0)], movable=[("1g.10gb", 0)])], ["1g.10gb"])
    with pytest.raises(ValueError, match=r"a100-80gb: 3g\.40gb cannot start at 1"):
        repack([PackedGpu(core, movable=[("3g.40gb", 1)])], [])
    # Of a profile that none knows it says so: some Pods want what only other clusters have.
    assert repack([PackedGpu(core)], ["1g.5gb"]).unplaced == [(0, "no GPU knows the profile 1g.5gb")]
    assert repack([], ["1g.5gb"]).unplaced == [(0, "no GPU knows the profile 1g.5gb")]
