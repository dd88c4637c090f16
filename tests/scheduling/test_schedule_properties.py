"""What a cycle decides, against a slow filter that counts everything anew."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import Cluster, Policy, Scheduler
from tests import worlds
from tests.oracle import Held, Ledger, core_node, core_pod

node_lists = st.lists(worlds.nodes, min_size=1, max_size=4)
arrivals = st.lists(st.tuples(worlds.pods, st.integers(0, 2), st.integers(0, 3)), max_size=12)
scores = st.sampled_from(["nos", "fgd", "best-fit", "first-fit"])


def build(nodes: list[dict[str, Any]], pods: list[tuple[dict[str, Any], int, int]]) -> tuple[Cluster, Ledger]:
    cluster, ledger = Cluster(), Ledger()
    for index, node in enumerate(nodes):
        cluster.upsert_node(f"n{index}", core_node(node))
        ledger.nodes[f"n{index}"] = node
    for index, (pod, priority, arrival) in enumerate(pods):
        cluster.upsert_pod(f"u{index}", core_pod(pod), priority=priority, arrival=arrival)
        ledger.pods[f"u{index}"] = Held(pod, priority=priority, arrival=arrival)
    return cluster, ledger


def follow(outcome: Any, ledger: Ledger) -> None:
    """Every Pod in its turn: it fits where it was put, and fits nowhere when it was left."""
    binds = {bind.uid: bind for bind in outcome.binds}
    left = dict(outcome.waiting)
    assert binds.keys() | left.keys() == set(ledger.order())
    assert not binds.keys() & left.keys()
    for uid in ledger.order():
        held = ledger.pods[uid]
        feasible = [name for name in ledger.nodes if ledger.fits(held.pod, name)]
        if uid in left:
            assert not feasible, uid
            assert left[uid].message
            continue
        bind = binds[uid]
        assert bind.node in feasible
        free = ledger.gpu_free(bind.node)
        share = held.pod.get("share")
        assert len(bind.gpus) == (1 if share else held.pod["requests"].get("nvidia.com/gpu", 0))
        assert len(set(bind.gpus)) == len(bind.gpus)
        assert all(free[slot] >= (share or 1000) for slot in bind.gpus)
        held.node, held.gpus = bind.node, bind.gpus


@given(node_lists, arrivals, scores)
@settings(max_examples=400, deadline=None)
def test_each_pod_in_its_turn_is_placed_where_it_fits_or_fits_nowhere(nodes, pods, score):
    cluster, ledger = build(nodes, pods)
    outcome = Scheduler(cluster, Policy(score)).schedule()
    cluster.check()
    follow(outcome, ledger)


@given(node_lists, arrivals, arrivals, st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_remembered_between_cycles_never_shows(nodes, first, later, data):
    """A Scheduler that lived through events decides as one that starts on the same ledger."""
    cluster, ledger = build(nodes, first)
    scheduler = Scheduler(cluster)
    follow(scheduler.schedule(), ledger)
    for uid in data.draw(st.lists(st.sampled_from(sorted(ledger.pods)), unique=True)) if ledger.pods else []:
        cluster.remove_pod(uid)
        del ledger.pods[uid]
    for name, node in data.draw(
        st.dictionaries(st.sampled_from(sorted(ledger.nodes)), st.none() | worlds.nodes)
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
    assert [(b.uid, b.node, b.gpus) for b in lived.binds] == [(b.uid, b.node, b.gpus) for b in fresh.binds]
    assert [(uid, r.code, r.message) for uid, r in lived.waiting] == [
        (uid, r.code, r.message) for uid, r in fresh.waiting
    ]


@given(node_lists, worlds.pods, arrivals)
@settings(max_examples=300, deadline=None)
def test_feasible_names_the_nodes_that_the_oracle_names(nodes, pod, others):
    cluster, ledger = build(nodes, others)
    scheduler = Scheduler(cluster)
    follow(scheduler.schedule(), ledger)
    assert scheduler.feasible(core_pod(pod)) == [name for name in ledger.nodes if ledger.fits(pod, name)]


@given(node_lists, arrivals)
@settings(max_examples=50, deadline=None)
def test_a_second_cycle_without_events_changes_nothing(nodes, pods):
    cluster, _ = build(nodes, pods)
    scheduler = Scheduler(cluster)
    scheduler.schedule()
    again = scheduler.schedule()
    assert again.binds == []


def test_an_open_transaction_refuses_upserts():
    cluster, _ = build([{"allocatable": {"pods": 1}}], [])
    with cluster.transaction(), pytest.raises(RuntimeError, match="transaction is open"):
        cluster.remove_node("n0")
    assert cluster.remove_node("n0")
