"""Room that other schedulers' Pods are about to take is kept from those who may not overtake them, and only those."""

import pytest

from nos._core import PodLabels, PodSelector, PodTerm, Policy, Requirement, Scheduler
from tests.build import app, arrive, cluster_of, near, node, pod, spread


def first_fit(cluster):
    return Scheduler(cluster, Policy("first-fit"))


@pytest.mark.parametrize(("priority", "where"), [(4, []), (5, []), (6, ["n0"])])
def test_who_has_a_higher_priority_overtakes(priority, where):
    cluster = cluster_of(node(cpu=2))
    cluster.upsert_pod("coming", pod(cpu=2), node="n0", priority=5, nominated=True)
    assert Scheduler(cluster).feasible(pod(cpu=1), priority=priority) == where
    assert cluster.node("n0").requested["cpu"] == 0
    cluster.check()


def test_a_node_that_was_kept_from_one_pod_is_open_to_an_equal_one_that_may_overtake():
    """n0 has 2 CPUs, both kept for a Pod of priority 5; n1 has 1."""
    cluster = cluster_of(node(cpu=2), node(cpu=1))
    cluster.upsert_pod("coming", pod(cpu=2), node="n0", priority=5, nominated=True)
    scheduler = first_fit(cluster)
    arrive(cluster, pod(), pod(), priority=5)
    assert scheduler.place("p0").node == "n1"
    assert scheduler.place("p1") is None
    arrive(cluster, pod(), prefix="high", priority=6)
    assert scheduler.place("high0").node == "n0"


def test_a_node_that_was_kept_is_open_once_pods_elsewhere_make_up_for_it():
    """Spread over two zones, skew 1, with one Pod coming to p: 1 + 1 - 0 = 2 there at first, 1 + 1 - 1 = 1 later."""
    cluster = cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "q"}))
    cluster.upsert_pod("coming", pod(), node="n0", labels=app("a"), nominated=True)
    scheduler = first_fit(cluster)
    arrive(cluster, *[pod(cpu=2, spread=[spread("a")])] * 2, labels=app("a"))
    assert scheduler.place("p0").node == "n1"
    assert scheduler.place("p1").node == "n0"


def test_who_comes_is_near_by_as_well():
    cluster = cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "q"}))
    scheduler = Scheduler(cluster)
    wish = pod(pod_anti_affinity=[near("a")])
    assert scheduler.feasible(wish) == ["n0", "n1"]
    cluster.upsert_pod("coming", pod(), node="n0", labels=app("a"), nominated=True)
    assert scheduler.feasible(wish) == ["n1"]
    cluster.upsert_pod("coming", pod(), node="n0", labels=app("b"), nominated=True)
    assert scheduler.feasible(wish) == ["n0", "n1"]
    cluster.check()


def test_company_that_is_only_coming_is_none_yet():
    """A Pod has to fit without those who are nominated, too: they may never come."""
    cluster = cluster_of(node(labels={"zone": "p"}))
    cluster.upsert_pod("coming", pod(), node="n0", labels=app("a"), nominated=True)
    assert Scheduler(cluster).feasible(pod(pod_affinity=[near("a")])) == []


def test_a_claim_that_somebody_is_bringing_is_taken_where_he_goes():
    cluster = cluster_of(node(), node())
    cluster.upsert_pod("coming", pod(sole_claims=["n/a"]), node="n0", nominated=True)
    scheduler = Scheduler(cluster)
    assert scheduler.feasible(pod(sole_claims=["n/a"])) == ["n1"]
    assert scheduler.feasible(pod(sole_claims=["n/a"]), priority=1) == ["n0", "n1"]
    cluster.check()


def test_a_nomination_ends_when_the_pod_is_bound_elsewhere_or_gone():
    cluster = cluster_of(node(cpu=2), node(cpu=2))
    scheduler = Scheduler(cluster)
    for last in (lambda: cluster.upsert_pod("coming", pod(cpu=2), node="n1"), lambda: cluster.remove_pod("coming")):
        cluster.upsert_pod("coming", pod(cpu=2), node="n0", nominated=True)
        assert scheduler.feasible(pod()) == ["n1"]
        last()
        cluster.check()
        assert "n0" in scheduler.feasible(pod())
        cluster.remove_pod("coming")
    cluster.upsert_pod("coming", pod(cpu=2), node="n0", nominated=True)
    cluster.upsert_pod("coming", pod(cpu=2), node="n1", nominated=True)  # it changed its mind
    assert scheduler.feasible(pod()) == ["n0"]


def test_a_reason_follows_those_who_are_coming():
    """The Pod lacks a feature; and room, or a place away from others, while somebody is coming."""
    cluster = cluster_of(node(cpu=2, labels={"zone": "p"}))
    scheduler = Scheduler(cluster)
    arrive(cluster, pod(features=["F"]), labels=app("b"))

    def why():
        ((_, reason),) = scheduler.schedule().waiting
        return reason.code

    assert why() == "NodeFeature"
    cluster.upsert_pod("coming", pod(cpu=2), node="n0", nominated=True)
    assert why() == "InsufficientCpu"
    cluster.upsert_pod("coming", pod(cpu=1), node="n0", nominated=True)
    assert why() == "NodeFeature"
    team = PodSelector([], namespace_labels=[Requirement("team", "In", ["x"])])
    arrive(cluster, pod(features=["F"], pod_anti_affinity=[PodTerm("zone", team)]), labels=app("b"))
    cluster.upsert_pod("coming", pod(), node="n0", labels=PodLabels("m"), nominated=True)
    assert why() == "NodeFeature"
    cluster.upsert_namespace("m", {"team": "x"})
    assert why() == "PodAntiAffinity"
    cluster.remove_namespace("m")
    assert why() == "NodeFeature"


def test_an_echo_from_before_the_bind_nominates_nobody():
    cluster = cluster_of(node(cpu=2), node(cpu=2))
    cluster.upsert_pod("coming", pod(cpu=2), node="n0")
    cluster.upsert_pod("coming", pod(cpu=2), node="n1", nominated=True)
    assert (cluster.pod("coming").phase, cluster.pod("coming").node) == ("bound", "n0")
    assert Scheduler(cluster).feasible(pod()) == ["n1"]
    cluster.check()
