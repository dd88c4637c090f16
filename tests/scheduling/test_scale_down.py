"""Nodes that are not needed: each rule of who goes and who stays, in numbers that can be counted by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    Removable,
    Requirement,
    ScaleDown,
    Scheduler,
    SpreadConstraint,
    Taint,
    scale_down,
)
from tests.cut_gpus import MODELS

GPU = "nvidia.com/gpu"
MODEL = "a100-40gb"


class Fleet:
    """Nodes of four CPUs, unless it is said otherwise, and Pods that may be moved."""

    def __init__(self, **nodes: int) -> None:
        """By name, the price of each."""
        self.cluster = Cluster()
        self.prices = nodes
        self.pods: list[str] = []
        for name in nodes:
            self.node(name)

    def node(self, name: str, cpus: int = 4, labels: Mapping[str, str] | None = None, **more: Any) -> None:
        amounts = {"cpu": 1000 * cpus, "pods": 10, GPU: 8}
        self.cluster.upsert_node(name, NodeSpec(amounts, labels=labels or {}, **more))

    def pod(self, uid: str, node: str = "", cpus: int = 1, spec: PodSpec | None = None, **more: Any) -> None:
        self.cluster.upsert_pod(uid, spec or PodSpec({"cpu": 1000 * cpus}), node=node, **more)
        self.pods.append(uid)

    def down(self, *nodes: str, fixed: Collection[str] = (), **more: Any) -> ScaleDown:
        """All nodes may go, or these."""
        removable = [Removable(name, price=self.prices[name]) for name in nodes or self.prices]
        found = scale_down(self.cluster, removable, movable=set(self.pods) - set(fixed), **more)
        self.cluster.check()
        return found


def gone(found: ScaleDown) -> list[list[str]]:
    return [step.nodes for step in found.steps]


def moves(found: ScaleDown) -> dict[str, str]:
    return {uid: node for step in found.steps for uid, node in step.moves}


# ---- what is worth it


def test_empty_nodes_go_first_and_in_any_case():
    fleet = Fleet(a=5, b=0, c=7)
    fleet.pod("p", "a")
    fleet.node("rest")
    found = fleet.down(move_price=1)
    assert gone(found) == [["c"], ["b"], ["a"]]
    assert moves(found) == {"p": "rest"}
    assert [step.saved for step in found.steps] == [7, 0, 5]
    assert found.saved == 12


@pytest.mark.parametrize(("move_price", "goes"), [(4, True), (5, False), (6, False)])
def test_a_node_goes_if_it_costs_more_than_its_moves(move_price, goes):
    fleet = Fleet(a=10)
    fleet.node("rest")
    fleet.pod("p", "a")
    fleet.pod("q", "a")
    found = fleet.down(move_price=move_price)
    assert gone(found) == ([["a"]] if goes else [])  # 10 against 2 x 4, 2 x 5, 2 x 6
    assert found.kept == ([] if goes else [("a", "moving 2 Pods costs as much as is saved")])


def test_what_saves_more_per_move_goes_where_not_all_can():
    fleet = Fleet(one=10, two=30, three=12)  # 10, 15 and 12 per Pod
    fleet.pod("p1", "one")
    fleet.pod("p2", "two")
    fleet.pod("p3", "two")
    fleet.pod("p4", "three")
    fleet.node("rest", cpus=2)
    fleet.pod("full", "rest", cpus=0)
    assert gone(fleet.down(spare={}, move_price=1)) == [["two"], ["three"]]  # p2, p3 to rest; p4 to node one


def test_a_set_that_is_no_prefix_goes():
    """By moves: a, b, c. Node b cannot go, whoever else does: a search that removes the first so many stops there."""
    fleet = Fleet(a=10, b=10, c=10)
    fleet.pod("pa", "a")
    fleet.pod("pb1", "b", spec=PodSpec({"example.com/dongle": 1}))
    fleet.pod("pb2", "b", cpus=0)
    for number in range(3):
        fleet.pod(f"pc{number}", "c")
    fleet.node("rest")
    found = fleet.down()
    assert gone(found) == [["a"], ["c"]]  # 1 + 3 CPUs
    assert found.kept == [("b", "Pod pb1 has no place elsewhere")]


def test_two_dear_nodes_go_rather_than_one_that_saves_more_per_move():
    """The rest has four CPUs. Node a alone takes three of them for 40; b and c take two each for 30 each."""
    fleet = Fleet(a=40, b=30, c=30)
    fleet.pod("pa", "a", spec=PodSpec({"cpu": 3000, GPU: 1}))
    fleet.pod("pb", "b", spec=PodSpec({"cpu": 2000, GPU: 1}))
    fleet.pod("pc", "c", spec=PodSpec({"cpu": 2000, GPU: 1}))
    for node, cpus in {"a": 3, "b": 2, "c": 2, "rest": 4}.items():
        fleet.node(node, cpus=cpus)
    found = fleet.down()
    assert gone(found) == [["b"], ["c"]]
    assert found.saved == 60
    assert found.kept == [("a", "Pod pa has no place elsewhere")]


def test_among_many_nodes_a_better_choice_of_a_few_is_found_too():
    """As above, beside eight nodes that are full, each of them worth less."""
    fleet = Fleet(a=40, b=30, c=30, **{f"full{number}": 50 for number in range(8)})
    for node, cpus in {"a": 3, "b": 2, "c": 2}.items():
        fleet.node(node, cpus=cpus)
        fleet.pod(f"p{node}", node, cpus=cpus)
    for number in range(8):
        for part in range(2):
            fleet.pod(f"f{number}-{part}", f"full{number}", cpus=2)
    fleet.node("rest")
    assert gone(fleet.down()) == [["b"], ["c"]]


def test_pods_move_once_though_the_nodes_empty_one_after_the_other():
    """Five nodes with one Pod each, of which one node takes four: whoever is moved is not moved again."""
    fleet = Fleet(a=10, b=10, c=10, d=10, e=10)
    for node in "abcde":
        fleet.pod(f"p{node}", node)
    found = fleet.down()
    left = {"a", "b", "c", "d", "e"} - {node for nodes in gone(found) for node in nodes}
    assert len(left) == 2
    assert len(moves(found)) == 3
    assert set(moves(found).values()) <= left


# ---- who stays


def test_pods_that_may_not_be_moved_keep_their_node_and_others_do_not():
    fleet = Fleet(a=10, b=10, c=10)
    fleet.node("rest")
    fleet.pod("mine", "a")
    fleet.pod("daemon", "b", cpus=4)
    fleet.pod("ending", "c", cpus=4, terminating=True)
    found = fleet.down(fixed=["mine", "daemon", "ending"], ignored=["daemon"], move_price=100)
    assert gone(found) == [["b"], ["c"]]
    assert moves(found) == {}
    assert found.kept == [("a", "Pod mine may not be moved")]
    assert "daemon" not in fleet.cluster
    assert "mine" in fleet.cluster


def test_waiting_pods_are_placed_first_and_keep_their_node():
    fleet = Fleet(a=10, b=10)
    fleet.pod("waits", cpus=3)
    found = fleet.down()
    [(kept, why)] = found.kept
    assert kept == fleet.cluster.pod("waits").node
    assert why == "Pod waits has just been placed there"
    assert len(gone(found)) == 1


def test_a_node_where_room_is_made_stays_and_so_does_who_makes_room_for_others():
    fleet = Fleet(a=10)
    fleet.node("rest")
    fleet.node("a", cpus=4)
    fleet.node("rest", cpus=4)
    fleet.pod("low", "a", cpus=4, priority=0)
    fleet.pod("other", "rest", cpus=4, priority=9)
    fleet.pod("high", cpus=2, priority=5)
    found = fleet.down()
    assert gone(found) == []
    assert found.kept == [("a", "there is to be room for Pod high")]


def test_nobody_is_evicted_for_whoever_moves():
    fleet = Fleet(a=10)
    fleet.node("rest", cpus=2)
    fleet.pod("high", "a", cpus=2, priority=9)
    fleet.pod("low", "rest", cpus=1, priority=0)
    found = fleet.down()
    assert gone(found) == []
    assert found.kept == [("a", "Pod high has no place elsewhere")]


def _labelled(app: str) -> PodLabels:
    return PodLabels("", {"app": app})


def _budget(fleet: Fleet, name: str, app: str, allowed: int) -> None:
    selector = PodSelector([Requirement("app", "In", [app])], namespaces=[""])
    fleet.cluster.upsert_budget(name, selector, allowed)


def test_a_budget_that_allows_none_keeps_the_node_and_one_that_allows_some_does_not():
    fleet = Fleet(a=10, b=10)
    fleet.node("rest")
    fleet.pod("p", "a", labels=_labelled("db"))
    fleet.pod("q", "b", labels=_labelled("web"))
    fleet.pod("r", "b", labels=_labelled("web"))
    _budget(fleet, "none", "db", 0)
    _budget(fleet, "some", "web", 1)  # the second goes when the first is back
    found = fleet.down()
    assert gone(found) == [["b"]]
    assert found.kept == [("a", "disruption budget none keeps Pod p")]


def test_two_budgets_over_one_pod_keep_it_since_the_api_server_refuses_its_eviction():
    fleet = Fleet(a=10)
    fleet.node("rest")
    fleet.pod("p", "a", labels=_labelled("db"))
    _budget(fleet, "one", "db", 1)
    _budget(fleet, "two", "db", 1)
    assert fleet.down().kept == [("a", "Pod p has two disruption budgets, one and two: it cannot be evicted")]


def test_a_pod_whose_eviction_was_refused_keeps_its_node():
    fleet = Fleet(a=10)
    fleet.node("rest")
    fleet.pod("p", "a")
    fleet.cluster.protect("p", True)
    assert fleet.down().kept == [("a", "the eviction of Pod p was refused")]


def test_no_more_nodes_go_than_are_to_spare():
    fleet = Fleet(a=10, b=30, c=20)
    removable = [Removable(name, price=price, limit="pool") for name, price in fleet.prices.items()]
    found = scale_down(fleet.cluster, removable, movable=[], spare={"pool": 2})
    assert gone(found) == [["b"], ["c"]]
    assert found.kept == [("a", "no more nodes of pool may go")]


def test_a_quota_that_has_less_by_now_lets_nobody_move():
    """Whoever is evicted is let in anew: its quota, whose max was lowered, has room for one of two."""
    fleet = Fleet(a=10)
    fleet.node("rest")
    for uid in "pq":
        fleet.pod(uid, "a", spec=PodSpec({"cpu": 1000, GPU: 1}), labels=PodLabels("team"))
    fleet.cluster.upsert_quota("team", QuotaSpec(["team"], min={GPU: 1}, max={GPU: 1}))
    assert fleet.down().kept == [("a", "Pod q has no place elsewhere")]


# ---- where they go


def test_pods_stay_away_from_nodes_that_go_and_from_those_that_they_may_not_use():
    fleet = Fleet(a=10, b=10)
    fleet.pod("p", "a")
    fleet.node("tainted", taints=[Taint("gpu")])
    fleet.node("cordoned", unschedulable=True)
    assert gone(fleet.down("a")) == [["a"]]
    assert fleet.cluster.pod("p").node == "b"


def test_pods_that_may_not_be_together_are_kept_apart_where_they_go():
    apart = PodSpec({"cpu": 1000}, pod_anti_affinity=[PodTerm("host", _selects("db"))])
    fleet = Fleet(a=10, b=9)
    for node in ("a", "b", "rest"):
        fleet.node(node, labels={"host": node})
    fleet.pod("p", "a", spec=apart, labels=_labelled("db"))
    fleet.pod("q", "b", spec=apart, labels=_labelled("db"))
    assert gone(fleet.down()) == [["a"]]
    assert moves(fleet.down()) == {}
    assert fleet.cluster.pod("p").node == "rest"


def _selects(app: str) -> PodSelector:
    return PodSelector([Requirement("app", "In", [app])], namespaces=[""])


def test_pods_that_are_to_be_spread_are_spread_where_they_go():
    """Three of four are left in zone x; the fourth may not join them, and zone y has no other node."""
    spread = PodSpec({"cpu": 1000}, spread=[SpreadConstraint("zone", _selects("web"), max_skew=1)])
    fleet = Fleet(a=10)
    fleet.node("a", labels={"zone": "y"})
    fleet.node("rest", labels={"zone": "x"})
    fleet.pod("p", "a", spec=spread, labels=_labelled("web"))
    fleet.pod("q", "rest", spec=spread, labels=_labelled("web"))
    assert fleet.down().kept == [("a", "Pod p has no place elsewhere")]


def _cut(fleet: Fleet, name: str, instances: list[tuple[str, int, bool, str]]) -> None:
    gpu = GpuSpec(MODELS[MODEL].core, mig=True, instances=instances)
    fleet.node(name, gpus=[gpu, *[GpuSpec(None)] * 7])


def test_the_gpus_where_they_go_are_cut_anew():
    """The free GPU there is cut into sevenths, of which nobody has any: it becomes two halves."""
    fleet = Fleet(a=10)
    wants = PodSpec({"cpu": 1000, "nvidia.com/mig-3g.20gb": 1})
    _cut(fleet, "a", [("3g.20gb", 0, True, "p"), ("3g.20gb", 4, True, "q")])
    _cut(fleet, "rest", [("1g.5gb", start, True, "") for start in range(7)])
    fleet.pod("p", "a", spec=wants, instances=[(0, "3g.20gb", 0)])
    fleet.pod("q", "a", spec=wants, instances=[(0, "3g.20gb", 4)])
    found = fleet.down()
    assert gone(found) == [["a"]]
    [(mig, instances), *_] = fleet.cluster.targets("rest")
    assert mig
    assert sorted(instances) == [("3g.20gb", 0), ("3g.20gb", 4)]


def test_large_instances_are_placed_before_small_ones_take_their_room():
    """Beside a 1g and a 3g there is room for just another 3g and 1g, if the 1g lies in the right place."""
    fleet = Fleet(a=10)
    _cut(fleet, "a", [("1g.5gb", 0, True, "p"), ("1g.5gb", 1, True, "q"), ("3g.20gb", 4, True, "r")])
    _cut(fleet, "rest", [("2g.10gb", 0, True, "s")])
    small, large = (PodSpec({f"nvidia.com/mig-{name}": 1}) for name in ("1g.5gb", "3g.20gb"))
    fleet.pod("p", "a", spec=small, instances=[(0, "1g.5gb", 0)])
    fleet.pod("q", "a", spec=small, instances=[(0, "1g.5gb", 1)])
    fleet.pod("r", "a", spec=large, instances=[(0, "3g.20gb", 4)])
    fleet.pod("s", "rest", spec=PodSpec({"nvidia.com/mig-2g.10gb": 1}), instances=[(0, "2g.10gb", 0)])
    assert gone(fleet.down()) == [["a"]]
    assert sorted(spot[1:] for uid in "pqr" for spot in fleet.cluster.pod(uid).instances) == [
        ("1g.5gb", 2),
        ("1g.5gb", 3),
        ("3g.20gb", 4),
    ]


# ---- gangs


def _gang(fleet: Fleet, members: Mapping[str, str], min_members: int, **more: Any) -> None:
    fleet.cluster.upsert_gang("g", min_members=min_members, **more)
    for uid, node in members.items():
        fleet.pod(uid, node, gang="g")


def test_a_gang_leaves_its_nodes_as_a_whole_in_one_step():
    fleet = Fleet(a=10, b=10)
    fleet.node("rest")
    _gang(fleet, {"p": "a", "q": "b"}, 2)
    found = fleet.down(move_price=9)
    assert gone(found) == [["a", "b"]]
    assert moves(found) == {"p": "rest", "q": "rest"}
    assert found.steps[0].saved == 20


def test_a_gang_that_cannot_leave_one_of_its_nodes_keeps_the_others():
    fleet = Fleet(a=10, b=10)
    fleet.node("rest")
    _gang(fleet, {"p": "a", "q": "b"}, 2)
    fleet.pod("mine", "b")
    found = fleet.down(fixed=["mine"])
    assert gone(found) == []
    assert found.kept == [
        ("a", "a pod group there would have to leave node b, too, which stays"),
        ("b", "Pod mine may not be moved"),
    ]


def test_a_gang_for_which_there_is_room_in_part_does_not_move():
    fleet = Fleet(a=10, b=10)
    fleet.node("rest", cpus=1)
    _gang(fleet, {"p": "a", "q": "b"}, 2)
    found = fleet.down()
    assert gone(found) == []
    assert found.kept == [(node, "pod group g has no place elsewhere") for node in "ab"]


def test_a_gang_goes_on_without_those_it_can_spare_and_no_more():
    """It needs two of four Pods: two of them may move on their own, and then no third."""
    fleet = Fleet(a=10, b=9, c=8, d=7)
    fleet.node("rest", cpus=3)
    _gang(fleet, {"pa": "a", "pb": "b", "pc": "c", "pd": "d"}, 2)
    for node in "abcd":
        fleet.node(node, cpus=1)
    found = fleet.down()
    assert gone(found) == [["a"], ["b"]]
    assert moves(found) == {"pa": "rest", "pb": "rest"}


def test_a_gang_moves_to_one_domain_where_it_has_to_be_in_one():
    fleet = Fleet(a=10, b=10)
    for node, rack, cpus in [("a", "one", 4), ("b", "one", 4), ("s", "two", 1), ("t", "three", 1), ("u", "four", 2)]:
        fleet.node(node, cpus=cpus, labels={"rack": rack})
    _gang(fleet, {"p": "a", "q": "b"}, 2, topology_key="rack", required=True)
    assert moves(fleet.down()) == {"p": "u", "q": "u"}


def test_a_gang_on_more_than_three_nodes_stays():
    fleet = Fleet(a=10, b=10, c=10, d=10)
    fleet.node("rest")
    _gang(fleet, {f"p{node}": node for node in "abcd"}, 4)
    found = fleet.down()
    assert found.kept == [(node, "its pod groups run on 4 nodes") for node in "abcd"]


# ---- in exchange for cheaper nodes


def _group(id_: str, cpus: int, price: int, room: int = 9, **more: Any) -> NodeGroup:
    return NodeGroup(id_, NodeSpec({"cpu": 1000 * cpus, "pods": 10, GPU: 8}), price=price, room=room, **more)


def test_a_dear_node_goes_for_a_cheaper_one_that_is_large_enough():
    fleet = Fleet(a=100)
    for number in range(3):
        fleet.pod(f"p{number}", "a")
    found = fleet.down(groups=[_group("small", 2, 10), _group("fits", 3, 40), _group("large", 9, 50)], move_price=5)
    [step] = found.steps
    assert (step.nodes, step.saved, found.saved) == (["a"], 60, 60)  # 100 - 40, and 3 moves cost 15
    assert [(new.group, new.name, new.pods) for new in step.new] == [("fits", "fits#1", ["p0", "p1", "p2"])]
    assert dict(step.moves) == dict.fromkeys(["p0", "p1", "p2"], "fits#1")
    assert [node.name for node in fleet.cluster.nodes()] == ["fits#1"]
    assert found.kept == []


@pytest.mark.parametrize(("price", "goes"), [(89, True), (90, False), (100, False)])
def test_an_exchange_has_to_save_more_than_its_moves_cost(price, goes):
    fleet = Fleet(a=100)
    fleet.pod("p", "a")
    fleet.pod("q", "a")
    found = fleet.down(groups=[_group("g", 4, price)], move_price=5)  # 2 x 5
    assert gone(found) == ([["a"]] if goes else [])
    assert [node.name for node in fleet.cluster.nodes()] == (["g#1"] if goes else ["a"])


def test_no_node_is_ordered_where_there_is_room():
    fleet = Fleet(a=100)
    fleet.node("rest")
    fleet.pod("p", "a")
    [step] = fleet.down(groups=[_group("g", 4, 1)]).steps
    assert (step.moves, step.new, step.saved) == ([("p", "rest")], [], 100)


def test_three_nodes_go_for_one():
    """None has room for another's Pod, and one new node costs more than any of them."""
    fleet = Fleet(a=30, b=30, c=30)
    for node in "abc":
        fleet.pod(node + "1", node, cpus=3)
    [step] = fleet.down(groups=[_group("large", 9, 50)]).steps
    assert (step.nodes, step.saved) == (["a", "b", "c"], 40)
    assert step.new[0].pods == ["a1", "b1", "c1"]


def test_only_what_does_not_fit_elsewhere_needs_the_new_node():
    fleet = Fleet(a=100)
    fleet.node("rest", cpus=2)
    fleet.pod("p", "a", cpus=2)
    fleet.pod("q", "a", cpus=2)
    [step] = fleet.down(groups=[_group("g", 2, 10)]).steps
    assert sorted(node for _, node in step.moves) == ["g#1", "rest"]
    assert len(step.new[0].pods) == 1


def test_no_more_is_ordered_than_there_is_room_and_limits_allow():
    for room, uses, limits in [(2, {}, {}), (9, {"cpu": 4}, {"cpu": 11}), (9, {"cpu": 4}, {"cpu": 8})]:
        fleet = Fleet(a=100, b=100, c=100)
        for node in "abc":
            fleet.pod(node + "1", node, cpus=4)
        found = fleet.down(groups=[_group("g", 4, 10, room, uses=uses)], limits=limits)
        assert len(found.steps) == 2
        assert found.saved == 180
        assert len(found.kept) == 1


def test_what_is_to_spare_bounds_exchanges_too():
    fleet = Fleet(a=100, b=100)
    for node in "ab":
        fleet.pod(node + "1", node, cpus=4)
    removable = [Removable(name, price=100, limit="pool") for name in "ab"]
    found = scale_down(fleet.cluster, removable, movable=fleet.pods, spare={"pool": 1}, groups=[_group("g", 4, 10)])
    assert (len(found.steps), found.saved, len(found.kept)) == (1, 90, 1)


def test_a_new_node_is_cut_for_whom_it_is_ordered():
    fleet = Fleet(a=100)
    _cut(fleet, "a", [("3g.20gb", 0, True, "p")])
    fleet.pod("p", "a", spec=PodSpec({"nvidia.com/mig-3g.20gb": 1}), instances=[(0, "3g.20gb", 0)])
    spec = NodeSpec({"cpu": 1000, "pods": 10, GPU: 1}, gpus=[GpuSpec(MODELS[MODEL].core, ready=True)])
    [step] = fleet.down(groups=[NodeGroup("g", spec, price=10, room=1)]).steps
    [(mig, instances)] = step.new[0].cuts
    assert mig
    assert [profile for profile, _ in instances] == ["3g.20gb"]


def test_a_gang_goes_for_a_new_node_as_a_whole():
    fleet = Fleet(a=30, b=30)
    _gang(fleet, {"p": "a", "q": "b"}, 2)
    for node in "ab":
        fleet.node(node, cpus=1)
    [step] = fleet.down(groups=[_group("small", 1, 1), _group("large", 2, 20)]).steps
    assert (step.nodes, step.saved) == (["a", "b"], 40)
    assert step.new[0].pods == ["p", "q"]


# ---- what does not make sense


def test_a_node_that_is_not_there_is_kept_and_pods_that_are_not_there_are_nobody():
    found = scale_down(Cluster(), [Removable("ghost", price=1)], movable=["nobody"], ignored=["nobody"])
    assert (gone(found), found.kept) == ([], [("ghost", "there is no such node")])


def test_no_removable_nodes_is_no_work():
    fleet = Fleet()
    fleet.node("rest")
    found = scale_down(fleet.cluster, [], movable=[])
    assert (gone(found), found.saved, found.kept) == ([], 0, [])


def test_a_node_named_twice_a_negative_price_and_an_unknown_limit_are_refused():
    cluster = Cluster()
    with pytest.raises(ValueError, match="node a is named twice"):
        scale_down(cluster, [Removable("a", price=1), Removable("a", price=2)], movable=[])
    with pytest.raises(ValueError, match="the price of node a has to be from 0 to"):
        Removable("a", price=-1)
    with pytest.raises(ValueError, match="move_price has to be"):
        scale_down(cluster, [], movable=[], move_price=-1)
    with pytest.raises(ValueError, match="two groups have the id g"):
        scale_down(cluster, [], movable=[], groups=[_group("g", 1, 1), _group("g", 2, 2)])
    with pytest.raises(ValueError, match="node a has the limit pool, of which spare says nothing"):
        scale_down(cluster, [Removable("a", price=1, limit="pool")], movable=[])


def test_a_cluster_in_a_transaction_is_refused():
    fleet = Fleet(a=1)
    with fleet.cluster.transaction(), pytest.raises(RuntimeError):
        fleet.down()


def test_the_cluster_is_as_it_would_be():
    fleet = Fleet(a=10)
    fleet.node("rest")
    fleet.pod("p", "a")
    fleet.down()
    assert [node.name for node in fleet.cluster.nodes()] == ["rest"]
    assert Scheduler(fleet.cluster).feasible(PodSpec({"cpu": 3000})) == ["rest"]
    assert Scheduler(fleet.cluster).feasible(PodSpec({"cpu": 4000})) == []
