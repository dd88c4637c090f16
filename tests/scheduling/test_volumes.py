"""What is chosen or held for one Pod alone: nobody else gets it, and everybody can once it is given back."""

import pytest

from nos._core import NodeSpec, Scheduler, VolumeClaim
from tests.build import Cluster, arrive, cluster_of, node, pod, zone

ANYWHERE = None


def claim(*names, **more):
    """Any of these volumes, which can be used on every node."""
    return VolumeClaim([(name, ANYWHERE) for name in names], **more)


def chosen(outcome):
    return {bind.uid: bind.volumes for bind in outcome.binds}


def test_pods_of_one_cycle_never_get_the_same_volume():
    """Two volumes, three Pods that any of them would do for."""
    cluster = cluster_of(node(), node())
    arrive(cluster, *[pod(claims=[claim("a", "b")])] * 3)
    outcome = Scheduler(cluster).schedule()
    assert chosen(outcome) == {"p0": ["a"], "p1": ["b"]}
    assert [(uid, reason.code) for uid, reason in outcome.waiting] == [("p2", "VolumeAffinity")]
    cluster.check()


def test_claims_of_one_pod_choose_in_their_order():
    cluster = cluster_of(node())
    # The first takes a, and nothing is left for the second: a Pod does not fit, though the other order would do.
    arrive(cluster, pod(claims=[claim("a", "b"), claim("a")]), pod(claims=[claim("a"), claim("a", "b")]))
    assert chosen(Scheduler(cluster).schedule()) == {"p1": ["a", "b"]}


def test_volumes_that_are_made_are_not_taken_from_anybody():
    cluster = cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "q"}))
    made_in_q = claim(provision=[zone("q")])
    arrive(cluster, *[pod(claims=[claim("a", provision=[]), made_in_q])] * 2)
    outcome = Scheduler(cluster).schedule()
    assert chosen(outcome) == {"p0": ["a", ""], "p1": ["", ""]}
    assert {bind.node for bind in outcome.binds} == {"n1"}


def test_a_volume_is_looked_for_where_it_can_be_used():
    cluster = cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "q"}))
    arrive(cluster, pod(claims=[VolumeClaim([("in-q", zone("q")), ("in-p", zone("p"))])], node_selector={"zone": "p"}))
    assert chosen(Scheduler(cluster).schedule()) == {"p0": ["in-p"]}


def give_back_by_forgetting(cluster):
    assert cluster.forget("p0")
    assert cluster.pod("p0").volumes == []


def give_back_by_removing(cluster):
    assert cluster.remove_pod("p0")


def give_back_by_binding(cluster):
    """The claim is bound now, and those who make specs know it: the ledger keeps nothing in mind."""
    cluster.upsert_pod("p0", pod(claims=[claim("a")]), node="n0")
    assert cluster.pod("p0").volumes == []


def give_back_by_binding_elsewhere(cluster):
    cluster.upsert_pod("p0", pod(claims=[claim("a")]), node="nowhere")


def give_back_by_another_spec(cluster):
    """What its claims are to get is what the new one says."""
    cluster.upsert_pod("p0", pod())
    assert (cluster.pod("p0").phase, cluster.pod("p0").volumes) == ("assumed", [])


@pytest.mark.parametrize(
    "give_back",
    [
        give_back_by_forgetting,
        give_back_by_removing,
        give_back_by_binding,
        give_back_by_binding_elsewhere,
        give_back_by_another_spec,
    ],
)
@pytest.mark.parametrize("node_goes", [False, True])
def test_a_volume_can_be_had_again_once_it_is_given_back(give_back, node_goes):
    """By whom knew it as taken, too: p1 asks before and after."""
    cluster = cluster_of(node(), node())
    scheduler = Scheduler(cluster)
    arrive(cluster, pod(claims=[claim("a")]), pod(cpu=2, claims=[claim("a")]))
    first = scheduler.place("p0")
    assert (first.node, first.volumes) == ("n0", ["a"])
    assert scheduler.place("p1") is None
    if node_goes:  # and with it all that a change there would tell
        cluster.remove_node("n0")
    give_back(cluster)
    cluster.check()
    second = scheduler.place("p1")
    assert second.volumes == ["a"]
    cluster.check()


def test_nobody_is_assumed_with_what_another_has():
    cluster = cluster_of(node())
    arrive(cluster, pod(claims=[claim("a"), claim()]), pod(claims=[claim("a")]))
    cluster.assume("p0", "n0", volumes=["a", ""])
    with pytest.raises(ValueError, match="volume a is chosen for another Pod"):
        cluster.assume("p1", "n0", volumes=["a"])
    assert cluster.pod("p1").phase == "waiting"
    cluster.assume("p1", "n0", volumes=[""])
    cluster.check()


def test_a_rollback_gives_volumes_back_and_takes_them_again():
    cluster = cluster_of(node())
    scheduler = Scheduler(cluster)
    arrive(cluster, *[pod(claims=[claim("a")])] * 2)
    scheduler.place("p0")
    with cluster.transaction():
        assert cluster.forget("p0")
        assert scheduler.place("p1").volumes == ["a"]
        cluster.check()
    assert cluster.pod("p0").volumes == ["a"]
    assert cluster.pod("p1").volumes == []
    cluster.check()
    assert scheduler.place("p1") is None
    cluster.forget("p0")
    assert scheduler.place("p1").volumes == ["a"]


def test_a_claim_of_one_pod_alone_bars_all_nodes_until_it_is_free():
    """Whoever has it, wherever: also on a node that is gone, of which no change tells."""
    cluster = cluster_of(node(), node())
    scheduler = Scheduler(cluster)
    cluster.upsert_pod("holder", pod(sole_claims=["n/a"]), node="gone")
    arrive(cluster, pod(sole_claims=["n/a", "n/b"]), pod(sole_claims=["n/b"]))
    for free_next in (lambda: cluster.remove_pod("holder"), lambda: cluster.forget("p1")):
        outcome = scheduler.schedule()
        assert "p0" not in [bind.uid for bind in outcome.binds]
        assert ("p0", "VolumeInUse") in [(uid, reason.code) for uid, reason in outcome.waiting]
        assert cluster.pod("p1").phase == "assumed"
        free_next()
        cluster.check()
    assert scheduler.place("p0")
    assert scheduler.place("p1") is None
    cluster.check()


def test_what_is_given_back_on_a_node_that_is_gone_is_no_reason_any_more():
    """The Pod lacks a feature as well; that is told last."""
    cluster = cluster_of(node())
    scheduler = Scheduler(cluster)
    cluster.upsert_pod("holder", pod(sole_claims=["n/a"]), node="gone")
    arrive(cluster, pod(sole_claims=["n/a"], features=["F"]))
    ((_, before),) = scheduler.schedule().waiting
    cluster.remove_pod("holder")
    ((_, after),) = scheduler.schedule().waiting
    assert (before.code, after.code) == ("VolumeInUse", "NodeFeature")


def limited(limit, *attached, driver="csi"):
    return NodeSpec(
        {"cpu": 64_000, "memory": 1 << 40, "pods": 110}, attach_limits={driver: limit}, attached=[*attached]
    )


A, B, C = ("csi", "a"), ("csi", "b"), ("csi", "c")


@pytest.mark.parametrize(
    ("limit", "attached", "used", "wanted", "fits"),
    [
        (2, [], [], [A, B], True),  # 0 + 2 = 2
        (1, [], [], [A, B], False),  # 0 + 2 > 1
        (0, [], [], [A], False),
        (0, [], [], [], True),
        (2, [], [A], [B], True),  # 1 + 1
        (1, [], [A], [B], False),
        (1, [], [A], [A], True),  # it is there: nothing is added
        (0, [], [A], [A], True),  # even beyond the limit
        (2, [A], [], [B], True),
        (1, [A], [], [B], False),
        (2, [A], [A], [B], True),  # seen and used, it is one volume
        (2, [A], [], [A], True),  # seen, but used by nobody: it counts twice, 1 + 1
        (1, [A], [], [A], False),
        (1, [], [("other", "a"), ("other", "b")], [A], True),  # of another driver
        (1, [], [A], [("other", "a")], True),
    ],
)
def test_as_many_volumes_as_can_be_attached(limit, attached, used, wanted, fits):
    cluster = cluster_of(limited(limit, *attached))
    cluster.upsert_pod("there", pod(volumes=used), node="n0")
    assert Scheduler(cluster).feasible(pod(volumes=wanted)) == (["n0"] if fits else [])
    cluster.check()


def test_what_a_node_has_seen_stays_when_its_last_pod_leaves():
    cluster = cluster_of(limited(1, A))
    scheduler = Scheduler(cluster)
    cluster.upsert_pod("there", pod(volumes=[A]), node="n0")
    cluster.remove_pod("there")
    cluster.check()
    assert scheduler.feasible(pod(volumes=[B])) == []  # 1 + 1 > 1
    cluster.upsert_node("n0", limited(1))
    assert scheduler.feasible(pod(volumes=[B])) == ["n0"]
    cluster.check()


def test_numbers_of_volumes_and_drivers_are_given_out_again():
    """A hundred volumes of one driver come and go; the next ones, of another, count for that one."""
    cluster = Cluster()
    cluster.upsert_node("n0", limited(1, driver="late"))
    for number in range(100):
        cluster.upsert_pod("there", pod(cpu=1 + number / 1000, volumes=[("early", f"v{number}")]), node="n0")
    cluster.check()
    late = [pod(cpu=1 + number / 1000, volumes=[("late", f"v{number}")]) for number in range(100)]
    for number, spec in enumerate(late):
        cluster.upsert_pod("there", spec, node="n0")
        assert Scheduler(cluster).feasible(pod(volumes=[("late", f"v{number}")])) == ["n0"]
        assert Scheduler(cluster).feasible(pod(volumes=[("late", "another")])) == []
    cluster.check()
