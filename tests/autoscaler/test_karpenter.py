"""The backend against the real Karpenter, in the role that the controller has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from nos.autoscaler.backend import BackendError, Instance, Order, OrderRefusedError, State
from nos.kube.decision import placements
from nos.testbed import Testbed
from nos.testbed.karpenter import Karpenter as Process
from nos.testbed.progress import Progress
from tests.autoscaler.karpenter_rig import BINDING, CLAIMS, CLASSES, G6, P5, POOLS, ROLE, Rig, machines
from tests.controller.cluster import eventually

pytestmark = pytest.mark.cluster
Object = dict[str, Any]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
LAYOUT = ((True, [("3g.40gb", 4), ("1g.10gb", 0)]), (False, []), (True, [("7g.80gb", 0)]))


@pytest.fixture(scope="module")
def karpenter(testbed: Testbed) -> Iterator[Process]:
    """Karpenter, for the tests of this file."""
    process = testbed.add_karpenter(machines())
    testbed.api.create(f"{_RBAC}/clusterroles", ROLE)
    testbed.api.create(f"{_RBAC}/clusterrolebindings", BINDING)
    yield process
    process.stop()


@pytest.fixture
def rig(testbed: Testbed, karpenter: Process) -> Iterator[Rig]:
    """A pool without nodes."""
    rig = Rig(testbed, karpenter)
    rig.prepare()
    yield rig
    rig.clear()


# ---- from the order to the node


def test_an_order_becomes_a_node_that_carries_it_and_is_up_when_it_is_cut(rig: Rig) -> None:
    group = rig.group()
    rig.order(Order("r-1", pods=("uid-1", "uid-2"), layout=LAYOUT), group=group)
    coming = rig.the_one()
    assert (coming.group, coming.state, coming.pods) == (P5, State.COMING, ("uid-1", "uid-2"))
    assert abs(time.time() - coming.since) < 60

    node = rig.node(eventually(lambda: rig.the_one().node, why="the Node registers"))
    annotations = node["metadata"]["annotations"]
    assert placements(annotations["nos.nebuly.com/layout"]) == ((0, "1g.10gb", 0), (0, "3g.40gb", 4), (2, "7g.80gb", 0))
    assert annotations["nos.nebuly.com/ordered-for"] == "uid-1,uid-2"
    assert annotations["nos.nebuly.com/group"] == P5
    assert annotations["nos.nebuly.com/request"] == "r-1"
    held = {"key": "nos.nebuly.com/not-cut", "effect": "NoSchedule"}
    assert held in node["spec"]["taints"]
    eventually(lambda: rig.condition(coming.id, "Initialized").get("reason") == "StartupTaintsExist")
    assert rig.the_one().state is State.COMING

    rig.lift(node["metadata"]["name"])
    assert rig.the_one(State.UP).node == node["metadata"]["name"]
    assert rig.group().target == 1


@pytest.mark.parametrize("name", [P5, G6])
def test_a_group_tells_the_truth_about_its_nodes(rig: Rig, name: str) -> None:
    group = rig.group(name)
    rig.order(Order("r"), group=group)
    rig.lift(eventually(lambda: rig.the_one().node))
    node = rig.node(rig.the_one(State.UP).node)
    template = group.template
    assert template.metadata.labels.items() <= node["metadata"]["labels"].items()
    assert template.status.allocatable == node["status"]["allocatable"]
    told = [{"key": t.key, "value": t.value, "effect": t.effect} for t in template.spec.taints]
    assert told == node["spec"]["taints"]
    assert "karpenter.sh/nodepool" not in node["metadata"]["labels"]


def test_a_node_with_gpus_that_nos_does_not_cut_is_up_when_it_advertises_them(rig: Rig) -> None:
    rig.order(Order("r"), group=rig.group(G6))
    claim = rig.claim(rig.the_one().id)
    assert claim["spec"]["resources"]["requests"] == {"nvidia.com/gpu": "4"}
    assert not claim["spec"].get("startupTaints")
    assert claim["spec"]["expireAfter"] == "Never"
    assert rig.the_one(State.UP).node


def test_all_that_a_pool_says_goes_on_to_its_nodes(rig: Rig) -> None:
    both = ["p5.48xlarge", "g6.12xlarge"]
    template = rig.api.get(f"{POOLS}/gpu")["spec"]["template"]
    template["metadata"] = {"labels": {"team": "research"}, "annotations": {"example.com/note": "kept"}}
    template["spec"] |= {
        "requirements": [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": both, "minValues": 2},
            {"key": "karpenter.kwok.sh/instance-cpu", "operator": "Gte", "values": ["192"]},
            {"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["us-east-1b"]},
            {"key": "tier", "operator": "In", "values": ["gold"]},
            {"key": "kubernetes.io/os", "operator": "Exists"},
        ],
        "startupTaints": [{"key": "example.com/agent", "value": "missing", "effect": "NoExecute"}],
        "terminationGracePeriod": "48h",
    }
    rig.pool(template=template)
    group = rig.group()
    rig.order(Order("r"), group=group)
    instance = rig.the_one()
    spec = rig.claim(instance.id)["spec"]
    asked = [(r["key"], r["operator"], r.get("values")) for r in spec["requirements"]]
    assert sorted(asked) == [
        ("karpenter.kwok.sh/instance-cpu", "Gte", ["192"]),
        ("karpenter.sh/capacity-type", "In", ["on-demand"]),
        ("kubernetes.io/os", "Exists", None),
        ("node.kubernetes.io/instance-type", "In", ["p5.48xlarge"]),
        ("tier", "In", ["gold"]),
        ("topology.kubernetes.io/zone", "In", ["us-east-1a"]),
    ]
    assert (spec["terminationGracePeriod"], spec["expireAfter"]) == ("48h", "Never")

    name = eventually(lambda: rig.the_one().node, why="the Node registers")
    node = rig.node(name)
    labels, annotations = node["metadata"]["labels"], node["metadata"]["annotations"]
    assert (labels["team"], labels["tier"], annotations["example.com/note"]) == ("research", "gold", "kept")
    assert {(t["key"], t["effect"]) for t in node["spec"]["taints"]} >= {
        ("nvidia.com/gpu", "NoSchedule"),
        ("example.com/agent", "NoExecute"),
        ("nos.nebuly.com/not-cut", "NoSchedule"),
    }
    rig.lift(name)
    still = 'StartupTaint "example.com/agent=missing:NoExecute" still exists'
    eventually(lambda: rig.condition(instance.id, "Initialized").get("message") == still, why="the pool's taint counts")
    assert rig.the_one().state is State.COMING
    rig.lift(name, "example.com/agent")
    node = rig.node(rig.the_one(State.UP).node)
    assert group.template.metadata.labels.items() <= node["metadata"]["labels"].items()


def test_an_order_is_made_once_however_often_it_is_given(rig: Rig) -> None:
    group = rig.group()
    orders = [Order("r-1"), Order("r-2")]
    rig.order(*orders, *orders, group=group)
    rig.order(*orders, group=group)  # by another process
    assert len(rig.claims()) == 2
    assert len({instance.id for instance in rig.survey().instances}) == 2
    assert rig.group().target == 2


def test_a_node_that_takes_long_is_coming_all_the_time(rig: Rig) -> None:
    rig.api.merge(f"{CLASSES}/default", {"spec": {"nodeRegistrationDelay": "1h"}})
    rig.order(Order("r", pods=("uid",)))
    name = rig.the_one().id
    eventually(lambda: rig.condition(name, "Launched").get("status") == "True", why="it is launched")
    rig.later = 3000.0
    instance = rig.the_one()
    assert (instance.state, instance.node, instance.pods) == (State.COMING, "", ("uid",))
    assert rig.group().target == 1


# ---- what fails


def test_no_capacity_makes_the_order_disappear(rig: Rig) -> None:
    group = rig.group()
    assert rig.karpenter
    rig.karpenter.stop()
    try:
        rig.order(Order("r"), group=group)
        assert rig.the_one().state is State.COMING
        assert not rig.is_gone(f"{CLASSES}/default")
        rig.api.request("DELETE", f"{CLASSES}/default")  # the provider then has no machines
    finally:
        rig.karpenter.start()
    eventually(lambda: not rig.survey().instances, why="Karpenter deletes the claim")
    assert not rig.claims()
    assert not [
        n for n in rig.api.get("/api/v1/nodes")["items"] if "nos.nebuly.com/node-pool" in n["metadata"]["labels"]
    ]


@pytest.mark.parametrize(
    ("offering", "says"),
    [
        ({"name": "p9", "zone": "us-east-1a"}, "instance type not found"),
        ({"name": "p5.48xlarge", "zone": "mars"}, "has not said anything"),  # its kwok provider panics
    ],
)
def test_what_cannot_be_launched_has_failed_after_a_minute(rig: Rig, offering: Object, says: str) -> None:
    here = rig.settings["instanceTypes"][0]
    unknown = here | {"name": offering["name"], "offerings": [{"zone": offering["zone"], "price": 1}]}
    rig.settings = rig.settings | {"instanceTypes": [unknown]}
    rig.order(Order("r"), group=rig.survey().groups[0])
    name = rig.the_one().id
    eventually(lambda: rig.claim(name)["metadata"].get("finalizers"), why="Karpenter has seen it")
    if says != "has not said anything":
        eventually(lambda: rig.condition(name, "Launched").get("reason") == "LaunchFailed")
    assert rig.the_one().state is State.COMING
    assert rig.survey().groups[0].target == 1
    rig.later = 61.0
    failed = rig.the_one()
    assert failed.state is State.FAILED
    assert says in failed.message
    assert rig.survey().groups[0].target == 0
    rig.cancel(failed)
    eventually(lambda: not rig.claims(), why="it is given up")


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, State.COMING),
        ({"Launched": ("Unknown", "AwaitingReconciliation")}, State.COMING),
        ({"Launched": ("False", "Broken")}, State.FAILED),
        ({"Launched": ("True", "Launched"), "Registered": ("Unknown", "NodeNotFound")}, State.COMING),
        ({"Launched": ("True", "Launched"), "Registered": ("False", "MultipleNodesFound")}, State.FAILED),
        (
            {"Launched": ("True", "Launched"), "Registered": ("True", "R"), "Initialized": ("Unknown", "I")},
            State.COMING,
        ),
        ({"Launched": ("True", "Launched"), "Registered": ("True", "R"), "Initialized": ("True", "I")}, State.UP),
    ],
)
def test_what_the_conditions_say(rig: Rig, conditions: dict[str, tuple[str, str]], state: State) -> None:
    rig.unmanaged_pool()
    rig.order(Order("r"))
    rig.say(rig.the_one().id, **conditions)
    assert rig.the_one().state is state
    assert rig.the_one().message.endswith("!") == (state is State.FAILED)


# ---- giving back


def test_an_order_that_is_given_up_leaves_nothing(rig: Rig) -> None:
    rig.order(Order("r-1"), Order("r-2"))
    eventually(lambda: all(i.node for i in rig.survey().instances), why="both register")
    first, second = rig.survey().instances
    rig.cancel(first)
    rig.cancel(first)  # again, while it goes or when it is gone
    eventually(lambda: rig.is_gone(f"{CLAIMS}/{first.id}"), why="its claim is gone")
    assert rig.is_gone(f"/api/v1/nodes/{first.node}")
    assert rig.the_one(State.COMING).id == second.id
    rig.cancel(first)


def test_what_came_up_meanwhile_is_not_given_up(rig: Rig) -> None:
    up = rig.up()
    rig.cancel(up)
    assert "deletionTimestamp" not in rig.claim(up.id)["metadata"]


def test_what_comes_up_right_now_is_not_given_up(rig: Rig) -> None:
    rig.unmanaged_pool()
    rig.order(Order("r"))
    coming = rig.the_one()
    rig.races = {"DELETE": lambda: rig.say(coming.id, Initialized=("True", "Initialized"))}
    rig.cancel(coming)
    assert not rig.races
    assert rig.the_one().state is State.UP


def test_a_node_that_is_deleted_is_drained_as_budgets_allow(rig: Rig) -> None:
    up = rig.up()
    rig.pod("guarded", gpus=0, node=up.node, labels={"app": "guarded"})
    rig.pod("free", gpus=0, node=up.node)
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}
    rig.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": budget})
    one = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b"
    eventually(lambda: rig.api.get(one).get("status", {}).get("currentHealthy") == 1, why="the budget counts its Pod")

    rig.delete(up)
    assert rig.the_one().state is State.GOING
    assert rig.group().target == 0
    pods = "/api/v1/namespaces/default/pods"
    eventually(lambda: rig.is_gone(f"{pods}/free"), why="the other is evicted")
    eventually(lambda: "FailedDraining" in told(rig, up.node), why="Karpenter says that it is stuck")
    assert "deletionTimestamp" not in rig.api.get(f"{pods}/guarded")["metadata"]
    assert rig.the_one().state is State.GOING

    rig.api.request("DELETE", one)
    eventually(lambda: rig.is_gone(f"{CLAIMS}/{up.id}"), within=60, why="the node is drained")
    assert rig.is_gone(f"/api/v1/nodes/{up.node}")
    rig.delete(up)


def test_nodes_of_karpenter_itself_are_not_ours_to_delete(rig: Rig) -> None:
    rig.pod("p")
    rig.waits("p", "Unschedulable")
    theirs = eventually(lambda: rig.claims(), why="Karpenter acts")[0]["metadata"]["name"]
    assert not rig.survey().instances
    with pytest.raises(BackendError, match=f"{theirs} is none that nos ordered"):
        rig.delete(Instance(theirs, P5, State.UP))


# ---- side by side with Karpenter's own nodes


def test_karpenter_acts_for_unschedulable_pods_alone(rig: Rig) -> None:
    for name in ("held", "hopeless", "wanted"):
        rig.pod(name)  # each fills a node
    rig.waits("held", "QuotaMax")
    rig.waits("hopeless", "NodesOrdered")
    rig.waits("wanted", "Unschedulable")
    eventually(lambda: nominated(rig) == {"wanted"}, why="Karpenter makes a node for one of them")
    assert len(rig.claims()) == 1  # all three were there when it looked
    rig.waits("held", "Unschedulable")
    eventually(lambda: nominated(rig) == {"wanted", "held"}, why="it acts on the word")
    eventually(lambda: len(rig.claims()) > 1, why="it makes another node")  # it may give the first one to the other
    assert len(rig.claims()) == 2


def nominated(rig: Rig) -> set[str]:
    """The Pods for which Karpenter says that it makes a node."""
    pods = rig.api.get("/api/v1/namespaces/default/pods")["items"]
    return {pod["metadata"]["name"] for pod in pods if "Nominated" in told(rig, pod["metadata"]["uid"])}


def told(rig: Rig, of: str) -> set[str]:
    """The reasons of the events about an object, by its uid, or its name in the case of a Node."""
    events = rig.api.get("/api/v1/namespaces/default/events")["items"]
    return {e["reason"] for e in events if of in (e["involvedObject"].get("uid"), e["involvedObject"].get("name"))}


def test_karpenter_takes_its_own_empty_nodes_away_and_not_ours(rig: Rig) -> None:
    rig.pool(disruption={"consolidateAfter": "0s", "budgets": [{"nodes": "100%"}]})
    rig.pod("p")
    rig.waits("p", "Unschedulable")
    theirs = eventually(rig.claims, why="Karpenter makes a node")[0]["metadata"]["name"]
    ours = rig.up()
    eventually(lambda: rig.condition(theirs, "Initialized").get("status") == "True", why="Karpenter's node is up")
    rig.waits("p", "QuotaMax")  # nobody wants a node any more
    eventually(lambda: rig.is_gone(f"{CLAIMS}/{theirs}"), within=120, why="Karpenter takes its own away")
    assert rig.the_one(State.UP).id == ours.id


def test_limits_count_both(rig: Rig) -> None:
    rig.pool(limits={"cpu": "400", "nodes": 3, "nvidia.com/gpu": 64})
    rig.pod("p")
    rig.waits("p", "Unschedulable")
    eventually(lambda: rig.claims(), why="Karpenter makes a node")
    requirement = {"key": "node.kubernetes.io/instance-type", "operator": "In"}
    assert any(requirement.items() <= r.items() for r in rig.claims()[0]["spec"]["requirements"])
    rig.order(Order("r"))
    eventually(lambda: all(c.get("status", {}).get("nodeName") for c in rig.claims()), why="both register")
    # Each a p5: CPU 400 - 2 x 192 = 16, nodes 3 - 2, GPUs 64 - 2 x 8.
    assert rig.survey().limits == {"gpu/cpu": 16_000, "gpu/nodes": 1, "gpu/nvidia.com/gpu": 48}
    assert rig.group().uses == {"gpu/cpu": 192_000, "gpu/nodes": 1, "gpu/nvidia.com/gpu": 8}


def test_it_is_noted_on_the_pool_who_makes_its_nodes(rig: Rig) -> None:
    group = rig.group()
    assert not noted(rig)
    rig.order(Order("r"), group=group)
    assert noted(rig) == "nos"
    rig.order(Order("r-2"), group=group)
    rig.testbed.kubectl("annotate", "--overwrite", "nodepool", "gpu", "nos.nebuly.com/actuator=others")
    with pytest.raises(OrderRefusedError, match=r"NodePool gpu.*others makes its nodes"):
        rig.order(Order("r-3"), group=group)
    assert len(rig.claims()) == 2
    assert "others makes its nodes" in rig.group().problem


def test_of_two_who_take_a_pool_at_once_one_gets_it(rig: Rig) -> None:
    annotate = ("annotate", "nodepool", "gpu", "nos.nebuly.com/actuator=others")
    rig.races = {"PATCH": lambda: rig.testbed.kubectl(*annotate) and None}
    with pytest.raises(OrderRefusedError, match="others makes its nodes"):
        rig.order(Order("r"))
    assert not rig.races
    assert (noted(rig), rig.claims()) == ("others", [])


def noted(rig: Rig) -> str:
    annotations = rig.api.get(f"{POOLS}/gpu")["metadata"].get("annotations", {})
    return str(annotations.get("nos.nebuly.com/actuator", ""))


def test_a_pool_that_is_not_ready_gets_no_orders(rig: Rig) -> None:
    rig.api.request("DELETE", f"{CLASSES}/default")
    eventually(lambda: rig.pool_is_ready("False"), why="Karpenter misses the NodeClass")
    group = rig.group()
    assert "NodePool gpu is not ready: NodeClassReady" in group.problem
    with pytest.raises(OrderRefusedError, match="not ready"):
        rig.order(Order("r"), group=group)
    assert not rig.claims()


def test_what_is_not_offered_any_more_keeps_its_nodes_and_blocks_nothing(rig: Rig) -> None:
    rig.order(Order("r"), group=rig.group(G6))
    rig.settings["instanceTypes"] = [kind for kind in rig.settings["instanceTypes"] if kind["name"] != "g6.12xlarge"]
    former = rig.group(G6)
    assert (former.target, former.max) == (1, 1)
    assert "its nodes stay until" in former.problem
    assert rig.the_one(State.UP).group == G6
    assert not rig.group(P5).problem
    with pytest.raises(OrderRefusedError, match=f"NodePool gpu does not allow {G6} any more"):
        rig.order(Order("r-2"), group=former)
    rig.delete(rig.the_one())
    assert rig.the_one().state is State.GOING


def test_an_order_that_the_api_server_refuses_is_refused(rig: Rig) -> None:
    rig.settings["instanceTypes"][0]["labels"]["bad"] = "no label's value!"
    with pytest.raises(OrderRefusedError, match=r"a NodeClaim of gpu/p5.*no label's value!"):
        rig.order(Order("r"))


def test_without_karpenter_it_says_so() -> None:
    with Testbed(scheduler=False, kwok=False, progress=Progress(quiet=True)) as bare:
        bare.api.create(f"{_RBAC}/clusterroles", ROLE)
        bare.api.create(f"{_RBAC}/clusterrolebindings", BINDING)
        with pytest.raises(BackendError, match=r"NodePools: .*is Karpenter installed"):
            Rig(bare, None).survey()
        bare.stop_apiserver()
        with pytest.raises(BackendError, match="NodePools: the API server does not answer"):
            Rig(bare, None).survey()
