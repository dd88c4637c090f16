"""All or nothing, extra members later, one domain: what a cycle does with gangs, one by one."""

import pytest

from nos._core import GpuSpec, NodeSpec, PodSpec, Policy, Requirement, Scheduler, SelectorTerm, Taint, Toleration
from tests.build import GPU, app, arrive, cluster_of, near, node, nodes_of, pod, spread, zone
from tests.cut_gpus import MODELS


def reason_of(outcome, uid):
    return dict(outcome.waiting)[uid]


def racks(*sizes, gpus=8):
    """Nodes n0, n1, ...: so many in rack r0, so many in r1, ..."""
    return cluster_of(*[node(gpus=gpus, labels={"rack": f"r{r}"}) for r, size in enumerate(sizes) for _ in range(size)])


def test_a_gang_that_does_not_fit_leaves_no_trace_and_the_next_pod_gets_the_room():
    cluster = cluster_of(node(gpus=2), node(gpus=1))
    cluster.upsert_gang("n/job", min_members=4)
    arrive(cluster, *[pod(gpus=1)] * 4, gang="n/job")
    arrive(cluster, pod(gpus=2), prefix="single", arrival=9)
    outcome = Scheduler(cluster).schedule()
    assert nodes_of(outcome) == {"single0": "n0"}
    reason = reason_of(outcome, "p0")
    assert reason.code == "GangDoesNotFit"
    # 2 + 1 GPUs
    assert reason.message.startswith("3 of 4 Pods of pod group n/job fit. 0/2 nodes are available: 2 Insufficient")
    assert {reason_of(outcome, f"p{i}").message for i in range(4)} == {reason.message}
    assert cluster.gang("n/job").placed == 0
    cluster.check()


def test_a_gang_with_too_few_pods_waits_for_the_others():
    cluster = cluster_of(node())
    cluster.upsert_gang("n/job", min_members=3)
    arrive(cluster, *[pod(gpus=1)] * 2, gang="n/job")
    scheduler = Scheduler(cluster)
    reason = reason_of(scheduler.schedule(), "p0")
    assert (reason.code, reason.message) == (
        "GangTooSmall",
        "Pod group n/job has 2 of the 3 members that it needs.",
    )
    arrive(cluster, pod(gpus=1), prefix="last", gang="n/job")
    assert len(scheduler.schedule().binds) == 3


def test_a_pod_whose_gang_is_not_known_waits():
    cluster = cluster_of(node())
    arrive(cluster, pod(gpus=1), gang="n/job")
    scheduler = Scheduler(cluster)
    reason = reason_of(scheduler.schedule(), "p0")
    assert (reason.code, reason.message) == ("GangTooSmall", "Pod group n/job is not known.")
    cluster.upsert_gang("n/job", min_members=1)
    assert len(scheduler.schedule().binds) == 1
    assert cluster.remove_gang("n/job")
    arrive(cluster, pod(gpus=1), prefix="late", gang="n/job")
    assert scheduler.schedule().binds == []


def test_members_beyond_the_minimum_come_as_far_as_they_fit_and_join_later():
    cluster = cluster_of(node(gpus=3))
    cluster.upsert_gang("n/job", min_members=2)
    arrive(cluster, *[pod(gpus=1)] * 5, gang="n/job")
    scheduler = Scheduler(cluster)
    outcome = scheduler.schedule()
    assert set(nodes_of(outcome)) == {"p0", "p1", "p2"}
    assert reason_of(outcome, "p3").code == "InsufficientGpu"  # its gang runs: what it lacks is room
    cluster.upsert_node("n1", node(gpus=1))
    assert set(nodes_of(scheduler.schedule())) == {"p3"}


def test_a_member_that_was_lost_is_replaced_alone():
    cluster = cluster_of(node(gpus=2), node(gpus=2))
    cluster.upsert_gang("n/job", min_members=3)
    arrive(cluster, *[pod(gpus=1)] * 3, gang="n/job")
    scheduler = Scheduler(cluster)
    scheduler.schedule()
    cluster.remove_pod("p1")
    assert scheduler.schedule().binds == []
    arrive(cluster, pod(gpus=1), prefix="again", gang="n/job")
    assert set(nodes_of(scheduler.schedule())) == {"again0"}
    assert cluster.gang("n/job").placed == 3


def test_a_terminating_member_does_not_count():
    cluster = cluster_of(node(gpus=8))
    cluster.upsert_gang("n/job", min_members=2)
    cluster.upsert_pod("old", pod(gpus=1), node="n0", terminating=True, gang="n/job")
    arrive(cluster, pod(gpus=1), gang="n/job")
    assert reason_of(Scheduler(cluster).schedule(), "p0").code == "GangTooSmall"


def test_a_gang_has_its_turn_with_its_first_member():
    """One GPU is left after the first single Pod: the gang of two comes before the second."""
    cluster = cluster_of(node(gpus=3))
    cluster.upsert_gang("n/job", min_members=2)
    cluster.upsert_pod("first", pod(gpus=1), arrival=0)
    cluster.upsert_pod("a", pod(gpus=1), arrival=1, gang="n/job")
    cluster.upsert_pod("second", pod(gpus=1), arrival=2)
    cluster.upsert_pod("b", pod(gpus=1), arrival=3, gang="n/job")
    assert set(nodes_of(Scheduler(cluster).schedule())) == {"first", "a", "b"}


def test_one_member_that_nos_cannot_place_holds_all_back():
    cluster = cluster_of(node())
    cluster.upsert_gang("n/job", min_members=2)
    arrive(cluster, pod(gpus=1), pod(gpus=1, unsupported=["resource claims"]), gang="n/job")
    reason = reason_of(Scheduler(cluster).schedule(), "p0")
    assert reason.code == "Unsupported"  # no node would help
    assert "1 of 2 Pods of pod group n/job fit. Not handled by nos yet: resource claims" in reason.message


def test_place_takes_a_member_only_when_its_gang_runs():
    cluster = cluster_of(node(gpus=3))
    cluster.upsert_gang("n/job", min_members=2)
    arrive(cluster, *[pod(gpus=1)] * 3, gang="n/job")
    scheduler = Scheduler(cluster)
    assert scheduler.place("p0") is None
    cluster.assume("p0", "n0", [0])
    assert scheduler.place("p1") is None
    cluster.assume("p1", "n0", [1])
    with cluster.transaction():
        assert scheduler.place("p2").node == "n0"
    assert cluster.pod("p2").phase == "waiting"
    assert scheduler.place("p2").node == "n0"
    cluster.check()


# ---- members that differ


def test_a_launcher_without_gpu_and_its_workers():
    cluster = cluster_of(node(gpus=0), node(gpus=2, taints=[Taint("gpu", "", "NoSchedule")]))
    tolerates = [Toleration("gpu", "Exists")]
    cluster.upsert_gang("n/job", min_members=3)
    arrive(cluster, pod(cpu=60), *[pod(gpus=1, tolerations=tolerates)] * 2, gang="n/job")
    assert nodes_of(Scheduler(cluster).schedule()) == {"p0": "n0", "p1": "n1", "p2": "n1"}


def test_larger_members_first_where_the_order_fails():
    """4 + 2 GPUs. In their order two small ones take half of n0, where the large one has to go."""
    cluster = cluster_of(node(gpus=4), node(gpus=2))
    cluster.upsert_gang("n/job", min_members=3)
    arrive(cluster, pod(gpus=1), pod(gpus=1), pod(gpus=4), gang="n/job")
    outcome = Scheduler(cluster, Policy("first-fit")).schedule()
    assert nodes_of(outcome) == {"p0": "n1", "p1": "n1", "p2": "n0"}


def test_members_change_places_where_only_that_helps():
    """a may go to p or q, b to q or r, c to p only: whoever sits on the wrong one of two nodes goes to the other."""
    cluster = cluster_of(*[node(gpus=1, labels={"zone": name}) for name in "pqr"])
    cluster.upsert_gang("n/job", min_members=3)
    cluster.upsert_pod("a", pod(gpus=1, affinity=zone("p", "q")), arrival=0, gang="n/job")
    cluster.upsert_pod("b", pod(gpus=1, affinity=zone("q", "r")), arrival=1, gang="n/job")
    cluster.upsert_pod("c", pod(gpus=1, affinity=zone("p")), arrival=2, gang="n/job")
    assert nodes_of(Scheduler(cluster).schedule()) == {"a": "n1", "b": "n2", "c": "n0"}


def test_members_change_places_where_no_order_helps():
    """a may go to p or q, b to q or r. q is the fuller one, so a takes its last GPU, and r has none for b."""
    cluster = cluster_of(*[node(gpus=gpus, labels={"zone": name}) for name, gpus in (("p", 2), ("q", 1), ("r", 0))])
    cluster.upsert_gang("n/job", min_members=2)
    cluster.upsert_pod("a", pod(gpus=1, affinity=zone("p", "q")), arrival=0, gang="n/job")
    cluster.upsert_pod("b", pod(gpus=1, affinity=zone("q", "r")), arrival=1, gang="n/job")
    assert nodes_of(Scheduler(cluster).schedule()) == {"a": "n0", "b": "n1"}


def test_a_member_that_follows_a_later_one_is_tried_again():
    cluster = cluster_of(node(labels={"zone": "p"}), node(labels={"zone": "q"}))
    cluster.upsert_gang("n/job", min_members=2)
    follows = pod(gpus=1, pod_affinity=[near("a")], affinity=zone("q"))
    cluster.upsert_pod("follows", follows, arrival=0, gang="n/job", labels=app("b"))
    cluster.upsert_pod("leads", pod(gpus=1, affinity=zone("q")), arrival=1, gang="n/job", labels=app("a"))
    assert nodes_of(Scheduler(cluster).schedule()) == {"follows": "n1", "leads": "n1"}


def test_members_may_spread():
    cluster = cluster_of(*[node(gpus=4, labels={"zone": name}) for name in "pq"])
    cluster.upsert_gang("n/job", min_members=4)
    arrive(cluster, *[pod(gpus=1, spread=[spread("a")])] * 4, gang="n/job", labels=app("a"))
    assert sorted(nodes_of(Scheduler(cluster).schedule()).values()) == ["n0", "n0", "n1", "n1"]


def cut_node(*gpus, labels=None):
    room = {"cpu": 64_000, "memory": 1 << 40, "pods": 110, GPU: len(gpus)}
    return NodeSpec(room, labels=labels or {}, gpus=list(gpus))


def a100(*instances):
    return GpuSpec(MODELS["a100-40gb"].core, mig=True, instances=list(instances))


def slices(profile):
    return PodSpec({f"nvidia.com/mig-{profile}": 1})


def test_mig_members_of_several_profiles_across_nodes():
    """Two GPUs of 8 units: 4g + 3g on each is all they hold, and a fifth 1g is too many."""
    cluster = cluster_of(cut_node(a100()), cut_node(a100()))
    cluster.upsert_gang("n/job", min_members=4)
    names = ["3g.20gb", "4g.20gb", "3g.20gb", "4g.20gb"]
    arrive(cluster, *[slices(name) for name in names], gang="n/job")
    outcome = Scheduler(cluster).schedule()
    assert len(outcome.binds) == 4
    cluster.upsert_gang("n/more", min_members=2)
    arrive(cluster, slices("1g.5gb"), slices("1g.5gb"), prefix="more", gang="n/more")
    reason = reason_of(Scheduler(cluster).schedule(), "more0")
    assert reason.message.startswith("0 of 2 Pods of pod group n/more fit. 0/2 nodes are available: 2 No geometry")


def test_planning_anew_lets_a_gang_in_whole_and_takes_none_apart():
    """8 units. 1g, then a gang of 3g + 3g: in order the 1g lies where the second 3g would have to go or not; a gang of
    three 3g never fits, and none of it is placed alone."""
    cluster = cluster_of(cut_node(a100(("1g.5gb", 4, True, "stranger")), a100()))
    arrive(cluster, *[slices("1g.5gb")] * 2)
    cluster.upsert_gang("n/job", min_members=3)
    cluster.upsert_gang("n/too-large", min_members=3)
    arrive(cluster, *[slices("3g.20gb")] * 3, prefix="job", arrival=5, gang="n/job")
    arrive(cluster, *[slices("3g.20gb")] * 3, prefix="large", arrival=6, gang="n/too-large")
    outcome = Scheduler(cluster).schedule()
    assert {uid for uid in nodes_of(outcome) if uid.startswith("job")} == {"job0", "job1", "job2"}
    assert len(outcome.binds) == 5
    assert cluster.gang("n/too-large").placed == 0
    assert reason_of(outcome, "large0").code == "GangDoesNotFit"


# ---- one domain


def test_required_all_are_in_the_fullest_domain_that_holds_them():
    """Free: r0 24, r1 16 - 3 = 13, r2 8. 12 fit into r1 and r0; r1 has less to lose."""
    cluster = racks(3, 2, 1)
    cluster.upsert_pod("there", pod(gpus=3), node="n3")
    cluster.upsert_gang("n/job", min_members=12, topology_key="rack", required=True)
    arrive(cluster, *[pod(gpus=1)] * 12, gang="n/job")
    assert set(nodes_of(Scheduler(cluster).schedule()).values()) == {"n3", "n4"}


def test_required_and_no_domain_holds_them():
    """12 + 8 GPUs are enough, but not in one rack; a node without a rack is in none."""
    cluster = racks(1, 1)
    cluster.upsert_node("alone", node(gpus=64))
    cluster.upsert_gang("n/job", min_members=9, topology_key="rack", required=True)
    arrive(cluster, *[pod(gpus=1)] * 9, gang="n/job")
    scheduler = Scheduler(cluster)
    reason = reason_of(scheduler.schedule(), "p0")
    assert reason.code == "GangDoesNotFit"
    assert reason.message == (
        "8 of 9 Pods of pod group n/job fit in rack r0. 0/3 nodes are available: 2 node(s) were outside the domain of "
        "the pod group, 1 Insufficient nvidia.com/gpu. Closest is node n0, which lacks 1 GPU."
    )
    cluster.upsert_gang("n/job", min_members=9, topology_key="block", required=True)
    reason = reason_of(scheduler.schedule(), "p0")
    assert reason.message == "0 of 9 Pods of pod group n/job fit. No node has the label block."
    cluster.upsert_gang("n/job", min_members=9, topology_key="rack")
    assert len(scheduler.schedule().binds) == 9


def test_required_later_members_go_where_the_first_are_or_wait():
    cluster = racks(1, 1)
    cluster.upsert_gang("n/job", min_members=2, topology_key="rack", required=True)
    arrive(cluster, *[pod(gpus=4)] * 2, gang="n/job")
    scheduler = Scheduler(cluster)
    scheduler.schedule()
    arrive(cluster, pod(gpus=1), prefix="late", gang="n/job")
    outcome = scheduler.schedule()
    assert outcome.binds == []
    assert "1 node(s) were outside the domain of the pod group" in reason_of(outcome, "late0").message
    assert scheduler.place("late0") is None
    cluster.upsert_gang("n/job", min_members=2, topology_key="rack")
    assert set(nodes_of(scheduler.schedule())) == {"late0"}


def test_a_domain_that_they_fill_is_the_first_choice():
    """r1 has 2 GPUs, r0 has 3."""
    cluster = cluster_of(node(gpus=3, labels={"rack": "r0"}), node(gpus=2, labels={"rack": "r1"}))
    cluster.upsert_gang("n/job", min_members=2, topology_key="rack", required=True)
    arrive(cluster, *[pod(gpus=1)] * 2, gang="n/job")
    assert set(nodes_of(Scheduler(cluster).schedule()).values()) == {"n1"}


@pytest.mark.parametrize("required", [False, True])
def test_members_in_several_domains_are_joined_where_most_of_them_are(required):
    """As after a change of labels: one is in r0, two are in r1, and one is where there is no rack."""
    cluster = racks(1, 1)
    cluster.upsert_node("alone", node())
    cluster.upsert_gang("n/job", min_members=4, topology_key="rack", required=required)
    for uid, where in (("a", "n0"), ("b", "n1"), ("c", "n1"), ("d", "alone")):
        cluster.upsert_pod(uid, pod(gpus=1), node=where, gang="n/job")
    arrive(cluster, pod(gpus=1), gang="n/job")
    assert nodes_of(Scheduler(cluster).schedule()) == {"p0": "n1"}


def test_a_domain_that_holds_all_comes_before_one_that_holds_what_is_lacking():
    """r0 holds 2 of 3, r1 all: the extra member decides."""
    cluster = cluster_of(node(gpus=2, labels={"rack": "r0"}), node(gpus=9, labels={"rack": "r1"}))
    cluster.upsert_gang("n/job", min_members=2, topology_key="rack")
    arrive(cluster, *[pod(gpus=1)] * 3, gang="n/job")
    assert set(nodes_of(Scheduler(cluster).schedule()).values()) == {"n1"}


def test_a_domain_of_nodes_that_it_may_not_use_is_passed_over():
    """r0 holds them by its GPUs alone, and is the fuller one."""
    taint = [Taint("gpu", "", "NoSchedule")]
    cluster = cluster_of(node(gpus=4, labels={"rack": "r0"}, taints=taint), node(gpus=8, labels={"rack": "r1"}))
    cluster.upsert_gang("n/job", min_members=3, topology_key="rack", required=True)
    arrive(cluster, *[pod(gpus=1)] * 3, gang="n/job")
    assert set(nodes_of(Scheduler(cluster).schedule()).values()) == {"n1"}


@pytest.mark.parametrize("required", [False, True])
def test_a_gang_whose_minimum_is_nobody_joins_one_by_one(required):
    """Such is one whose Pods have run to the end but for these."""
    cluster = racks(1)
    cluster.upsert_gang("n/job", min_members=0, topology_key="rack", required=required)
    arrive(cluster, pod(gpus=8), pod(gpus=8), gang="n/job")
    outcome = Scheduler(cluster).schedule()
    assert set(nodes_of(outcome)) == {"p0"}
    assert reason_of(outcome, "p1").code == "InsufficientGpu"


def test_a_preferred_domain_holds_back_nobody_whom_it_has_no_room_for():
    """r0 holds the two that the gang lacks, the third goes to r1 at once."""
    cluster = cluster_of(node(gpus=2, labels={"rack": "r0"}), node(gpus=1, labels={"rack": "r1"}))
    cluster.upsert_gang("n/job", min_members=2, topology_key="rack")
    arrive(cluster, *[pod(gpus=1)] * 4, gang="n/job")
    outcome = Scheduler(cluster).schedule()
    assert nodes_of(outcome) == {"p0": "n0", "p1": "n0", "p2": "n1"}
    assert reason_of(outcome, "p3").message.startswith("0/2 nodes are available: 2 Insufficient nvidia.com/gpu")


def test_a_gang_with_a_problem_waits_and_says_so():
    cluster = cluster_of(node())
    cluster.upsert_gang("n/job", min_members=1, problem="makes no sense")
    arrive(cluster, pod(gpus=1), gang="n/job")
    cluster.upsert_pod("runs", pod(gpus=1), node="n0", gang="n/job")
    scheduler = Scheduler(cluster)
    reason = reason_of(scheduler.schedule(), "p0")
    assert (reason.code, reason.message) == ("GangInvalid", "Pod group n/job makes no sense.")
    assert scheduler.place("p0") is None
    cluster.upsert_gang("n/job", min_members=1)
    assert set(nodes_of(scheduler.schedule())) == {"p0"}


@pytest.mark.parametrize("liked", ["n0", "n1", "n2"])
def test_in_its_domain_a_member_goes_to_the_node_that_it_prefers(liked):
    """Of three that cost the same; without a preference the first is taken."""
    cluster = cluster_of(*[node(labels={"rack": "r0", "name": name}) for name in ("n0", "n1", "n2")])
    cluster.upsert_gang("n/job", min_members=1, topology_key="rack", required=True)
    wish = (10, SelectorTerm([Requirement("name", "In", [liked])]))
    arrive(cluster, pod(gpus=8, preferred_affinity=[wish]), gang="n/job")
    scheduler = Scheduler(cluster)
    assert nodes_of(scheduler.schedule()) == {"p0": liked}
    arrive(cluster, pod(gpus=8), prefix="any", gang="n/job")
    assert nodes_of(scheduler.schedule()) == {"any0": "n1" if liked == "n0" else "n0"}
