"""A Cluster that is made anew from its edits is the same one: it says so, and decides so from then on.

The machine makes every call on both, and compares what they answer. Of a Scheduler that has been at work nothing is
recorded: at a checkpoint both get a new one.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from nos._core import (
    Cluster,
    GpuSpec,
    NodeSpec,
    PodLabels,
    PodSelector,
    PodSpec,
    Policy,
    QuotaSpec,
    Requirement,
    Scheduler,
)
from tests import worlds
from tests.cluster import test_volume_properties as volumes
from tests.cut_gpus import MODELS
from tests.near_by_oracle import core_spec
from tests.oracle import core_node, core_pod

GPU = "nvidia.com/gpu"
uids = st.sampled_from([f"u{number}" for number in range(10)])
places = st.sampled_from(["n0", "n1", "n2", "n3", "n4"])
gangs = st.sampled_from(["g", "h"])
quota_names = st.sampled_from(["q", "r", "s"])
spaces = st.sampled_from(["one", "two", "three"])
resources = st.sampled_from(["cpu", "pods", GPU, "nos.nebuly.com/gpu-memory", "nvidia.com/mig-1g.10gb"])
amounts = st.dictionaries(resources, st.sampled_from([0, 1, 2, 40, 1000]), max_size=2)

nodes = st.one_of(
    worlds.nodes.map(core_node),
    worlds.cut_nodes.map(core_node),
    worlds.places.map(core_node),
    volumes.nodes.map(volumes.core_node),
)
specs = st.one_of(
    worlds.pods.map(core_pod),
    worlds.profile_pods.map(core_pod),
    worlds.neighbours.map(core_spec),
    volumes.pods.map(volumes.core_pod),
)
labels = st.builds(PodLabels, spaces, worlds.pod_labels)
selectors = st.builds(
    PodSelector,
    st.just([]) | st.builds(lambda app: [Requirement("app", "In", [app])], st.sampled_from(["a", "b"])),
    namespaces=st.lists(spaces, max_size=2),
)


def rebuilt(cluster: Cluster) -> Cluster:
    made = Cluster()
    for method, arguments in cluster.edits():
        getattr(made, method)(**arguments)
    return made


def told(bind: Any) -> tuple[Any, ...]:
    return bind.uid, bind.node, bind.gpus, bind.instances, bind.volumes, bind.ready


def picture(outcome: Any) -> tuple[Any, ...]:
    return (
        [told(bind) for bind in outcome.binds],
        [(eviction.uid, eviction.node, eviction.why, eviction.for_uid) for eviction in outcome.evictions],
        outcome.held,
        [(uid, reason.code, reason.message, reason.counts) for uid, reason in outcome.waiting],
    )


class EditsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clusters = [Cluster()]
        self.policy = Policy()
        self.schedulers = [Scheduler(self.clusters[0])]
        self.pods: dict[str, dict[str, Any]] = {}  # as last upserted

    @initialize(score=st.sampled_from(["nos", "nos", "fgd", "best-fit", "first-fit"]))
    def choose(self, score: str) -> None:
        self.policy = Policy(score)
        self.schedulers = [Scheduler(cluster, self.policy) for cluster in self.clusters]

    def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """The same on all, with the same answer."""
        answers: list[Any] = []
        for cluster in self.clusters:
            try:
                answers.append(getattr(cluster, method)(*arguments, **keywords))
            except (KeyError, ValueError) as error:
                answers.append((type(error), str(error)))
        assert all(answer == answers[0] for answer in answers)
        return answers[0]

    @rule()
    def checkpoint(self) -> None:
        original = self.clusters[0]
        made = rebuilt(original)
        made.check()
        original.check()
        assert made.edits() == original.edits()
        self.clusters = [original, made]
        self.schedulers = [Scheduler(cluster, self.policy) for cluster in self.clusters]

    @rule()
    def cycle(self) -> None:
        outcomes = [picture(scheduler.schedule()) for scheduler in self.schedulers]
        assert all(outcome == outcomes[0] for outcome in outcomes)
        for cluster in self.clusters:
            cluster.check()

    @rule(uid=uids)
    def place(self, uid: str) -> None:
        if uid in self.clusters[0] and self.clusters[0].pod(uid).phase == "waiting":
            binds = [scheduler.place(uid) for scheduler in self.schedulers]
            assert len({repr(bind and told(bind)) for bind in binds}) == 1

    # ---- nodes and namespaces

    @rule(name=places, node=nodes)
    def upsert_node(self, name: str, node: NodeSpec) -> None:
        self.call("upsert_node", name, node)

    @rule(name=places)
    def remove_node(self, name: str) -> None:
        self.call("remove_node", name)

    @rule(name=spaces, labels=st.none() | worlds.namespace_labels)
    def namespace(self, name: str, labels: dict[str, str] | None) -> None:
        if labels is None:
            self.call("remove_namespace", name)
        else:
            self.call("upsert_namespace", name, labels)

    # ---- Pods

    @rule(
        uid=uids,
        spec=specs,
        facts=st.fixed_dictionaries(
            {
                "labels": labels,
                "priority": st.integers(0, 2),
                "arrival": st.integers(0, 3),
                "node": st.just("") | st.just("") | places,
                "gang": st.sampled_from(["", "", "", "g", "h", "unknown"]),
            },
            optional={
                "terminating": st.booleans(),
                "preempts": st.booleans(),
                "movable": st.booleans(),
                "wish": places,
                "gpus": st.lists(st.integers(0, 2), max_size=2, unique=True),
                "nominated": st.booleans(),
            },
        ),
    )
    def upsert_pod(self, uid: str, spec: PodSpec, facts: dict[str, Any]) -> None:
        facts["nominated"] = bool(facts["node"]) and facts.get("nominated", False)
        self.pods[uid] = {"spec": spec, **facts}
        self.call("upsert_pod", uid, **self.pods[uid])

    @rule(
        uid=uids, changes=st.fixed_dictionaries({}, optional={"terminating": st.booleans(), "movable": st.booleans()})
    )
    def confirm(self, uid: str, changes: dict[str, bool]) -> None:
        """The API server tells of a Pod where it is by now."""
        if uid in self.clusters[0]:
            self.pods[uid] |= changes | {"node": self.clusters[0].pod(uid).node, "nominated": False}
            self.call("upsert_pod", uid, **self.pods[uid])

    @rule(uid=uids)
    def remove_pod(self, uid: str) -> None:
        self.call("remove_pod", uid)

    @rule(uid=uids)
    def forget(self, uid: str) -> None:
        self.call("forget", uid)

    @rule(uid=uids, name=places)
    def hold(self, uid: str, name: str) -> None:
        self.call("hold", uid, name)

    @rule(uid=uids)
    def release(self, uid: str) -> None:
        self.call("release", uid)

    @rule(uid=uids, on=st.booleans())
    def protect(self, uid: str, on: bool) -> None:
        self.call("protect", uid, on)

    @rule(spec=specs, pods=st.sampled_from([0, 1, 50, 3000]))
    def expect(self, spec: PodSpec, pods: int) -> None:
        self.call("expect", spec, pods)

    # ---- who may what

    @rule(name=st.sampled_from(["a", "b"]), selector=st.none() | selectors, allowed=st.integers(0, 2))
    def budget(self, name: str, selector: PodSelector | None, allowed: int) -> None:
        if selector is None:
            self.call("remove_budget", name)
        else:
            self.call("upsert_budget", name, selector, allowed)

    @rule(
        name=gangs,
        least=st.none() | st.integers(0, 3),
        key=st.sampled_from(["", "zone"]),
        required=st.booleans(),
        problem=worlds.mostly(st.just(""), st.just("is odd")),
    )
    def gang(self, name: str, least: int | None, key: str, required: bool, problem: str) -> None:
        if least is None:
            self.call("remove_gang", name)
        else:
            required = required and bool(key)
            self.call("upsert_gang", name, min_members=least, topology_key=key, required=required, problem=problem)

    @rule(
        name=quota_names,
        spaces=st.lists(spaces, max_size=2, unique=True),
        least=amounts,
        most=amounts,
        parent=st.just("") | quota_names,
    )
    def upsert_quota(self, name: str, spaces: list[str], least: dict, most: dict, parent: str) -> None:
        self.call("upsert_quota", name, QuotaSpec(spaces, min=least, max=most, parent=parent))

    @rule(name=quota_names)
    def remove_quota(self, name: str) -> None:
        self.call("remove_quota", name)

    @rule(name=quota_names, habit=st.integers(0, 3))
    def set_habit(self, name: str, habit: int) -> None:
        self.call("set_habit", name, habit)

    def teardown(self) -> None:
        self.checkpoint()
        self.cycle()


EditsMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestEdits = EditsMachine.TestCase


# ---- what is easily lost, one by one


def same(cluster: Cluster) -> Cluster:
    made = rebuilt(cluster)
    made.check()
    assert made.edits() == cluster.edits()
    return made


def test_an_assumed_pod_keeps_its_gpu_where_another_scheduler_has_overcommitted_the_node():
    """One GPU: assumed for a, then b is bound there, too, and has none. b would take it if it were put there first."""
    cluster = Cluster()
    cluster.upsert_node("n", NodeSpec({"pods": 9, GPU: 1}))
    for uid in "ab":
        cluster.upsert_pod(uid, PodSpec({GPU: 1}))
    cluster.upsert_pod("c", PodSpec({}), node="n")
    cluster.assume("a", "n", [0])
    cluster.upsert_pod("b", PodSpec({GPU: 1}), node="n")
    cluster.remove_pod("c")  # the last on the list, b, is the first now
    made = same(cluster)
    assert (made.pod("a").phase, made.pod("a").gpus, made.pod("b").gpus) == ("assumed", [0], [])


def test_who_lacks_a_gpu_does_not_get_one_that_is_free_by_now():
    """Nobody looks again for what a bound Pod lacks before its node changes."""
    cluster = Cluster()
    cluster.upsert_node("n", NodeSpec({"pods": 9, GPU: 1}))
    for uid in "ab":
        cluster.upsert_pod(uid, PodSpec({GPU: 1}), node="n")
    cluster.remove_pod("a")
    assert same(cluster).node("n").gpu_free_milli == [1000]


def test_a_new_node_gets_the_number_that_is_free():
    """n0 goes, and x has its number: of equal nodes x is the first. On a node that is gone p keeps n1's number."""
    cluster = Cluster()
    for name in ("n0", "n1", "n2"):
        cluster.upsert_node(name, NodeSpec({"pods": 9}))
    cluster.upsert_pod("p", PodSpec({}), node="n1")
    cluster.remove_node("n0")
    cluster.remove_node("n1")
    made = same(cluster)
    for one in (cluster, made):
        one.upsert_node("x", NodeSpec({"pods": 9}))
        one.upsert_node("n1", NodeSpec({"pods": 9}))
        assert [node.name for node in one.nodes()] == ["x", "n1", "n2"]


def test_instances_are_remembered_while_their_node_is_away():
    """2g@2 was chosen for p. Without that it would be put at 0 again when the node is back."""
    model = MODELS["a100-40gb"].core
    node = NodeSpec({"pods": 9, GPU: 1}, gpus=[GpuSpec(model, mig=True)])
    cluster = Cluster()
    cluster.upsert_node("n", node)
    cluster.upsert_pod("p", PodSpec({"nvidia.com/mig-2g.10gb": 1}))
    cluster.assume("p", "n", [], [(0, "2g.10gb", 2)])
    cluster.remove_node("n")
    made = same(cluster)
    for one in (cluster, made):
        one.upsert_node("n", node)
        assert one.pod("p").instances == [(0, "2g.10gb", 2)]


def test_nobody_wishes_for_a_node_that_has_the_number_of_the_one_he_wished_for():
    cluster = Cluster()
    cluster.upsert_node("n", NodeSpec({"pods": 9}))
    cluster.upsert_pod("p", PodSpec({}), wish="n", arrival=1)
    cluster.remove_node("n")
    cluster.check()
    cluster.upsert_node("m", NodeSpec({"pods": 1}))
    cluster.upsert_pod("q", PodSpec({}))
    assert [bind.uid for bind in Scheduler(cluster).schedule().binds] == ["q"], "q came first, and nobody has a wish"
    same(cluster)


def test_names_that_stand_in_for_others_are_free():
    cluster = Cluster()
    for name in ("n", "#0"):
        cluster.upsert_node(name, NodeSpec({"pods": 9}))
    cluster.upsert_pod("##0", PodSpec({}))
    cluster.upsert_quota("#", QuotaSpec(["one"], min={"cpu": 1}))
    cluster.remove_node("n")
    assert [node.name for node in same(cluster).nodes()] == ["#0"]


def test_what_makes_no_sense_is_refused():
    cluster = Cluster()
    cluster.upsert_pod("p", PodSpec({}))
    with pytest.raises(KeyError, match="no Pod with uid q"):
        cluster.restore("q", "n")
    with pytest.raises(ValueError, match="a node needs a name"):
        cluster.restore("p", "")
    with pytest.raises(ValueError, match="for an assumed Pod only"):
        cluster.restore("p", "n", volumes=["v"])
    with pytest.raises(ValueError, match="does not cut GPU 0 of node n"):
        cluster.restore("p", "n", instances=[(0, "1g.5gb", 0)])
    for number in ("#", "#x", "#256"):
        with pytest.raises(ValueError, match=f"no profile {number} at 0"):
            cluster.restore("p", "n", instances=[(0, number, 0)])
    with pytest.raises(ValueError, match="-1 is not between"):
        cluster.set_demand(counts=[(0, 0, 0, 0, -1)], instances=[], arrivals=0)
    with cluster.transaction(), pytest.raises(RuntimeError, match="transaction is open"):
        cluster.edits()
    cluster.restore("p", "n")
    with pytest.raises(ValueError, match="does not wait"):
        cluster.restore("p", "n")
