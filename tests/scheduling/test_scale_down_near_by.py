"""Pods that look at each other, and gangs, leave nodes: replayed step by step in the slow judge of who is near whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import Cluster, Removable, ScaleDown, scale_down
from tests import worlds
from tests.near_by_oracle import NearBy, core_labels, core_spec
from tests.oracle import Held, core_node


@dataclass
class World:
    """All Pods may be moved, and most nodes may go."""

    cluster: Cluster = field(default_factory=Cluster)
    judge: NearBy = field(default_factory=NearBy)
    removable: list[str] = field(default_factory=list)
    gangs: dict[str, int] = field(default_factory=dict)  # how many each needs
    gang_of: dict[str, str] = field(default_factory=dict)  # by uid

    def solve(self) -> ScaleDown:
        removable = [Removable(node, price=10 + number) for number, node in enumerate(self.removable)]
        found = scale_down(self.cluster, removable, movable=self.judge.pods.keys(), move_price=1)
        self.cluster.check()
        return found


@st.composite
def crowds(draw: Any) -> World:
    """Each Pod on a node where the judge lets it be, at that moment; some of them in one of two gangs."""
    world = World(gangs={"g": draw(st.integers(1, 3)), "h": draw(st.integers(1, 2))})
    for name, least in world.gangs.items():
        world.cluster.upsert_gang(name, min_members=least)
    for number, node in enumerate(draw(st.lists(worlds.places, min_size=2, max_size=5))):
        name = f"n{number}"
        world.judge.nodes[name] = node
        world.cluster.upsert_node(name, core_node(node))
        if draw(st.integers(0, 4)):
            world.removable.append(name)
    gangs = worlds.mostly(st.just(""), st.sampled_from(["g", "h"]))
    for number in range(draw(st.integers(3, 9))):
        uid, pod = f"p{number}", draw(worlds.neighbours) | {"terminating": False}
        choice, gang = draw(st.integers(0, 11)), draw(gangs)
        if feasible := sorted(world.judge.feasible(pod)):
            node = feasible[choice % len(feasible)]
            world.judge.pods[uid] = Held(pod, node)
            if gang:
                world.gang_of[uid] = gang
            world.cluster.upsert_pod(uid, core_spec(pod), labels=core_labels(pod), node=node, gang=gang)
    return world


def places_all(judge: NearBy, todo: dict[str, str]) -> bool:
    """Whether some order of them does; they have their places then."""
    for uid, node in todo.items():
        if judge.has_place(judge.pods[uid].pod, node):
            judge.pods[uid].node = node
            if places_all(judge, {other: place for other, place in todo.items() if other != uid}):
                return True
            judge.pods[uid].node = ""
    return not todo


def replay(world: World, found: ScaleDown) -> None:
    """Who leaves in one step finds places one after another, in some order, while the nodes are still there."""
    judge = world.judge
    for step in found.steps:
        movers = {uid for uid, held in judge.pods.items() if held.node in step.nodes}
        assert {uid for uid, _ in step.moves} == movers
        all_of = Counter(world.gang_of.values())
        leaving = Counter(world.gang_of[uid] for uid in movers if uid in world.gang_of)
        for gang, count in leaving.items():
            assert count == all_of[gang] or all_of[gang] - count >= world.gangs[gang], gang
        for uid in movers:
            judge.pods[uid] = Held(judge.pods[uid].pod)
        assert places_all(judge, dict(step.moves)), step.moves
        for node in step.nodes:
            del judge.nodes[node]
    assert {uid: held.node for uid, held in judge.pods.items()} == {
        uid: world.cluster.pod(uid).node for uid in judge.pods
    }


@given(crowds())
@settings(max_examples=400)
def test_neighbours_and_gangs_have_their_places_at_every_step(world: World) -> None:
    replay(world, world.solve())
