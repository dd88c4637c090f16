"""Topology spread: a place is open while it has, with the new Pod, at most max_skew more than the emptiest one."""

import pytest

from nos._core import Scheduler
from tests.build import app, arrive, cluster_of, near, node, pod, spread


def zones(*names):
    """A node in each of these zones."""
    return cluster_of(*[node(labels={"zone": name}) for name in names])


def fill(cluster, name, count, **fields):
    """Pods of app a on this node."""
    for number in range(count):
        cluster.upsert_pod(f"{name}-{number}", pod(), node=name, labels=app("a"), **fields)


@pytest.mark.parametrize(
    ("there", "max_skew", "min_domains", "where"),
    [
        ((0, 0), 1, 1, ["n0", "n1"]),
        ((1, 0), 1, 1, ["n1"]),  # 1 + 1 - 0 = 2
        ((1, 0), 2, 1, ["n0", "n1"]),
        ((3, 1), 2, 1, ["n1"]),  # 3 + 1 - 1 = 3
        ((2, 1), 2, 1, ["n0", "n1"]),
        ((1, 1), 1, 2, ["n0", "n1"]),  # 2 domains are there: 1 + 1 - 1 = 1
        ((1, 1), 1, 3, []),  # 2 of 3: the fewest is 0
        ((1, 0), 1, 3, ["n1"]),
        ((5,), 1, 1, ["n0"]),  # it is the fewest itself
        ((1,), 1, 2, []),
    ],
)
def test_the_arithmetic(there, max_skew, min_domains, where):
    cluster = zones(*"pqrs"[: len(there)])
    for number, count in enumerate(there):
        fill(cluster, f"n{number}", count)
    wish = pod(spread=[spread("a", max_skew=max_skew, min_domains=min_domains)])
    assert Scheduler(cluster).feasible(wish, app("a")) == where


def test_who_is_not_selected_himself_adds_nothing():
    cluster = zones("p", "q")
    fill(cluster, "n0", 1)
    assert Scheduler(cluster).feasible(pod(spread=[spread("a")]), app("b")) == ["n0", "n1"]  # 1 + 0 - 0


def test_keys_of_what_is_only_preferred_are_not_asked_of_a_node_that_counts():
    """n1 has no rack, and counts for the zone all the same: p has 1, q has 0."""
    cluster = cluster_of(
        node(labels={"zone": "p", "rack": "r"}), node(labels={"zone": "p"}), node(labels={"zone": "q", "rack": "s"})
    )
    fill(cluster, "n1", 1)
    wish = pod(spread=[spread("a"), spread("a", "rack", required=False)])
    assert Scheduler(cluster).feasible(wish, app("a")) == ["n2"]


def test_a_zone_without_nodes_is_none():
    """q is full and empty of the app: nothing fits, until q is gone."""
    cluster = cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "q"}, cpu=0))
    scheduler = Scheduler(cluster)
    fill(cluster, "n0", 1)
    arrive(cluster, pod(spread=[spread("a")]), labels=app("a"))
    assert scheduler.place("p0") is None  # 1 + 1 - 0
    cluster.remove_node("n1")
    assert scheduler.place("p0").node == "n0"  # 1 + 1 - 1


def test_who_is_being_deleted_does_not_weigh():
    cluster = zones("p", "q")
    scheduler = Scheduler(cluster)
    fill(cluster, "n0", 1)
    cluster.upsert_pod("full", pod(cpu=64), node="n1")
    arrive(cluster, pod(spread=[spread("a")]), labels=app("a"))
    assert scheduler.place("p0") is None  # 1 + 1 - 0
    fill(cluster, "n0", 1, terminating=True)
    assert scheduler.place("p0").node == "n0"  # 0 + 1 - 0
    cluster.check()


def test_equal_specs_of_pods_with_other_labels_are_judged_apart():
    cluster = zones("p", "q")
    scheduler = Scheduler(cluster)
    fill(cluster, "n0", 1)
    cluster.upsert_pod("full", pod(cpu=64), node="n1")
    spec = pod(spread=[spread("a")])
    arrive(cluster, spec, labels=app("b"))
    arrive(cluster, spec, prefix="q", labels=app("a"))
    assert scheduler.place("q0") is None  # 1 + 1 - 0
    assert scheduler.place("p0").node == "n0"  # 1 + 0 - 0


def test_the_first_of_its_kind_may_be_alone_again_once_the_others_left():
    cluster = zones("p", "q")
    scheduler = Scheduler(cluster)
    spec = pod(pod_affinity=[near("a")])
    fill(cluster, "n0", 2)
    cluster.upsert_pod("full", pod(cpu=62), node="n0")
    arrive(cluster, spec, labels=app("a"))
    assert scheduler.place("p0") is None  # n0 is full, and n1 has no company
    cluster.remove_pod("n0-0")
    cluster.remove_pod("n0-1")
    cluster.upsert_pod("full", pod(cpu=64), node="n0")
    assert scheduler.place("p0").node == "n1"
