"""What the core knows of Pods near by equals what a slow judge finds, after any sequence of events and decisions.

A Scheduler that lived through it all places Pods, and a new one is asked on a copy: counts that were kept up to date,
and verdicts that were remembered, never show.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nos._core import Bind, Cluster, Scheduler
from tests import worlds
from tests.near_by_oracle import NearBy, Pod, core_labels, core_spec
from tests.oracle import Held, core_node

_NOMINATED = ("m0", "m1")


class NearByMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.scheduler = Scheduler(self.cluster)
        self.judge = NearBy()
        self.asked: list[Pod] = []

    @initialize(
        nodes=st.lists(worlds.places, min_size=2, max_size=4), asked=st.lists(worlds.neighbours, min_size=1, max_size=3)
    )
    def begin(self, nodes: list[dict[str, Any]], asked: list[Pod]) -> None:
        for number, node in enumerate(nodes):
            self.upsert_node(f"n{number}", node)
        self.asked = asked

    @rule(name=worlds.node_names, node=worlds.places)
    def upsert_node(self, name: str, node: dict[str, Any]) -> None:
        self.cluster.upsert_node(name, core_node(node))
        self.judge.nodes[name] = node

    @rule(name=worlds.node_names)
    def remove_node(self, name: str) -> None:
        assert self.cluster.remove_node(name) == (name in self.judge.nodes)
        self.judge.nodes.pop(name, None)

    @rule(name=worlds.namespace_names, labels=worlds.namespace_labels)
    def upsert_namespace(self, name: str, labels: dict[str, str]) -> None:
        self.cluster.upsert_namespace(name, labels)
        self.judge.namespaces[name] = labels

    @rule(name=worlds.namespace_names)
    def remove_namespace(self, name: str) -> None:
        assert self.cluster.remove_namespace(name) == (name in self.judge.namespaces)
        self.judge.namespaces.pop(name, None)

    @rule(uid=worlds.uids, pod=worlds.neighbours, node=worlds.node_names | st.just(""), going=st.booleans())
    def upsert_pod(self, uid: str, pod: Pod, node: str, going: bool) -> None:
        pod = {**pod, "terminating": going and bool(node)}
        self.cluster.upsert_pod(uid, core_spec(pod), node=node, labels=core_labels(pod), terminating=pod["terminating"])
        old = self.judge.pods.get(uid)
        stays = old if not node and old and old.node else None
        self.judge.pods[uid] = Held(pod, stays.node, assumed=stays.assumed) if stays else Held(pod, node)

    @rule(uid=worlds.uids | st.sampled_from(_NOMINATED))
    def remove_pod(self, uid: str) -> None:
        assert self.cluster.remove_pod(uid) == (uid in self.judge.pods or uid in self.judge.nominated)
        self.judge.pods.pop(uid, None)
        self.judge.nominated.pop(uid, None)

    @rule(
        uid=st.sampled_from(_NOMINATED),
        pod=worlds.neighbours,
        node=worlds.node_names,
        priority=st.integers(-1, 1),
        bound=st.booleans(),
    )
    def nominate(self, uid: str, pod: Pod, node: str, priority: int, bound: bool) -> None:
        """Another scheduler says where its Pod is to go, and perhaps binds it there, or elsewhere."""
        self.cluster.upsert_pod(
            uid, core_spec(pod), node=node, labels=core_labels(pod), priority=priority, nominated=not bound
        )
        if bound:
            self.judge.nominated.pop(uid, None)
            self.judge.pods[uid] = Held(pod, node)
        elif uid not in self.judge.pods:
            self.judge.nominated[uid] = Held(pod, node, priority=priority)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(self.waiting()))
        held = self.judge.pods[uid]
        feasible, what_if = self.judge.feasible(held.pod), self.cluster.copy()
        bind = self.scheduler.place(uid)
        assert where(bind) == where(Scheduler(what_if).place(uid))
        assert (bind is not None) == bool(feasible)
        if bind:
            assert bind.node in feasible
            held.node, held.assumed = bind.node, True

    @precondition(lambda self: self.assumed())
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(self.assumed()))
        assert self.cluster.forget(uid)
        self.judge.pods[uid].node, self.judge.pods[uid].assumed = "", False

    @precondition(lambda self: self.waiting() and self.judge.nodes)
    @rule(data=st.data())
    def try_and_roll_back(self, data: st.DataObject) -> None:
        """Somebody goes, somebody comes, the answers follow, and then it was all for nothing."""
        uid = data.draw(st.sampled_from(self.waiting()))
        name = data.draw(st.sampled_from(sorted(self.judge.nodes)))
        gone = data.draw(st.sampled_from([*self.assumed(), ""]))
        before = {known: (held.node, held.assumed) for known, held in self.judge.pods.items()}
        with self.cluster.transaction():
            if gone:
                self.cluster.forget(gone)
                self.judge.pods[gone].node = ""
            self.cluster.assume(uid, name)
            self.judge.pods[uid].node = name
            self.cluster.check()
            self.answers_are_those_of_the_judge(fresh=False)
        for known, (node, assumed) in before.items():
            self.judge.pods[known].node, self.judge.pods[known].assumed = node, assumed

    @invariant()
    def sums_equal_a_recount(self) -> None:
        self.cluster.check()

    @invariant()
    def answers_are_those_of_the_judge(self, fresh: bool = True) -> None:
        # On a copy where that can be: a question to the ledger itself touches nodes, and hides what was not.
        scheduler = Scheduler(self.cluster.copy()) if fresh else self.scheduler
        for pod in [*self.asked, *(self.judge.pods[uid].pod for uid in self.waiting())]:
            assert set(scheduler.feasible(core_spec(pod), core_labels(pod))) == self.judge.feasible(pod)

    def waiting(self) -> list[str]:
        return sorted(uid for uid, held in self.judge.pods.items() if not held.node)

    def assumed(self) -> list[str]:
        return sorted(uid for uid, held in self.judge.pods.items() if held.assumed)


def where(bind: Bind | None) -> str:
    return bind.node if bind else ""


NearByMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestNearBy = NearByMachine.TestCase
