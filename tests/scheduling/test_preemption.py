"""Who is evicted for whom: the least that helps, the least important, and nobody twice."""

from __future__ import annotations

import pytest

from nos._core import GpuSpec, PodLabels, PodSelector, PodSpec, PodTerm, Requirement
from nos.mig import core_model, find
from tests.evicting import EVERYBODY, GPU, World


@pytest.fixture
def world() -> World:
    return World()


def test_the_room_is_held_until_it_is_there_and_then_the_pod_gets_it(world: World) -> None:
    world.node("n", 2)
    world.pod("low", 2, node="n")
    world.pod("high", 2, priority=10)
    world.cycle()
    assert world.evicted == {"low"}
    assert world.outcome.evictions[0].why == "priority"
    assert world.outcome.evictions[0].for_uid == "high"
    assert world.outcome.held == [("high", "n")]
    assert world.codes == {"high": "MakingRoom"}
    for _ in range(5):
        world.cycle()
        assert (world.evicted, world.outcome.held, world.outcome.binds) == ({"low"}, [("high", "n")], [])
    world.terminate("low")
    world.cycle()
    assert world.outcome.held == [("high", "n")]
    world.gone(["low"])
    world.cycle()
    assert world.bound == {"high": "n"}
    assert world.evicted == set()


def test_nobody_else_takes_the_room_that_is_held(world: World) -> None:
    """low, 2 GPUs, goes for high; small comes later, with less priority than high, and would fit in between."""
    world.node("n", 2)
    world.pod("low", 2, node="n")
    world.pod("high", 2, priority=10)
    world.cycle()
    world.pod("small", 1, priority=5)
    world.cycle()
    assert world.codes == {"high": "MakingRoom", "small": "InsufficientGpu"}
    world.gone(["low"])
    world.cycle()
    assert world.bound == {"high": "n"}
    assert world.codes == {"small": "InsufficientGpu"}


def test_nobody_goes_where_room_appears_by_itself(world: World) -> None:
    """While low is on its way out another node comes: high goes there, and low, not evicted yet, may stay."""
    world.node("n", 1)
    world.pod("low", 1, node="n")
    world.pod("high", 1, priority=10)
    world.cycle()
    assert world.evicted == {"low"}
    world.node("m", 1)
    world.cycle()
    assert world.bound == {"high": "m"}
    assert world.evicted == set()
    assert not world.cluster.pod("low").leaving


def test_equal_and_higher_priorities_are_left_alone(world: World) -> None:
    world.node("n", 2)
    world.pod("equal", 1, node="n", priority=5)
    world.pod("higher", 1, node="n", priority=6)
    world.pod("new", 1, priority=5)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"new": "InsufficientGpu"})


def test_a_pod_that_never_preempts_waits(world: World) -> None:
    world.node("n", 1)
    world.pod("low", 1, node="n")
    world.pod("polite", 1, priority=10, preempts=False)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"polite": "InsufficientGpu"})


def test_who_does_not_help_is_not_evicted(world: World) -> None:
    """A GPU is wanted: of the low ones on the node one has a GPU, the others only CPU."""
    world.node("n", 1)
    world.pod("cpu-1", node="n", spec=PodSpec({"cpu": 1000}))
    world.pod("gpu", 1, node="n")
    world.pod("cpu-2", node="n", spec=PodSpec({"cpu": 1000}))
    world.pod("high", 1, priority=10)
    world.cycle()
    assert world.evicted == {"gpu"}


def test_nothing_is_evicted_where_it_would_not_be_enough(world: World) -> None:
    """Three GPUs are wanted, two could be had: the third is somebody's of the same priority."""
    world.node("n", 3)
    world.pod("low-1", 1, node="n")
    world.pod("low-2", 1, node="n")
    world.pod("same", 1, node="n", priority=10)
    world.pod("high", 3, priority=10)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"high": "InsufficientGpu"})


def test_the_fewest_go(world: World) -> None:
    """4 GPUs are wanted: from four Pods of one each, or from one Pod of four."""
    world.node("many", 4)
    world.node("one", 4)
    for number in range(4):
        world.pod(f"small-{number}", 1, node="many")
    world.pod("large", 4, node="one")
    world.pod("high", 4, priority=10)
    world.cycle()
    assert world.evicted == {"large"}


def test_the_least_important_go_and_then_the_youngest(world: World) -> None:
    world.node("n", 3)
    world.pod("old", 1, node="n", priority=1)
    world.pod("important", 1, node="n", priority=2)
    world.pod("young", 1, node="n", priority=1)
    world.pod("high", 1, priority=10)
    world.cycle()
    assert world.evicted == {"young"}


def test_one_gpu_is_cleared_rather_than_a_part_of_each(world: World) -> None:
    """Shares: GPU 0 holds a (600), GPU 1 holds b and c (500 each). A whole GPU is wanted: a goes, one Pod, although it
    is older and so more important than b and c."""
    world.node("n", 2)
    world.pod("a", node="n", spec=PodSpec({}, gpu_share_milli=600), on=[0])
    world.pod("b", node="n", spec=PodSpec({}, gpu_share_milli=500), on=[1])
    world.pod("c", node="n", spec=PodSpec({}, gpu_share_milli=500), on=[1])
    world.pod("high", 1, priority=10)
    world.cycle()
    assert world.evicted == {"a"}


def test_three_slices_on_one_gpu_rather_than_one_on_each_of_three(world: World) -> None:
    """Three GPUs with 1g.10gb Pods of low priority: three on GPU 0 beside a 3g of high priority, one each on GPU 1 and
    2 beside Pods of high priority that fill the rest. A 3g.40gb fits on GPU 0 alone, once all three are gone."""
    model = find("h100-80gb")
    assert model
    core = core_model(model)
    gpus = [GpuSpec(core, mig=True) for _ in range(3)]
    world.node("n", 3, cut=gpus)
    small, large = PodSpec({"nvidia.com/mig-1g.10gb": 1}), PodSpec({"nvidia.com/mig-3g.40gb": 1})
    world.pod("stays-0", spec=large, node="n", priority=20, instances=[(0, "3g.40gb", 4)])
    for start in range(3):
        world.pod(f"x-{start}", spec=small, node="n", instances=[(0, "1g.10gb", start)])
    for gpu in (1, 2):
        world.pod(f"stays-{gpu}", spec=large, node="n", priority=20, instances=[(gpu, "3g.40gb", 4)])
        world.pod(f"low-{gpu}", spec=small, node="n", instances=[(gpu, "1g.10gb", 0)])
        for start in range(1, 4):
            uid = f"beside-{gpu}-{start}"
            world.pod(uid, spec=small, node="n", priority=20, instances=[(gpu, "1g.10gb", start)])
    world.pod("high", spec=large, priority=10)
    world.cycle()
    assert world.evicted == {"x-0", "x-1", "x-2"}
    world.gone(world.evicted)
    world.cycle()
    assert world.outcome.binds[0].instances == [(0, "3g.40gb", 0)]


def test_what_the_agent_still_sees_in_a_victims_hands_counts_as_free_once_it_goes(world: World) -> None:
    model = find("h100-80gb")
    assert model
    instances = [("7g.80gb", 0, True, "low")]
    world.node("n", 1, cut=[GpuSpec(core_model(model), mig=True, instances=instances)])
    spec = PodSpec({"nvidia.com/mig-7g.80gb": 1})
    world.pod("low", spec=spec, node="n", instances=[(0, "7g.80gb", 0)])
    world.pod("high", spec=spec, priority=10)
    world.cycle()
    assert world.evicted == {"low"}
    world.gone(["low"])
    world.cycle()
    assert world.bound == {}, "the agent has not seen it go"
    assert world.outcome.held == [("high", "n")]
    world.node("n", 1, cut=[GpuSpec(core_model(model), mig=True, instances=[("7g.80gb", 0, True, "")])])
    world.cycle()
    assert world.bound == {"high": "n"}


def test_budgets_are_spared_where_others_can_go_and_broken_where_nobody_else_can(world: World) -> None:
    world.node("n", 2)
    guarded = PodLabels("default", {"app": "guarded"})
    world.cluster.upsert_budget(
        "default/guard", PodSelector([Requirement("app", "In", ["guarded"])], namespaces=["default"]), 0
    )
    world.pod("older", 1, node="n")
    world.pod("guarded", 1, node="n", labels=guarded)
    world.pod("high-1", 1, priority=10)
    world.cycle()
    assert world.evicted == {"older"}
    world.pod("high-2", 1, priority=10)
    world.cycle()
    assert world.evicted == {"older", "guarded"}
    assert dict(world.outcome.held) == {"high-1": "n", "high-2": "n"}


def test_whose_eviction_was_refused_is_left_alone_for_now(world: World) -> None:
    world.node("n", 2)
    world.pod("older", 1, node="n")
    world.pod("younger", 1, node="n")
    world.pod("high", 1, priority=10)
    world.cycle()
    assert world.evicted == {"younger"}
    world.cluster.protect("younger", True)
    world.cycle()
    assert world.evicted == {"older"}
    world.cluster.protect("older", True)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"high": "InsufficientGpu"})


def test_two_preemptors_have_two_victims(world: World) -> None:
    world.node("n", 2)
    world.pod("low-1", 1, node="n")
    world.pod("low-2", 1, node="n")
    world.pod("high-1", 1, priority=10)
    world.pod("high-2", 1, priority=10)
    world.cycle()
    assert world.evicted == {"low-1", "low-2"}
    assert len({eviction.for_uid for eviction in world.outcome.evictions}) == 2


def test_after_a_restart_the_pod_finds_the_room_that_was_being_made_for_it(world: World) -> None:
    """on-m is as good a victim as on-n, and younger; but on-n is terminating, and high was nominated there."""
    for node in ("n", "m"):
        world.node(node, 1)
        world.pod(f"on-{node}", 1, node=node)
    world.terminate("on-n")
    spec = PodSpec({GPU: 1})
    world.cluster.upsert_pod("high", spec, priority=10, arrival=100, wish="n")
    world._specs["high"] = spec, 10, 100, EVERYBODY
    world._gangs["high"] = ""
    world.cycle()
    assert world.outcome.held == [("high", "n")]
    assert world.evicted == {"on-n"}, "which is on its way; nobody else is"
    world.gone(["on-n"])
    world.cycle()
    assert world.bound == {"high": "n"}


def test_the_pod_keeps_away_from_others_until_they_are_gone(world: World) -> None:
    """high must not be with Pods of app=db; db, of low priority, is on the only node with a free GPU."""
    world.node("n", 1)
    world.pod("db", spec=PodSpec({"cpu": 100}), node="n", labels=PodLabels("default", {"app": "db"}))
    term = PodTerm("kubernetes.io/hostname", PodSelector([Requirement("app", "In", ["db"])], namespaces=["default"]))
    world.pod("high", spec=PodSpec({GPU: 1}, pod_anti_affinity=[term]), priority=10)
    world.cycle()
    assert world.evicted == {"db"}
    world.gone(["db"])
    world.cycle()
    assert world.bound == {"high": "n"}


def _gang(world: World, name: str, pods: int, gpus: int, *, node: str = "", priority: int = 0, least: int = 0) -> None:
    world.cluster.upsert_gang(name, min_members=least or pods)
    for number in range(pods):
        world.pod(f"{name}-{number}", gpus, node=node and f"{node}{number}", priority=priority, gang=name)


def test_room_is_made_for_a_whole_gang_and_all_wait_for_it(world: World) -> None:
    """Three nodes of 2 GPUs, one of them free. A gang of three Pods of 2: one would fit, and waits with the others."""
    for number in range(3):
        world.node(f"n{number}", 2)
    world.pod("low-0", 2, node="n0")
    world.pod("low-1", 2, node="n1")
    _gang(world, "train", 3, 2, priority=10)
    for _ in range(5):
        world.cycle()
        assert world.evicted == {"low-0", "low-1"}
        assert sorted(node for _, node in world.outcome.held) == ["n0", "n1", "n2"]
        assert world.bound == {}
    world.gone(["low-0"])
    world.cycle()
    assert (world.bound, world.evicted) == ({}, {"low-1"})
    world.gone(["low-1"])
    world.cycle()
    assert sorted(world.bound.values()) == ["n0", "n1", "n2"]


def test_nobody_goes_for_a_gang_that_does_not_fit_all_the_same(world: World) -> None:
    """Two Pods of 2 GPUs each: room could be made for one of them."""
    world.node("n0", 2)
    world.node("n1", 2)
    world.pod("low", 2, node="n0")
    world.pod("same", 2, node="n1", priority=10)
    _gang(world, "train", 2, 2, priority=10)
    world.cycle()
    assert (world.evicted, world.outcome.held) == (set(), [])
    assert world.codes == {"train-0": "GangDoesNotFit", "train-1": "GangDoesNotFit"}
    assert not world.cluster.pod("low").leaving


def test_a_gang_goes_whole_or_not_at_all(world: World) -> None:
    """One GPU is wanted. Taking it from the gang costs all three of its Pods, from the older Pod beside it only one."""
    for number in range(3):
        world.node(f"n{number}", 1)
    world.node("m", 1)
    world.pod("older", 1, node="m")
    _gang(world, "train", 3, 1, node="n")
    world.pod("high-1", 1, priority=10)
    world.cycle()
    assert world.evicted == {"older"}
    world.pod("high-2", 1, priority=10)
    world.cycle()
    assert world.evicted == {"older", "train-0", "train-1", "train-2"}
    assert len(world.outcome.held) == 2
    world.pod("high-3", 1, priority=10)
    world.cycle()
    assert world.evicted == {"older", "train-0", "train-1", "train-2"}, "who goes in any case leaves room for high-3"
    assert len(world.outcome.held) == 3


def test_a_gang_lends_the_pods_that_it_can_do_without(world: World) -> None:
    for number in range(3):
        world.node(f"n{number}", 1)
    _gang(world, "train", 3, 1, node="n", least=2)
    world.pod("high-1", 1, priority=10)
    world.cycle()
    assert world.evicted == {"train-2"}
    world.pod("high-2", 1, priority=10)
    world.cycle()
    assert world.evicted == {"train-0", "train-1", "train-2"}


def test_a_gang_with_an_important_pod_is_left_alone(world: World) -> None:
    world.node("n0", 1)
    world.node("n1", 1)
    world.cluster.upsert_gang("train", min_members=2)
    world.pod("worker", 1, node="n0", gang="train")
    world.pod("launcher", 1, node="n1", priority=20, gang="train")
    world.pod("high", 1, priority=10)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"high": "InsufficientGpu"})


def _scattered(world: World, *, movable: bool = True) -> None:
    """Two nodes of 2 GPUs, each with one Pod of one GPU."""
    for node in ("n", "m"):
        world.node(node, 2)
        world.pod(f"on-{node}", 1, node=node, movable=movable)


def test_a_pod_moves_where_that_lets_another_one_in(world: World) -> None:
    """2 GPUs are free, one on each node; a Pod wants both on one. on-m, the younger, has its place on n."""
    _scattered(world)
    world.pod("new", 2)
    for _ in range(5):
        world.cycle()
        assert world.evicted == {"on-m"}
        assert world.outcome.evictions[0].why == "repack"
        assert world.outcome.held == [("new", "m")]
    world.gone(["on-m"])
    world.pod("on-m-again", 1, movable=True)
    world.cycle()
    assert world.bound == {"new": "m", "on-m-again": "n"}
    world.confirm()
    world.cycle()
    assert world.evicted == set()


def test_a_pod_that_is_not_movable_stays(world: World) -> None:
    _scattered(world, movable=False)
    world.pod("new", 2)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"new": "InsufficientGpu"})


def test_nobody_moves_who_would_have_no_place(world: World) -> None:
    """on-n and on-m may run on their own nodes alone."""
    for node in ("n", "m"):
        world.node(node, 2)
        spec = PodSpec({GPU: 1}, node_selector={"kubernetes.io/hostname": node})
        world.pod(f"on-{node}", spec=spec, node=node, movable=True)
    world.pod("new", 2)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"new": "InsufficientGpu"})


def test_nobody_moves_against_a_budget(world: World) -> None:
    _scattered(world)
    world.cluster.upsert_budget("default/all", PodSelector([], namespaces=["default"]), 0)
    world.pod("new", 2)
    world.cycle()
    assert world.evicted == set()


def test_a_slice_moves_so_that_a_larger_one_fits(world: World) -> None:
    """Two GPUs with a 1g.10gb in the middle of each: a 7g.80gb fits on neither. One of them moves to the other."""
    model = find("h100-80gb")
    assert model
    core = core_model(model)
    small = PodSpec({"nvidia.com/mig-1g.10gb": 1})
    world.node("n", 2, cut=[GpuSpec(core, mig=True) for _ in range(2)])
    for gpu in range(2):
        world.pod(f"on-{gpu}", spec=small, node="n", movable=True, instances=[(gpu, "1g.10gb", 3)])
    world.pod("new", spec=PodSpec({"nvidia.com/mig-7g.80gb": 1}))
    world.cycle()
    assert world.evicted == {"on-1"}
    world.gone(["on-1"])
    world.pod("on-1-again", spec=small)
    world.cycle()
    assert world.bound == {"new": "n", "on-1-again": "n"}


def test_the_choice_stays_when_a_cheaper_one_appears_and_is_forgotten_when_it_is_not_needed(world: World) -> None:
    world.node("n", 2)
    world.pod("old", 1, node="n")
    world.pod("young", 1, node="n")
    world.pod("high", 1, priority=10)
    world.cycle()
    assert world.evicted == {"young"}
    world.node("m", 1)
    world.pod("younger", 1, node="m")
    world.cycle()
    assert world.evicted == {"young"}
    world.node("free", 1)
    world.cycle()
    assert (world.bound, world.evicted) == ({"high": "free"}, set())
    world.confirm()
    world.pod("high-2", 1, priority=10)
    world.cycle()
    assert world.evicted == {"younger"}


def test_a_gang_with_a_pod_that_may_not_be_evicted_now_is_left_alone(world: World) -> None:
    world.node("n0", 1)
    world.node("n1", 1)
    _gang(world, "train", 2, 1, node="n")
    world.cluster.protect("train-1", True)
    world.pod("high", 1, priority=10)
    world.cycle()
    assert world.evicted == set()


def test_nobody_moves_any_more_when_his_place_is_gone(world: World) -> None:
    _scattered(world)
    world.pod("new", 2)
    world.cycle()
    assert world.evicted == {"on-m"}
    world.pod("intruder", 1, node="n")
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"new": "InsufficientGpu"})
