"""Who selects whom is matched once and followed: after any news the ledger and its Schedulers see the same Pods."""

import pytest

from nos._core import PodLabels, PodSelector, PodTerm, Requirement, Scheduler, SpreadConstraint
from tests.build import app, arrive, cluster_of, near, node, pod, spread, those


def two_zones():
    return cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "q"}))


def apart(name, key="zone"):
    return pod(pod_anti_affinity=[near(name, key)])


def test_a_pod_that_is_relabelled_is_another_to_those_near_by():
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    arrive(cluster, apart("a"))
    cluster.upsert_pod("there", pod(), node="n0", labels=app("a"))
    with cluster.transaction():
        assert scheduler.place("p0").node == "n1"
    cluster.upsert_pod("there", pod(), node="n0", labels=app("b"))
    cluster.upsert_pod("more", pod(), node="n1", labels=app("a"))
    assert scheduler.place("p0").node == "n0"
    cluster.check()


def test_a_namespace_that_is_relabelled_changes_who_is_near():
    """Also where nothing else happens: its Pods' nodes are looked at again."""
    team = PodSelector([], namespace_labels=[Requirement("team", "In", ["x"])])
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    arrive(cluster, pod(pod_anti_affinity=[PodTerm("zone", team)]))
    cluster.upsert_pod("there", pod(), node="n0", labels=app("a"))
    cluster.upsert_pod("bars", pod(cpu=64), node="n1")

    def has_place():
        with cluster.transaction():
            return scheduler.place("p0") is not None

    assert has_place()
    for labels, free in [({"team": "x"}, False), ({"team": "y"}, True), ({"team": "x"}, False)]:
        cluster.upsert_namespace("n", labels)
        cluster.check()
        assert has_place() == free
    assert cluster.remove_namespace("n")
    cluster.check()
    assert has_place()


def test_a_selector_of_a_spread_becomes_one_that_keeps_off():
    """The Pod's kin stays the same when the anti-affinity comes; that it matters now has to be seen all the same."""
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    cluster.upsert_pod("spread", pod(spread=[spread("a")]), node="n1")
    cluster.upsert_pod("full", pod(cpu=63), node="n1")
    arrive(cluster, *[pod()] * 2, labels=app("a"))
    assert scheduler.place("p0").node in ("n0", "n1")
    cluster.remove_pod("p0")
    cluster.upsert_pod("keeps-off", apart("a"), node="n0")
    cluster.upsert_node("n2", node(labels={"zone": "q"}, cpu=0))
    assert scheduler.place("p1") is None
    cluster.remove_pod("keeps-off")
    assert scheduler.place("p1").node == "n0"
    cluster.check()


def test_what_began_to_matter_is_counted_on_all_nodes():
    """Two nodes of a zone: the one that keeps off is there before anybody asks, and nothing changes there any more."""
    cluster = cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "p"}), node(labels={"zone": "q"}, cpu=0))
    scheduler = Scheduler(cluster)
    cluster.upsert_pod("spread", pod(spread=[spread("a")]), node="n2")
    arrive(cluster, pod(cpu=60), pod(cpu=60), labels=app("a"))
    with cluster.transaction():
        assert scheduler.place("p0")
    cluster.upsert_pod("keeps-off", apart("a"), node="n1")
    assert scheduler.place("p0") is None
    assert Scheduler(cluster).feasible(pod(), app("a")) == []
    cluster.upsert_pod("keeps-off", pod(), node="n1")
    assert scheduler.place("p0")
    cluster.check()


def test_the_kin_of_who_left_is_not_that_of_who_comes():
    """x leaves, and y gets the number of his kin: that nobody but x was kept apart from is to be seen anew."""
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    cluster.upsert_pod("likes-y", pod(preferred_pod_affinity=[(1, near("y", "rack"))]), node="n0")
    arrive(cluster, apart("x"))
    cluster.upsert_pod("there", pod(), node="n1", labels=app("x"))
    with cluster.transaction():
        assert scheduler.place("p0").node == "n0"
    cluster.remove_pod("there")
    cluster.upsert_pod("there", pod(), node="n1", labels=app("y"))
    cluster.upsert_pod("full", pod(cpu=63), node="n0")
    assert scheduler.place("p0").node == "n1"
    cluster.check()


def test_numbers_of_kins_are_given_out_again():
    """Each app comes alone and leaves before the next: its kin has the number of the last one's."""
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    cluster.upsert_pod("likes-a", apart("app0"), node="n0")
    arrive(cluster, apart("app0"))
    for number in range(6):
        name = f"app{number}"
        cluster.upsert_pod("there", pod(), node="n1", labels=app(name))
        cluster.upsert_pod("keeps-off", apart(name, "zone"), node="n0", labels=app("other"))
        with cluster.transaction():
            bind = scheduler.place("p0")
            # n1 is barred by app0 alone; n0 never is.
            assert bind.node == "n0"
        assert (set(scheduler.feasible(apart("app0"))) == {"n0"}) == (number == 0)
        cluster.check()
        cluster.remove_pod("there")
        cluster.remove_pod("keeps-off")
    cluster.check()


def churn(cluster, count, prefix="other"):
    """So many specs come and go that those of nobody are forgotten, and their numbers given out again."""
    for number in range(count):
        cluster.upsert_pod("churn", pod(cpu=1 + number / 1000, pod_affinity=[near(f"{prefix}{number}", "rack")]))
        cluster.remove_pod("churn")


@pytest.mark.parametrize("others", range(60, 68))  # about as many unused specs are kept
def test_a_spec_that_was_forgotten_and_came_again_is_looked_at_anew(others):
    """It has its number again, perhaps, but its topology has another: that is rack's now."""
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    spec = apart("a")
    cluster.upsert_pod("there", pod(), node="n0", labels=app("a"))
    cluster.upsert_pod("stays", pod(), node="n1")  # and with it the kin of who asks
    for before in (pod(cpu=2), pod(cpu=2, pod_affinity=[near("a", "rack")])):
        cluster.upsert_pod("before", before)
        cluster.upsert_pod("asks", spec)
        with cluster.transaction():
            assert scheduler.place("asks").node == "n1"
        cluster.remove_pod("before")
        cluster.remove_pod("asks")
        for number in range(others):
            cluster.upsert_pod("other", pod(cpu=3 + number / 1000))
            cluster.remove_pod("other")
        cluster.check()


def test_the_spec_of_who_left_is_not_that_of_who_comes():
    """Specs of Pods that wait, and of Pods that are there: a hundred come, and one has the number of the last."""
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    # So that his kin, and the topology, stay the same.
    cluster.upsert_pod("knows-him", pod(pod_anti_affinity=[near("asks", "rack"), near("nobody")]), node="n0")
    arrive(cluster, pod(cpu=63), labels=app("asks"))
    cluster.upsert_pod("keeps-off", apart("asks"), node="n1")
    cluster.upsert_pod("q-only", pod(node_selector={"zone": "q"}), labels=app("asks"))
    with cluster.transaction():
        assert scheduler.place("p0").node == "n0"
        assert scheduler.place("q-only") is None
    cluster.remove_pod("keeps-off")
    cluster.remove_pod("q-only")
    cluster.upsert_pod("full", pod(cpu=2), node="n0")
    churn(cluster, 200)
    for number in range(100):
        cluster.upsert_pod("there", pod(cpu=number / 1000), node="n1")
        with cluster.transaction():
            assert scheduler.place("p0").node == "n1"
    cluster.remove_pod("there")
    for number in range(100):
        cluster.upsert_pod("p-only", pod(cpu=1 + number / 1000, node_selector={"zone": "p"}), labels=app("asks"))
        with cluster.transaction():
            assert scheduler.place("p-only").node == "n0"
    cluster.check()


def test_a_selector_that_is_forgotten_leaves_those_whom_it_selected():
    """As one of many that look for a, or as the term whose selector a spread constraint has, too."""
    cluster = two_zones()
    cluster.upsert_pod("spread", pod(spread=[spread("a")]), node="n1")
    cluster.upsert_pod("there", pod(), node="n0", labels=app("a"))
    for number in range(200):
        name = PodSelector([Requirement("app", "NotIn", [f"app{number}"])], namespaces=["n"])
        spec = pod(cpu=1 + number / 1000, pod_anti_affinity=[near("a"), PodTerm("zone", name)])
        cluster.upsert_pod("comes", spec, labels=app("a"))
        cluster.remove_pod("comes")
        if number % 20 == 0:
            cluster.check()
    cluster.check()
    assert Scheduler(cluster).feasible(pod(), app("a")) == ["n0", "n1"]


def test_thousands_of_selectors_leave_no_trace():
    """Every use of labels, selectors, topologies and claims is counted: check() compares with the Pods there are."""
    cluster = two_zones()
    for number in range(300):
        name = f"app{number}"
        spec = pod(
            cpu=1 + number / 1000,
            pod_affinity=[near(name)],
            pod_anti_affinity=[near(name, f"key{number % 7}")],
            preferred_pod_affinity=[(1, near(name))],
            spread=[SpreadConstraint("zone", those(name), max_skew=1)],
            sole_claims=[f"n/{name}"],
            volumes=[("csi", name)],
        )
        cluster.upsert_pod(f"u{number % 10}", spec, node=f"n{number % 2}", labels=PodLabels(name, {"app": name}))
        if number % 20 == 0:
            cluster.check()
            cluster.copy().check()
    for number in range(10):
        cluster.remove_pod(f"u{number}")
    churn(cluster, 200)
    cluster.check()


def test_a_node_that_moves_takes_its_pods_along():
    """p is empty of nodes for a while, and its number may be another zone's."""
    cluster = two_zones()
    scheduler = Scheduler(cluster)
    cluster.upsert_node("n2", node(labels={"zone": "p"}))
    cluster.upsert_pod("there", pod(), node="n0", labels=app("a"))
    arrive(cluster, pod(pod_affinity=[near("a")], cpu=60))

    def company():
        return set(scheduler.feasible(pod(pod_affinity=[near("a")])))

    def placed():
        with cluster.transaction():
            bind = scheduler.place("p0")
            return bind.node if bind else None

    assert company() == {"n0", "n2"}
    cluster.upsert_node("n0", node(labels={"zone": "r"}))  # n2 keeps p alive
    assert (company(), placed()) == ({"n0"}, "n0")
    cluster.upsert_node("n2", node(labels={"zone": "r"}))  # p is nobody's
    assert company() == {"n0", "n2"}
    cluster.upsert_node("n1", node(labels={"zone": "s"}))  # q is nobody's
    assert company() == {"n0", "n2"}
    cluster.upsert_node("n0", node(labels={}))
    assert (company(), placed()) == (set(), None)
    cluster.upsert_node("n0", node(labels={"zone": "s"}))
    assert company() == {"n0", "n1"}
    cluster.remove_node("n0")
    assert (company(), placed()) == (set(), None)
    cluster.upsert_node("n0", node(labels={"zone": "p"}))
    assert (company(), placed()) == ({"n0"}, "n0")
    cluster.check()
