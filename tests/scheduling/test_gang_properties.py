"""Gangs in random worlds: never a part of one, everybody where he has to be; and started whenever that is possible."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import Cluster, GpuSpec, NodeSpec, PodSpec, Requirement, Scheduler, SelectorTerm, Taint, Toleration
from tests import worlds
from tests.build import GPU
from tests.cut_gpus import MODELS
from tests.oracle import core_node, core_pod
from tests.sentences import assert_sentences

RACK = "rack"


def _world(draw: Any) -> dict[str, Any]:
    """Nodes in racks, some cut, some tainted; gangs and single Pods of all kinds."""
    nodes = []
    for node in draw(st.lists(worlds.mostly(worlds.nodes, worlds.cut_nodes), min_size=1, max_size=4)):
        rack = draw(st.sampled_from(["", "r0", "r1"]))
        labels = {**node.get("labels", {}), **({RACK: rack} if rack else {})}
        allocatable = {**node["allocatable"], "cpu": 8000, "memory": 64}
        nodes.append({**node, "labels": labels, "allocatable": allocatable})
    return {"nodes": nodes}


gang_specs = st.fixed_dictionaries(
    {"min_members": st.integers(0, 4), "topology_key": st.sampled_from(["", RACK, RACK]), "required": st.booleans()}
)
members = st.lists(
    st.tuples(
        worlds.mostly(worlds.pods, worlds.profile_pods),
        st.sampled_from(["", "g", "g", "g", "h", "unknown"]),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    max_size=10,
)


def upsert_gang(cluster: Cluster, name: str, gang: dict[str, Any]) -> None:
    cluster.upsert_gang(name, **{**gang, "required": gang["required"] and bool(gang["topology_key"])})


def hold(cluster: Cluster, world: dict[str, Any], gangs: dict[str, dict[str, Any]], outcome: Any) -> None:
    """What is true after any cycle."""
    cluster.check()
    bound = {bind.uid for bind in outcome.binds}
    waiting = dict(outcome.waiting)
    assert not bound & waiting.keys()
    for reason in waiting.values():
        assert_sentences(reason.message)
    rack = {f"n{index}": node["labels"].get(RACK) for index, node in enumerate(world["nodes"])}
    for name in ("g", "h", "unknown"):
        try:
            state = cluster.gang(name)
        except KeyError:
            continue
        new = [uid for uid in state.members if uid in bound]
        left = [uid for uid in state.members if uid in waiting]
        if name not in gangs:
            assert not new
            assert all(waiting[uid].code == "GangTooSmall" for uid in left)
            continue
        assert not new or state.placed >= gangs[name]["min_members"]
        if state.placed < gangs[name]["min_members"]:
            codes = {waiting[uid].code for uid in left}
            enough = state.placed + len(left) >= gangs[name]["min_members"]
            assert codes <= {"GangDoesNotFit" if enough else "GangTooSmall"}
            assert len({id(waiting[uid]) for uid in left} | {waiting[uid].message for uid in left}) <= 2
        if gangs[name]["required"] and gangs[name]["topology_key"] and new:
            assert {rack[cluster.pod(uid).node] for uid in new} <= {"r0", "r1"}
            assert len({rack[cluster.pod(uid).node] for uid in new}) == 1
            home = [rack[cluster.pod(uid).node] for uid in state.members if cluster.pod(uid).node and uid not in new]
            assert not any(home) or rack[cluster.pod(new[0]).node] in home


@given(st.composite(_world)(), st.dictionaries(st.sampled_from(["g", "h"]), gang_specs), members, members, st.data())
@settings(max_examples=400, deadline=None)
def test_no_cycle_leaves_a_part_of_a_gang(world, gangs, first, later, data):
    cluster = Cluster()
    for index, node in enumerate(world["nodes"]):
        cluster.upsert_node(f"n{index}", core_node(node))
    for name, gang in gangs.items():
        upsert_gang(cluster, name, gang)
    scheduler = Scheduler(cluster)
    for prefix, arrivals in (("u", first), ("v", later)):
        for index, (pod, gang, priority, arrival) in enumerate(arrivals):
            cluster.upsert_pod(f"{prefix}{index}", core_pod(pod), priority=priority, arrival=arrival, gang=gang)
        fresh = Scheduler(cluster.copy()).schedule()
        outcome = scheduler.schedule()
        hold(cluster, world, gangs, outcome)
        assert [(b.uid, b.node, b.gpus, b.instances) for b in outcome.binds] == [
            (b.uid, b.node, b.gpus, b.instances) for b in fresh.binds
        ]
        assert scheduler.schedule().binds == []
        there = [f"{prefix}{index}" for index in range(len(arrivals))]
        for uid in data.draw(st.lists(st.sampled_from(there), unique=True)) if there else []:
            cluster.remove_pod(uid)
        for name in data.draw(st.lists(st.sampled_from(["g", "h"]), unique=True)):
            gangs[name] = data.draw(gang_specs)
            upsert_gang(cluster, name, gangs[name])


# ---- against an exhaustive search


def _whole(draw: Any) -> dict[str, Any]:
    """One gang of Pods with one number of GPUs each; who may go where differs."""
    size = draw(st.sampled_from([1, 1, 2]))
    nodes = [
        {
            "gpus": draw(st.integers(0, 4)),
            "kind": draw(st.sampled_from("abc")),
            "rack": draw(st.sampled_from(["", "r0", "r1"])),
        }
        for _ in range(draw(st.integers(1, 4)))
    ]
    kinds = st.sampled_from(["ab", "bc", "ac", "ab", "bc", "ac", "a", "b", "c", "abc"])
    pods = draw(st.lists(st.sampled_from(draw(st.lists(kinds, min_size=1, max_size=3))), min_size=1, max_size=7))
    return {
        "size": size,
        "nodes": nodes,
        "pods": pods,
        "tainted": draw(st.sampled_from(["", "a"])),
        "min": max(1, len(pods) - draw(st.sampled_from([0, 0, 0, 1, 2]))),
        "key": draw(st.sampled_from(["", RACK])),
    }


def most_members(world: dict[str, Any], rack: str | None) -> int:
    """How many fit at once, by trying everything: member by member into each node, or nowhere."""
    nodes = [node for node in world["nodes"] if rack is None or node["rack"] == rack]

    def most(index: int, room: tuple[int, ...]) -> int:
        if index == len(world["pods"]):
            return 0
        best = most(index + 1, room)
        for number, node in enumerate(nodes):
            if room[number] > 0 and node["kind"] in world["pods"][index]:
                rest = tuple(free - (other == number) for other, free in enumerate(room))
                best = max(best, 1 + most(index + 1, rest))
        return best

    return most(0, tuple(node["gpus"] // world["size"] for node in nodes))


@given(st.composite(_whole)())
@settings(max_examples=800, deadline=None)
def test_a_gang_of_equal_pods_starts_whenever_it_can(world):
    cluster = Cluster()
    for index, one in enumerate(world["nodes"]):
        labels = {"kind": one["kind"], **({RACK: one["rack"]} if one["rack"] else {})}
        taints = [Taint("kind", "", "NoSchedule")] if one["kind"] == world["tainted"] else []
        room = {"cpu": 64_000, "memory": 1 << 40, "pods": 110, GPU: one["gpus"]}
        cluster.upsert_node(f"n{index}", NodeSpec(room, labels=labels, taints=taints))
    cluster.upsert_gang("g", min_members=world["min"], topology_key=world["key"], required=bool(world["key"]))
    for index, kinds in enumerate(world["pods"]):
        spec = PodSpec(
            {"cpu": 10, GPU: world["size"]},
            affinity=[SelectorTerm([Requirement("kind", "In", list(kinds))])],
            tolerations=[Toleration("kind", "Exists")] if world["tainted"] in kinds else [],
        )
        cluster.upsert_pod(f"u{index}", spec, arrival=index, gang="g")
    racks = {one["rack"] for one in world["nodes"]} - {""} if world["key"] else {None}
    possible = max((most_members(world, rack) for rack in racks), default=0)
    outcome = Scheduler(cluster).schedule()
    cluster.check()
    if possible >= world["min"]:
        assert world["min"] <= len(outcome.binds) <= possible
    else:
        assert outcome.binds == []


@given(st.composite(_world)(), st.dictionaries(st.sampled_from(["g", "h"]), gang_specs), members, st.randoms())
@settings(max_examples=200, deadline=None)
def test_the_order_of_events_changes_nothing(world, gangs, arrivals, random):
    """Nodes have their order: of equal ones the first is taken."""

    def decide(shuffle: bool) -> list[tuple[str, str]]:
        cluster = Cluster()
        for index, node in enumerate(world["nodes"]):
            cluster.upsert_node(f"n{index}", core_node(node))
        events = [("gang", name, gang) for name, gang in gangs.items()]
        events += [("pod", f"u{index}", pod) for index, pod in enumerate(arrivals)]
        if shuffle:
            random.shuffle(events)
        for kind, name, fact in events:
            if kind == "gang":
                upsert_gang(cluster, name, fact)
            else:
                pod, gang, priority, arrival = fact
                cluster.upsert_pod(name, core_pod(pod), priority=priority, arrival=arrival, gang=gang)
        outcome = Scheduler(cluster).schedule()
        return [(bind.uid, bind.node) for bind in outcome.binds] + [(uid, why.message) for uid, why in outcome.waiting]

    assert decide(False) == decide(True)


# ---- MIG


@given(
    st.lists(st.sampled_from(["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"]), min_size=1, max_size=6),
    st.integers(1, 2),
    st.sampled_from(["", RACK]),
    st.lists(st.sampled_from(["1g.5gb", "2g.10gb", "3g.20gb"]), max_size=3),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_slices_of_a_gang_are_there_together_however_others_are_planned(profiles, gpus, key, others, last):
    """Also after the instances of the cycle were placed once more, for the sake of others."""
    cluster = Cluster()
    for index, rack in enumerate(["r0", "r1", "r1"]):
        slots = [GpuSpec(MODELS["a100-40gb"].core, mig=True) for _ in range(gpus)]
        room = {"cpu": 64_000, "memory": 1 << 40, "pods": 110, GPU: gpus}
        cluster.upsert_node(f"n{index}", NodeSpec(room, labels={RACK: rack}, gpus=slots))
    cluster.upsert_gang("g", min_members=len(profiles), topology_key=key, required=bool(key))
    for index, profile in enumerate(profiles):
        cluster.upsert_pod(f"g{index}", PodSpec({f"nvidia.com/mig-{profile}": 1}), arrival=5, gang="g")
    for index, profile in enumerate(others * 4):
        spec = PodSpec({f"nvidia.com/mig-{profile}": 1})
        cluster.upsert_pod(f"o{index}", spec, arrival=9 if last else index)
    outcome = Scheduler(cluster).schedule()
    cluster.check()
    state = cluster.gang("g")
    assert state.placed in (0, len(profiles))
    if key and state.placed:
        assert len({cluster.pod(uid).node == "n0" for uid in state.members}) == 1
    assert len(outcome.binds) + len(outcome.waiting) == len(profiles) + 4 * len(others)
