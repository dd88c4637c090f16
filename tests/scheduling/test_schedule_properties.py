"""What a cycle decides, against a slow filter that counts everything anew."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import Cluster, PodLabels, PodSelector, PodSpec, PodTerm, Policy, Requirement, Scheduler
from tests import worlds
from tests.cut_gpus import fits_with
from tests.oracle import Held, Ledger, core_node, core_pod, wanted_instances
from tests.sentences import assert_sentences

node_lists = st.lists(worlds.nodes, min_size=1, max_size=4)
mixed_nodes = st.lists(worlds.mostly(worlds.cut_nodes, worlds.nodes), min_size=1, max_size=3)
arrivals = st.lists(st.tuples(worlds.pods, st.integers(0, 2), st.integers(0, 3)), max_size=12)
mixed_arrivals = st.lists(
    st.tuples(worlds.mostly(worlds.profile_pods, worlds.pods), st.integers(0, 2), st.integers(0, 3)),
    max_size=10,
)
scores = st.sampled_from(["nos", "fgd", "best-fit", "first-fit"])


def build(
    nodes: list[dict[str, Any]], pods: list[tuple[dict[str, Any], int, int]], prefix: str = "u"
) -> tuple[Cluster, Ledger]:
    cluster, ledger = Cluster(), Ledger()
    for index, node in enumerate(nodes):
        cluster.upsert_node(f"n{index}", core_node(node))
        ledger.nodes[f"n{index}"] = node
    for index, (pod, priority, arrival) in enumerate(pods):
        cluster.upsert_pod(f"{prefix}{index}", core_pod(pod), priority=priority, arrival=arrival)
        ledger.pods[f"{prefix}{index}"] = Held(pod, priority=priority, arrival=arrival)
    return cluster, ledger


def follow(outcome: Any, ledger: Ledger) -> None:
    """Every Pod in its turn: it fits where it was put, and fits nowhere when it was left; where instances may have been
    placed anew for the sake of later ones, at the end."""
    binds = {bind.uid: bind for bind in outcome.binds}
    left = dict(outcome.waiting)
    assert binds.keys() | left.keys() == set(ledger.order())
    assert not binds.keys() & left.keys()
    for reason in left.values():
        assert_sentences(reason.message)
    in_turn = not any(bind.instances for bind in outcome.binds)
    for uid in ledger.order():
        held = ledger.pods[uid]
        feasible = [name for name in ledger.nodes if ledger.fits(held.pod, name)]
        if uid in left:
            assert not feasible or not in_turn, uid
            assert left[uid].message
            continue
        bind = binds[uid]
        assert bind.node in feasible
        free = ledger.gpu_free(bind.node)
        share = held.pod.get("share")
        assert len(bind.gpus) == (1 if share else held.pod["requests"].get("nvidia.com/gpu", 0))
        assert len(set(bind.gpus)) == len(bind.gpus)
        assert all(free[slot] >= (share or 1000) for slot in bind.gpus)
        follow_instances(bind, held, ledger)
        held.node, held.gpus, held.instances = bind.node, bind.gpus, bind.instances
    for uid in left:
        assert not [name for name in ledger.nodes if ledger.fits(ledger.pods[uid].pod, name)], uid


def follow_instances(bind: Any, held: Held, ledger: Ledger) -> None:
    """They are those that it asks for, each beside those that are there."""
    gpus = ledger.nodes[bind.node].get("gpus", [])
    assert Counter(spot[1] for spot in bind.instances) == (wanted_instances(held.pod) if gpus else Counter())
    taken = [ledger.taken(bind.node, slot) for slot in range(len(gpus))]
    free = ledger.gpu_free(bind.node)
    for slot, *placement in bind.instances:
        assert gpus[slot]["healthy"]
        assert slot not in bind.gpus
        assert taken[slot] or free[slot] == 1000
        assert fits_with(gpus[slot]["model"], taken[slot], tuple(placement))
        taken[slot].append(tuple(placement))


@given(mixed_nodes, mixed_arrivals, scores)
@settings(max_examples=400)
def test_whoever_can_be_placed_without_moving_anything_is_placed(nodes, pods, score):
    cluster, ledger = build(nodes, pods, "new")  # nobody sees them hold anything yet
    outcome = Scheduler(cluster, Policy(score)).schedule()
    cluster.check()
    follow(outcome, ledger)


@given(mixed_nodes, mixed_arrivals)
@settings(max_examples=200, deadline=None)
def test_planned_together_serves_all_that_one_after_another_serves(nodes, pods):
    cluster, ledger = build(nodes, pods, "new")
    one_by_one = cluster.copy()
    scheduler = Scheduler(one_by_one)
    served = {uid for uid in ledger.order() if scheduler.place(uid)}
    assert served <= {bind.uid for bind in Scheduler(cluster).schedule().binds}


@given(node_lists, arrivals, scores)
@settings(max_examples=400)
def test_each_pod_in_its_turn_is_placed_where_it_fits_or_fits_nowhere(nodes, pods, score):
    cluster, ledger = build(nodes, pods)
    outcome = Scheduler(cluster, Policy(score)).schedule()
    cluster.check()
    follow(outcome, ledger)


@given(mixed_nodes, mixed_arrivals, mixed_arrivals, st.data())
@settings(max_examples=200)
def test_what_is_remembered_between_cycles_never_shows(nodes, first, later, data):
    """A Scheduler that lived through events decides as one that starts on the same ledger."""
    cluster, ledger = build(nodes, first)
    scheduler = Scheduler(cluster)
    scheduler.schedule()
    for uid in data.draw(st.lists(st.sampled_from(sorted(ledger.pods)), unique=True)) if ledger.pods else []:
        cluster.remove_pod(uid)
        del ledger.pods[uid]
    for name, node in data.draw(
        st.dictionaries(st.sampled_from(sorted(ledger.nodes)), st.none() | worlds.nodes | worlds.cut_nodes)
    ).items():
        if node is None:
            cluster.remove_node(name)
        else:
            cluster.upsert_node(name, core_node(node))
    for index, (pod, priority, arrival) in enumerate(later):
        cluster.upsert_pod(f"v{index}", core_pod(pod), priority=priority, arrival=arrival)
    what_if = cluster.copy()
    lived, fresh = scheduler.schedule(), Scheduler(what_if).schedule()
    cluster.check()
    assert [(b.uid, b.node, b.gpus, b.instances) for b in lived.binds] == [
        (b.uid, b.node, b.gpus, b.instances) for b in fresh.binds
    ]
    assert [(uid, r.code, r.message) for uid, r in lived.waiting] == [
        (uid, r.code, r.message) for uid, r in fresh.waiting
    ]


@given(mixed_nodes, worlds.pods | worlds.profile_pods, mixed_arrivals)
@settings(max_examples=300)
def test_feasible_names_the_nodes_that_the_oracle_names(nodes, pod, others):
    cluster, ledger = build(nodes, others)
    scheduler = Scheduler(cluster)
    for bind in scheduler.schedule().binds:
        state = cluster.pod(bind.uid)
        held = ledger.pods[bind.uid]
        held.node, held.gpus, held.instances = bind.node, state.gpus, state.instances
    assert scheduler.feasible(core_pod(pod)) == [name for name in ledger.nodes if ledger.fits(pod, name)]


@given(node_lists, arrivals)
@settings(max_examples=50)
def test_a_second_cycle_without_events_changes_nothing(nodes, pods):
    cluster, _ = build(nodes, pods)
    scheduler = Scheduler(cluster)
    scheduler.schedule()
    again = scheduler.schedule()
    assert again.binds == []


def test_large_instances_make_way_for_nobody_and_small_ones_for_them():
    """Two 1g arrive, then four 3g, on two A100s of which one has 1g.5gb@4 in use: that one has room for a single 3g
    and three 1g beside it. One after another the doors let the 1g in where the last 3g must go, or they do not; planned
    together, all that fit are placed: one 3g beside the held one, two on the other GPU, and both 1g."""
    held = {"mig": True, "instances": [("1g.5gb", 4, True, "gone")]}
    gpu = {"model": "a100-40gb", "healthy": True, "mig": True, "ready": False, "pod": "", "instances": []}
    node = {"allocatable": {"pods": 9, "nvidia.com/gpu": 2}, "gpus": [gpu | held, gpu]}
    wants = ["1g.5gb"] * 2 + ["3g.20gb"] * 3
    pods = [({"requests": {f"nvidia.com/mig-{name}": 1}}, 0, index) for index, name in enumerate(wants)]
    cluster, _ = build([node], pods)
    assert len(Scheduler(cluster).schedule().binds) == 5


def test_nobody_is_moved_away_from_who_relies_on_him():
    """One GPU in zone a, and one in b of which a 3g half is in use. Two 1g come, a Pod without GPU that follows them to
    their zone, two 3g and two more 1g. Planned anew, with the 3g first, both of the first 1g would be in the other zone
    (found by trying: without the rule the follower is alone)."""
    held = {"mig": True, "instances": [("3g.20gb", 0, True, "gone")]}
    gpu = {"model": "a100-40gb", "healthy": True, "mig": True, "ready": False, "pod": "", "instances": []}
    cluster = Cluster()
    for zone, content in (("a", {}), ("b", held)):
        node = {"allocatable": {"pods": 9, "nvidia.com/gpu": 1}, "gpus": [gpu | content], "labels": {"zone": zone}}
        cluster.upsert_node(zone, core_node(node))
    term = PodTerm("zone", PodSelector([Requirement("app", "In", ["friend"])], namespaces=["n"]))
    friend = PodLabels("n", {"app": "friend"})
    for number in range(2):
        cluster.upsert_pod(f"friend-{number}", PodSpec({"nvidia.com/mig-1g.5gb": 1}), labels=friend, arrival=number)
    cluster.upsert_pod("follower", PodSpec({}, pod_affinity=[term]), labels=PodLabels("n"), arrival=2)
    for number, profile in enumerate(["3g.20gb", "3g.20gb", "1g.5gb", "1g.5gb"]):
        cluster.upsert_pod(f"other-{number}", PodSpec({f"nvidia.com/mig-{profile}": 1}), arrival=3 + number)
    Scheduler(cluster).schedule()
    assert cluster.pod("follower").node in {cluster.pod(f"friend-{number}").node for number in range(2)}


def test_an_open_transaction_refuses_upserts():
    cluster, _ = build([{"allocatable": {"pods": 1}}], [])
    with cluster.transaction(), pytest.raises(RuntimeError, match="transaction is open"):
        cluster.remove_node("n0")
    assert cluster.remove_node("n0")
