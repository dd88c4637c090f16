"""Which nodes are ordered for whom: cases with their arithmetic. Optima in general are in test_scale_up_optimal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest

from nos._core import (
    Cluster,
    GpuSpec,
    NodeGroup,
    NodeSpec,
    PodLabels,
    PodSelector,
    PodSpec,
    PodTerm,
    QuotaSpec,
    Requirement,
    ScaleUp,
    Taint,
    scale_up,
)
from tests.cut_gpus import MODELS

GPU = "nvidia.com/gpu"
HOSTNAME = "kubernetes.io/hostname"
MIG = "nvidia.com/mig-"
A100 = MODELS["a100-40gb"].core


def node(cpu: int = 8000, gpus: int = 0, cut: bool = False, **more: Any) -> NodeSpec:
    room = {"cpu": cpu, "memory": 64, "pods": 20, GPU: gpus}
    return NodeSpec(room, gpus=[GpuSpec(A100, ready=True)] * gpus if cut else [], **more)


def group(name: str, offered: NodeSpec, price: int, room: int = 100, **more: Any) -> NodeGroup:
    return NodeGroup(name, offered, price=price, room=room, **more)


def cluster_of(pods: Mapping[str, PodSpec], **more: Any) -> Cluster:
    cluster = Cluster()
    for arrival, (uid, spec) in enumerate(pods.items()):
        cluster.upsert_pod(uid, spec, arrival=arrival, **more)
    return cluster


def ordered(plan: ScaleUp) -> Counter[str]:
    return Counter(one.group for one in plan.nodes)


def planned(cluster: Cluster, groups: Sequence[NodeGroup], **more: Any) -> ScaleUp:
    """The plan, with what holds of every plan."""
    waited = cluster.waiting_count
    plan = scale_up(cluster, groups, **more)
    cluster.check()
    prices = {one.id: one.price for one in groups}
    assert plan.price == sum(prices[one.group] for one in plan.nodes)
    assert plan.bound <= plan.price <= plan.first_fit_price
    assert all(one.pods for one in plan.nodes)
    assert all(cluster.pod(uid).node == one.name for one in plan.nodes for uid in one.pods)
    assert sum(len(one.pods) for one in plan.nodes) + len(plan.binds) + cluster.waiting_count == waited
    assert all(ordered(plan)[one.id] <= one.room for one in groups)
    if not plan.left:
        again = scale_up(cluster, groups, **more)
        assert (again.nodes, again.binds, again.price) == ([], [], 0)
    return plan


def test_a_new_node_is_in_the_cluster_afterwards_under_its_name() -> None:
    cluster = cluster_of({"u": PodSpec({"cpu": 1000})})
    plan = planned(cluster, [group("cpu", node(), 10)])
    assert [(one.group, one.name, one.pods, one.cuts) for one in plan.nodes] == [("cpu", "cpu#1", ["u"], [])]
    assert cluster.pod("u").node == "cpu#1"


def test_who_has_a_place_orders_nothing() -> None:
    cluster = cluster_of({"u": PodSpec({"cpu": 1000})})
    cluster.upsert_node("there", node())
    plan = planned(cluster, [group("cpu", node(), 10)])
    assert plan.nodes == []
    assert [(bind.uid, bind.node) for bind in plan.binds] == [("u", "there")]


def test_of_groups_with_the_same_cpu_the_cheaper_one_gives_the_gpu() -> None:
    """One GPU of 1 or of 8: cpu and memory alike, so that who looks at these alone cannot tell them apart."""
    plan = planned(
        cluster_of({"u": PodSpec({"cpu": 1000, GPU: 1})}),
        [group("eight", node(gpus=8), 80), group("one", node(gpus=1), 10)],
    )
    assert ordered(plan) == {"one": 1}


def test_two_groups_in_one_plan() -> None:
    """Five GPUs: 4 + 1 cost 40 + 12, two of four 80, five of one 60."""
    plan = planned(
        cluster_of({f"u{i}": PodSpec({GPU: 1}) for i in range(5)}),
        [group("four", node(gpus=4), 40), group("one", node(gpus=1), 12)],
    )
    assert ordered(plan) == {"four": 1, "one": 1}
    assert (plan.price, plan.bound, plan.exact) == (52, 52, True)


def test_who_is_heavy_in_cpu_does_not_take_the_nodes_of_who_is_heavy_in_gpu() -> None:
    """Two Pods of 7 CPUs beside two of 1 GPU and 1 CPU: two nodes of 8 CPUs and 1 GPU hold a pair each."""
    pods = {f"c{i}": PodSpec({"cpu": 7000}) for i in range(2)} | {
        f"g{i}": PodSpec({"cpu": 1000, GPU: 1}) for i in range(2)
    }
    plan = planned(cluster_of(pods), [group("gpu", node(gpus=1), 30), group("cpu", node(), 8)])
    assert ordered(plan) == {"gpu": 2}


def test_first_fit_decreasing_is_beaten() -> None:
    """4, 4, 3, 3, 3, 3 of 10: by size 4+4, 3+3+3, 3; but 4+3+3 twice holds all."""
    pods = {f"u{i}": PodSpec({"cpu": size * 100}) for i, size in enumerate([4, 4, 3, 3, 3, 3])}
    plan = planned(cluster_of(pods), [group("cpu", node(cpu=1000), 10)])
    assert (plan.price, plan.first_fit_price, plan.exact) == (20, 30, True)


def test_pods_that_look_at_others_are_placed_by_the_real_filter() -> None:
    """Three that keep away from each other want three nodes, though one has room for all."""
    apart = PodTerm(HOSTNAME, PodSelector([Requirement("app", "In", ["a"])], namespaces=["ns"]))
    cluster = Cluster()
    for i in range(3):
        labels = PodLabels("ns", {"app": "a"})
        cluster.upsert_pod(f"u{i}", PodSpec({"cpu": 100}, pod_anti_affinity=[apart]), labels=labels, arrival=i)
    plan = planned(cluster, [group("cpu", node(), 10)])
    assert ordered(plan) == {"cpu": 3}
    assert not plan.exact


def test_a_gang_uses_what_is_there_before_it_asks_for_more() -> None:
    cluster = Cluster()
    cluster.upsert_gang("g", min_members=4)
    cluster.upsert_node("there", node(gpus=2))
    for uid in "abcd":
        cluster.upsert_pod(uid, PodSpec({GPU: 1}), gang="g")
    plan = planned(cluster, [group("gpu", node(gpus=2), 20)])
    assert ordered(plan) == {"gpu": 1}
    assert {bind.node for bind in plan.binds} == {"there"}


def test_few_steps_make_a_good_plan_that_claims_nothing() -> None:
    pods = {f"u{i}": PodSpec({"cpu": 700 + 130 * (i % 7), "memory": 1 + i % 5}) for i in range(60)}
    plan = planned(cluster_of(pods), [group("a", node(), 10), group("b", node(cpu=5000), 6)], most_steps=0)
    assert not plan.left
    assert plan.exact == (plan.price == plan.bound)


def test_mig_is_no_number() -> None:
    """3 + 3 + 1 slices are 7 of 7, but 4 + 4 units of memory are 8 of 8: the third needs another GPU."""
    pods = {f"u{i}": PodSpec({MIG + profile: 1}) for i, profile in enumerate(["3g.20gb", "3g.20gb", "1g.5gb"])}
    plan = planned(cluster_of(pods), [group("a100", node(gpus=1, cut=True), 10)])
    assert ordered(plan) == {"a100": 2}
    cut = sorted(sorted(profile for profile, _ in instances) for one in plan.nodes for _, instances in one.cuts)
    assert cut in ([["1g.5gb"], ["3g.20gb", "3g.20gb"]], [["1g.5gb", "3g.20gb"], ["3g.20gb"]])


def test_what_repartition_can_serve_orders_nothing() -> None:
    cluster = cluster_of({"u": PodSpec({MIG + "3g.20gb": 1})})
    cluster.upsert_node(
        "there", NodeSpec({"pods": 9, GPU: 1}, gpus=[GpuSpec(A100, mig=True, instances=[("7g.40gb", 0, True, "")])])
    )
    assert planned(cluster, [group("a100", node(gpus=1, cut=True), 10)]).nodes == []


def test_a_gang_of_two_kinds_is_one_plan_over_two_groups() -> None:
    cluster = Cluster()
    cluster.upsert_gang("g", min_members=3)
    for uid, spec in {"a": PodSpec({GPU: 1}), "b": PodSpec({"cpu": 32000}), "c": PodSpec({GPU: 1})}.items():
        cluster.upsert_pod(uid, spec, gang="g")
    groups = [group("gpu", node(gpus=2), 20), group("cpu", node(cpu=32000), 5)]
    assert ordered(planned(cluster, groups)) == {"gpu": 1, "cpu": 1}


def test_a_gang_that_does_not_fit_whole_orders_nothing() -> None:
    cluster = Cluster()
    cluster.upsert_gang("g", min_members=3)
    for uid in "abc":
        cluster.upsert_pod(uid, PodSpec({GPU: 1}), gang="g")
    plan = planned(cluster, [group("gpu", node(gpus=1), 20, room=2)])
    assert plan.nodes == []
    assert {uid for uid, _ in plan.left} == {"a", "b", "c"}


@pytest.mark.parametrize("known", [["a", "b"], ["b", "a"]])
def test_of_two_gangs_the_one_that_came_first_gets_the_node(known: list[str]) -> None:
    cluster = Cluster()
    for gang in known:
        cluster.upsert_gang(gang, min_members=2)
    for arrival, uid in enumerate(["b0", "a0", "b1", "a1"]):
        cluster.upsert_pod(uid, PodSpec({GPU: 2}), arrival=arrival, gang=uid[0])
    plan = planned(cluster, [group("gpu", node(gpus=4), 10, room=1)])  # 4 GPUs: 2 members of 2 each
    assert [one.pods for one in plan.nodes] == [["b0", "b1"]]


def test_a_gang_lies_in_one_domain() -> None:
    cluster = Cluster()
    cluster.upsert_gang("g", min_members=3, topology_key="zone", required=True)
    for uid in "abc":
        cluster.upsert_pod(uid, PodSpec({GPU: 1}), gang="g")
    groups = [
        group("cheap", node(gpus=1, labels={"zone": "a"}), 1, room=2),
        group("dear", node(gpus=1, labels={"zone": "b"}), 9, room=3),
    ]
    assert ordered(planned(cluster, groups)) == {"dear": 3}


def test_a_limit_that_groups_share() -> None:
    pods = {f"u{i}": PodSpec({GPU: 1}) for i in range(4)}
    groups = [group(name, node(gpus=1), price, uses={"gpus": 1}) for name, price in (("a", 5), ("b", 7))]
    plan = planned(cluster_of(pods), groups, limits={"gpus": 3})
    assert ordered(plan) == {"a": 3}
    assert [why for _, why in plan.left] == [
        "; ".join(f"{group}: a node takes 1 of limit gpus, which has 0 left" for group in ("Group a", "group b"))
    ]


def test_who_is_left_is_told_what_forbids_it_in_each_group() -> None:
    groups = [
        group("small", node(cpu=1000), 1),
        group("none", node(), 1, room=0),
        group("tainted", node(taints=[Taint("spot")]), 1),
    ]
    plan = planned(cluster_of({"u": PodSpec({"cpu": 4000})}), groups)
    assert plan.left == [
        (
            "u",
            "Group small: Insufficient cpu; group none: it is at its limit; "
            "group tainted: node(s) had untolerated taint {spot: }",
        )
    ]


def test_nobody_gets_a_node_that_his_quota_would_not_let_him_use() -> None:
    """Max 2 GPUs: of three Pods two are placed, and the third does not ask."""
    cluster = Cluster()
    cluster.upsert_quota("team", QuotaSpec(["ns"], min={GPU: 2}, max={GPU: 2}))
    for i in range(3):
        cluster.upsert_pod(f"u{i}", PodSpec({GPU: 1}), labels=PodLabels("ns"), arrival=i)
    plan = planned(cluster, [group("gpu", node(gpus=1), 20)])
    assert ordered(plan) == {"gpu": 2}


@pytest.mark.parametrize("gpus", [6, 8])
@pytest.mark.parametrize("seed", range(4))
def test_shares_that_fill_their_gpus_to_the_last_milli(gpus: int, seed: int) -> None:
    """Made from full GPUs of three shares each, so that one node does; taken by size they would need a second."""
    random = Random(seed)
    shares = []
    for _ in range(gpus):
        large = random.randint(334, 390)
        middle = random.randint(max(260, 610 - large), min(390, 740 - large))
        shares += [large, middle, 1000 - large - middle]
    pods = {f"u{i}": PodSpec({}, gpu_share_milli=share) for i, share in enumerate(shares)}
    plan = planned(cluster_of(pods), [group("gpus", NodeSpec({GPU: gpus, "pods": 60}), 8)])
    assert (ordered(plan), plan.exact, plan.bound) == ({"gpus": 1}, True, 8)


def test_what_is_too_hard_to_pack_is_never_called_exact() -> None:
    """The loads of 20 shares about the edge of 8 GPUs are more than the search has steps for."""
    random = Random(0)
    pods = {f"u{i}": PodSpec({}, gpu_share_milli=random.randint(300, 500)) for i in range(20)}
    plan = planned(cluster_of(pods), [group("gpus", NodeSpec({GPU: 8, "pods": 60}), 8)])
    assert ordered(plan)["gpus"] in (1, 2)
    assert (plan.exact, plan.bound) in ((False, 0), (True, plan.price))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NodeGroup("", node(), price=1, room=1), "needs an id"),
        (lambda: group("g", node(), -1), "group g: price -1 is not between"),
        (lambda: group("g", node(), 1, room=-1), "group g: room -1 is negative"),
        (lambda: group("g", node(), 1, uses={"x": -1}), "group g: uses -1 of x"),
        (lambda: scale_up(Cluster(), [group("g", node(), 1)] * 2), "two groups have the id g"),
        (lambda: scale_up(Cluster(), [group("g", node(), 1, uses={"x": 1})]), "group g: there is no limit x"),
        (lambda: scale_up(Cluster(), [], limits={"x": -1}), "limit x: -1 is negative"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
