"""Which nodes go, and where their Pods go: replayed step by step in the slow ledger, and against every set of nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import Cluster, NodeGroup, PodLabels, PodSelector, Removable, Requirement, ScaleDown, scale_down
from tests import worlds
from tests.cut_gpus import Spot, fits_with
from tests.oracle import GPU, Held, Ledger, core_node, core_pod, wanted_instances

prices = st.sampled_from([0, 5, 10, 10, 12, 30])


@dataclass
class World:
    """A cluster, and which of its nodes and Pods may go where."""

    cluster: Cluster = field(default_factory=Cluster)
    ledger: Ledger = field(default_factory=Ledger)
    removable: dict[str, tuple[int, str]] = field(default_factory=dict)  # price and limit, by node
    movable: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    terminating: set[str] = field(default_factory=set)
    guarded: set[str] = field(default_factory=set)  # under a budget that allows nothing
    spare: dict[str, int] = field(default_factory=dict)
    move_price: int = 0
    groups: dict[str, tuple[dict[str, Any], int, int]] = field(default_factory=dict)  # node, price and room, by id

    def solve(self, most_steps: int = 100_000) -> ScaleDown:
        """As the cluster is now; it is left as it would be."""
        return scale_down(
            self.cluster,
            [Removable(node, price=price, limit=limit) for node, (price, limit) in self.removable.items()],
            movable=self.movable,
            ignored=self.ignored,
            spare=self.spare,
            groups=[
                NodeGroup(id_, core_node(node), price=price, room=room)
                for id_, (node, price, room) in self.groups.items()
            ],
            move_price=self.move_price,
            most_steps=most_steps,
        )

    def movers(self, node: str) -> list[str]:
        stay_or_end = self.ignored | self.terminating
        return [uid for uid, held in self.ledger.pods.items() if held.node == node and uid not in stay_or_end]

    def worth(self, node: str) -> int:
        return self.removable[node][0] - self.move_price * len(self.movers(node))

    def may_go(self, node: str) -> bool:
        """If there is room elsewhere."""
        movers = self.movers(node)
        return set(movers) <= self.movable - self.guarded and (not movers or self.worth(node) > 0)

    def rebuilt(self, outcome: ScaleDown) -> World:
        """The cluster when all steps have been taken, and everybody is bound where he was to go."""
        gone = {node for step in outcome.steps for node in step.nodes}
        after = World(
            ledger=Ledger({name: node for name, node in self.ledger.nodes.items() if name not in gone}, {}),
            removable={node: of for node, of in self.removable.items() if node not in gone},
            movable=self.movable,
            ignored=self.ignored,
            terminating=self.terminating,
            guarded=self.guarded,
            spare=Counter(self.spare),
            move_price=self.move_price,
        )
        after.spare = self.spare | {
            limit: self.spare[limit] - sum(1 for node in gone if self.removable[node][1] == limit)
            for limit in self.spare
        }
        for name, node in after.ledger.nodes.items():
            after.cluster.upsert_node(name, core_node(node))
        for uid in self.ledger.pods:
            if uid in self.cluster:
                state, held = self.cluster.pod(uid), self.ledger.pods[uid]
                after.ledger.pods[uid] = Held(
                    held.pod, state.node, gpus=state.gpus, instances=state.instances, priority=held.priority
                )
                after.bind(uid)
        after.guard()
        return after

    def bind(self, uid: str) -> None:
        held = self.ledger.pods[uid]
        self.cluster.upsert_pod(
            uid,
            core_pod(held.pod),
            labels=PodLabels("", {"uid": uid}),
            priority=held.priority,
            node=held.node,
            gpus=held.gpus,
            instances=held.instances,
            terminating=uid in self.terminating,
            preempts=False,
        )

    def guard(self) -> None:
        selector = PodSelector([Requirement("uid", "In", sorted(self.guarded))], namespaces=[""])
        self.cluster.upsert_budget("guard", selector, 0)


def _fill(world: World, pods: list[tuple[dict[str, Any], int, int]]) -> None:
    """Each on one of the nodes where it fits, whichever that is: as if much had come and gone."""
    for number, (pod, priority, choice) in enumerate(pods):
        uid = f"p{number}"
        if feasible := [name for name in world.ledger.nodes if world.ledger.fits(pod, name)]:
            world.ledger.pods[uid] = held = Held(pod, feasible[choice % len(feasible)], priority=priority)
            world.bind(uid)
            held.gpus, held.instances = world.cluster.pod(uid).gpus, world.cluster.pod(uid).instances


@st.composite
def _worlds(draw: Any, nodes: Any, pods: Any, most_nodes: int = 4, most_pods: int = 10) -> World:
    world = World(move_price=draw(st.sampled_from([0, 1, 1, 4])))
    for number, node in enumerate(draw(st.lists(nodes, min_size=2, max_size=most_nodes))):
        name = f"n{number}"
        world.ledger.nodes[name] = node
        world.cluster.upsert_node(name, core_node(node))
        if draw(st.integers(0, 4)):
            world.removable[name] = draw(prices), draw(st.sampled_from(["", "", "pool"]))
    world.spare = {"pool": draw(st.integers(1, 3))}
    arrivals = st.tuples(pods, st.integers(0, 2), st.integers(0, 11))
    _fill(world, draw(st.lists(arrivals, min_size=most_pods // 2, max_size=most_pods)))
    usual = st.sampled_from(["movable"] * 16 + ["fixed", "ignored", "terminating", "guarded"])
    for uid in list(world.ledger.pods):
        kind = draw(usual)
        if kind in ("movable", "guarded"):
            world.movable.add(uid)
        if kind != "movable":
            getattr(world, kind, set()).add(uid)
        if kind == "terminating":
            world.bind(uid)
    world.guard()
    return world


def replay(world: World, outcome: ScaleDown) -> None:
    """Every step, in the slow ledger: its Pods fit where they go, beside all who are there and are to come with them.
    Then its nodes are gone, with those who go with them."""
    ledger, spent = Ledger(dict(world.ledger.nodes), dict(world.ledger.pods)), Counter[str]()
    ordered = Counter[str]()
    moved: set[str] = set()
    gone = {node for step in outcome.steps for node in step.nodes}
    for step in outcome.steps:
        movers = {uid for node in step.nodes for uid in world.movers(node)}
        assert {uid for uid, _ in step.moves} == movers
        assert len(step.moves) == len(movers)
        assert movers <= world.movable - world.guarded
        assert not movers & moved
        moved |= movers
        paid = sum(world.groups[new.group][1] for new in step.new)
        assert step.saved == sum(world.removable[node][0] for node in step.nodes) - paid
        assert not movers or step.saved > world.move_price * len(movers)
        spent.update(world.removable[node][1] for node in step.nodes)
        for new in step.new:
            ordered[new.group] += 1
            ledger.nodes[new.name] = world.groups[new.group][0]
            assert {uid for uid, node in step.moves if node == new.name}
        for uid in movers:
            held = ledger.pods[uid]
            ledger.pods[uid] = Held(held.pod, priority=held.priority)
        for uid, node in step.moves:
            held, state = ledger.pods[uid], world.cluster.pod(uid)
            assert node not in gone
            assert state.node == node
            assert ledger.fits(held.pod, node), (uid, node)
            _has_its_gpus(ledger, held, node, state)
            ledger.pods[uid] = Held(held.pod, node, gpus=state.gpus, instances=state.instances, priority=held.priority)
        for node in step.nodes:
            del ledger.nodes[node]
            for uid in [uid for uid, held in ledger.pods.items() if held.node == node]:
                assert uid in world.ignored | world.terminating
                del ledger.pods[uid]
    assert outcome.saved == sum(step.saved for step in outcome.steps)
    assert all(spent[limit] <= spare for limit, spare in world.spare.items())
    assert all(ordered[group] <= room for group, (_, _, room) in world.groups.items())
    assert [node for node, _ in outcome.kept] == [node for node in world.removable if node not in gone]
    assert all(why for _, why in outcome.kept)
    assert {uid: held.node for uid, held in ledger.pods.items()} == {
        uid: world.cluster.pod(uid).node for uid in world.ledger.pods if uid in world.cluster
    }


def _has_its_gpus(ledger: Ledger, held: Held, node: str, state: Any) -> None:
    free, share = ledger.gpu_free(node), held.pod.get("share")
    assert len(set(state.gpus)) == len(state.gpus) == (1 if share else held.pod["requests"].get(GPU, 0))
    assert all(free[slot] >= (share or 1000) for slot in state.gpus)
    gpus = ledger.nodes[node].get("gpus", [])
    assert Counter(spot[1] for spot in state.instances) == (wanted_instances(held.pod) if gpus else Counter())
    taken = [ledger.taken(node, slot) for slot in range(len(gpus))]
    for slot, *placement in state.instances:
        assert slot not in state.gpus
        assert fits_with(gpus[slot]["model"], taken[slot], (placement[0], placement[1]))
        taken[slot].append((placement[0], placement[1]))


mixed_nodes = worlds.mostly(worlds.nodes, worlds.cut_nodes)
mixed_pods = worlds.mostly(worlds.pods, worlds.profile_pods)


@given(_worlds(mixed_nodes, mixed_pods))
@settings(max_examples=150)
def test_every_pod_has_a_place_at_every_step(world: World) -> None:
    outcome = world.solve()
    world.cluster.check()
    replay(world, outcome)


@given(_worlds(worlds.cut_nodes, worlds.profile_pods))
@settings(max_examples=150)
def test_instances_are_cut_anew_where_they_go(world: World) -> None:
    outcome = world.solve()
    world.cluster.check()
    replay(world, outcome)


@given(_worlds(mixed_nodes, mixed_pods), st.integers(0, 40))
@settings(max_examples=150)
def test_a_search_that_is_cut_short_is_right_all_the_same(world: World, most_steps: int) -> None:
    outcome = world.solve(most_steps)
    world.cluster.check()
    replay(world, outcome)


@given(_worlds(mixed_nodes, mixed_pods))
@settings(max_examples=150)
def test_what_is_left_could_not_be_less(world: World) -> None:
    again = world.rebuilt(world.solve())
    assert [step.nodes for step in again.solve().steps] == []


@given(_worlds(mixed_nodes, mixed_pods))
@settings(max_examples=100)
def test_the_same_cluster_gets_the_same_answer(world: World) -> None:
    other = World(**vars(world) | {"cluster": world.cluster.copy()})
    one, two = world.solve(), other.solve()
    assert [(step.nodes, step.moves) for step in one.steps] == [(step.nodes, step.moves) for step in two.steps]
    assert one.kept == two.kept


@st.composite
def _offered(draw: Any, worlds_: Any, nodes: Any) -> World:
    """Such a world, and nodes that can be had."""
    world: World = draw(worlds_)
    for number in range(draw(st.integers(1, 3))):
        world.groups[f"g{number}"] = draw(nodes), draw(st.sampled_from([1, 4, 8, 20])), draw(st.integers(0, 2))
    return world


@given(_offered(_worlds(mixed_nodes, mixed_pods), mixed_nodes))
@settings(max_examples=150)
def test_every_pod_has_a_place_when_nodes_are_exchanged(world: World) -> None:
    outcome = world.solve()
    world.cluster.check()
    replay(world, outcome)


# ---- the optimum


def _assignments(ledger: Ledger, uids: list[str], closed: set[str]) -> Iterator[None]:
    """Every way to place these, one after another, on nodes that are not closed."""
    if not uids:
        yield None
        return
    uid, rest = uids[0], uids[1:]
    held = ledger.pods[uid]
    for name in ledger.nodes:
        if name not in closed and ledger.fits(held.pod, name):
            for gpus, instances in _ways(ledger, held.pod, name):
                ledger.pods[uid] = Held(held.pod, name, gpus=list(gpus), instances=instances)
                yield from _assignments(ledger, rest, closed)
                ledger.pods[uid] = held


def _ways(ledger: Ledger, pod: dict[str, Any], name: str) -> Iterator[tuple[tuple[int, ...], list[Spot]]]:
    """To give it its GPUs there; whole ones are all alike, if nos does not cut them."""
    if ledger.nodes[name].get("gpus"):
        yield from ledger.ways(pod, name)
    else:
        whole = [slot for slot, milli in enumerate(ledger.gpu_free(name)) if milli == 1000]
        yield tuple(whole[: pod["requests"].get(GPU, 0)]), []


def optimum(world: World) -> int:
    """What the best set of nodes is worth, of all sets and all ways to place their Pods."""
    best = 0
    nodes = [node for node in world.removable if world.may_go(node)]
    for size in range(1, len(nodes) + 1):
        for chosen in combinations(nodes, size):
            worth = sum(world.worth(node) for node in chosen)
            limits = Counter(world.removable[node][1] for node in chosen)
            if worth <= best or any(limits[limit] > spare for limit, spare in world.spare.items()):
                continue
            movers = sorted(uid for node in chosen for uid in world.movers(node))
            ledger = Ledger(world.ledger.nodes, dict(world.ledger.pods))
            for uid in movers:
                ledger.pods[uid] = Held(ledger.pods[uid].pod)
            if any(True for _ in _assignments(ledger, movers, set(chosen))):
                best = worth
    return best


def _worth(world: World, outcome: ScaleDown) -> int:
    return outcome.saved - world.move_price * sum(len(step.moves) for step in outcome.steps)


@st.composite
def _plain_pod(draw: Any) -> dict[str, Any]:
    cpu, gpus = draw(st.sampled_from([500, 1000, 1500, 2000, 3000])), draw(st.sampled_from([0, 0, 1, 2]))
    selector = draw(worlds.mostly(st.just({}), st.dictionaries(worlds.keys, worlds.values, max_size=1)))
    ports = draw(worlds.mostly(st.just([]), st.lists(worlds.ports, max_size=1)))
    return {"requests": {"cpu": cpu, GPU: gpus}, "selector": selector, "ports": ports}


@st.composite
def _plain_node(draw: Any) -> dict[str, Any]:
    return {
        "allocatable": {"cpu": 4000, "pods": draw(st.sampled_from([3, 10])), GPU: draw(st.sampled_from([0, 2, 4]))},
        "labels": draw(st.dictionaries(worlds.keys, worlds.values, max_size=2)),
    }


@given(
    _worlds(_plain_node(), _plain_pod(), most_nodes=5, most_pods=9)
    | _worlds(worlds.cut_nodes, worlds.profile_pods, most_nodes=3, most_pods=5)
)
@settings(max_examples=150)
def test_no_set_of_nodes_is_worth_more(world: World) -> None:
    """Of up to five removable nodes the answer is the optimum: no set of nodes, and no way to place their Pods, beats
    it."""
    best = optimum(world)
    assert _worth(world, world.solve()) == best


@given(_offered(_worlds(_plain_node(), _plain_pod(), most_nodes=3, most_pods=6), _plain_node()))
@settings(max_examples=150)
def test_one_node_goes_for_the_best_that_can_be_had(world: World) -> None:
    """Of one removable node it is known what is best: it goes, or for the cheapest node that helps, or stays."""
    for node in list(world.removable)[1:]:
        del world.removable[node]
    outcome = world.solve()
    best = optimum(world)
    for id_, (node, price, room) in world.groups.items():
        if room > 0:
            more = World(**vars(world) | {"ledger": Ledger(world.ledger.nodes | {id_: node}, world.ledger.pods)})
            best = max(best, optimum(more) - price)
    assert _worth(world, outcome) == best
