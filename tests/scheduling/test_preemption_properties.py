"""Random worlds, judged by trying every set of victims on a copy."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nos._core import Cluster, PodSpec, Scheduler
from tests.evicting import GPU, World


@st.composite
def _spec(draw: Any) -> PodSpec:
    cpu = {"cpu": draw(st.sampled_from([0, 0, 1000, 2000]))}
    kind = draw(st.sampled_from(["whole", "whole", "share", "cpu"]))
    if kind == "whole":
        return PodSpec(cpu | {GPU: draw(st.sampled_from([1, 1, 2, 3]))})
    if kind == "share":
        return PodSpec(cpu, gpu_share_milli=draw(st.sampled_from([200, 500, 700])))
    return PodSpec({"cpu": draw(st.sampled_from([1000, 2000]))})


@st.composite
def _full_world(draw: Any) -> World:
    """Nodes as full as random Pods make them, all of them placed by the scheduler itself."""
    world = World()
    for number in range(draw(st.integers(1, 3))):
        world.node(f"n{number}", draw(st.integers(1, 3)), cpu=4000)
    for number in range(draw(st.integers(1, 9))):
        world.pod(f"p{number}", spec=draw(_spec()), priority=draw(st.integers(0, 2)), preempts=False)
    world.cycle()
    for uid in world.codes:
        world.cluster.remove_pod(uid)
    world.confirm()
    return world


def _fits(cluster: Cluster, without: Any, spec: PodSpec, priority: int) -> list[str]:
    copy = cluster.copy()
    for uid in without:
        copy.remove_pod(uid)
    return Scheduler(copy).feasible(spec, priority=priority)


def _ways(world: World, spec: PodSpec, priority: int) -> list[tuple[str, tuple[str, ...]]]:
    """Each node with each set of less important Pods on it without whom the Pod fits there."""
    ways = []
    for node in world.cluster.nodes():
        uids = [uid for uid in world.uids if uid in world.cluster and world.cluster.pod(uid).node == node.name]
        lower = [uid for uid in uids if world.priority(uid) < priority]
        for size in range(1, len(lower) + 1):
            ways += [
                (node.name, some)
                for some in combinations(lower, size)
                if node.name in _fits(world.cluster, some, spec, priority)
            ]
    return ways


@given(_full_world(), _spec(), st.integers(1, 3))
def test_the_best_of_all_ways(world: World, spec: PodSpec, priority: int) -> None:
    if _fits(world.cluster, (), spec, priority):
        return
    ways = _ways(world, spec, priority)
    world.pod("new", spec=spec, priority=priority)
    world.cycle()
    assert bool(world.evicted) == bool(ways), "somebody is evicted if that helps, and only then"
    if not ways:
        assert world.outcome.held == []
        return
    (_, node), victims = world.outcome.held[0], world.evicted
    for spared in victims:
        assert node not in _fits(world.cluster, victims - {spared}, spec, priority), f"{spared} could have stayed"

    def toll(uids: Any) -> tuple[int, int]:
        return max(map(world.priority, uids)), len(uids)

    best = min(toll(uids) for _, uids in ways)
    best_there = min(toll(uids) for name, uids in ways if name == node)
    assert toll(victims)[0] == best[0], "the most important victim is as unimportant as can be"
    assert toll(victims) == best_there, "and no fewer would do on that node"

    for _ in range(5):
        before = world.outcome.held, world.evicted
        world.cycle()
        assert (world.outcome.held, world.evicted) == before, "nothing flaps"
    world.gone(victims)
    world.cycle()
    assert world.bound == {"new": node}


@given(_full_world(), st.data())
def test_whatever_happens_room_that_was_made_is_used_by_whom_it_was_made_for(world: World, data: Any) -> None:
    """Preemptors come, victims go in any order, cycles come in between. Nobody is evicted for nothing."""
    evicted: set[str] = set()
    going: set[str] = set()
    for number in range(data.draw(st.integers(1, 3))):
        world.pod(f"new{number}", spec=data.draw(_spec()), priority=data.draw(st.integers(1, 3)))
    world.cycle()
    for _ in range(data.draw(st.integers(0, 8))):
        going |= world.evicted
        for victim in sorted(world.evicted - evicted):
            if data.draw(st.booleans()):
                world.terminate(victim)
                evicted.add(victim)
        if evicted and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(evicted)))
            world.gone([gone])
            evicted.discard(gone)
            going.discard(gone)
        world.cycle()
        world.confirm()
    while world.outcome.evictions or evicted:
        world.gone(world.evicted | evicted)
        evicted.clear()
        world.cycle()
        world.confirm()
    assert world.outcome.held == []
    world.cluster.check()
