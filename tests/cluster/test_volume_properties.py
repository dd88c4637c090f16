"""After any sequence of events and decisions the core gives out volumes and claims as a slow judge does.

The judge knows Pods and nodes as plain dicts and counts everything anew. Asked are a Scheduler that lived through it
all and a new one on a copy; and the ledger checks itself, who uses which name included.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, Scheduler, VolumeClaim
from tests.build import near, spread, zone

ZONE = {"v0": "p", "v1": "q", "v2": None, "v3": None}  # where each volume can be used; None: everywhere

names = st.sampled_from(["n0", "n1", "n2"])
uids = st.sampled_from([f"u{number}" for number in range(6)])
attachments = st.lists(
    st.tuples(st.sampled_from(["d", "e"]), st.sampled_from(["x", "y", "z"])), max_size=3, unique=True
)
nodes = st.fixed_dictionaries(
    {
        "zone": st.sampled_from(["p", "q", ""]),
        "limits": st.dictionaries(st.sampled_from(["d", "e"]), st.integers(0, 3), max_size=2),
        "attached": attachments,
    }
)
claims = st.fixed_dictionaries(
    {
        "volumes": st.lists(st.sampled_from(sorted(ZONE)), max_size=3, unique=True),
        "made": st.sampled_from([None, "", "q"]),
    }
)
pods = st.fixed_dictionaries(
    {
        "claims": st.lists(claims, max_size=2),
        "sole": st.lists(st.sampled_from(["n/a", "n/b"]), max_size=1),
        "attach": attachments,
        "app": st.sampled_from(["a", "b"]),
        "near": st.sampled_from([None, "a", "b"]),  # something to say about others, so that names come and go
        "cpu": st.integers(0, 9),
    }
)


def core_node(node: dict[str, Any]) -> NodeSpec:
    labels = {"zone": node["zone"]} if node["zone"] else {}
    return NodeSpec({"cpu": 1000, "pods": 100}, labels=labels, attach_limits=node["limits"], attached=node["attached"])


def core_pod(pod: dict[str, Any]) -> PodSpec:
    return PodSpec(
        {"cpu": pod["cpu"]},
        claims=[
            VolumeClaim(
                [(name, zone(ZONE[name]) if ZONE[name] else None) for name in claim["volumes"]],
                provision=None if claim["made"] is None else [zone(claim["made"])] if claim["made"] else [],
            )
            for claim in pod["claims"]
        ],
        sole_claims=pod["sole"],
        volumes=pod["attach"],
        preferred_pod_affinity=[(1, near(pod["near"]))] if pod["near"] else [],
        spread=[spread(pod["near"], required=False)] if pod["near"] else [],
    )


@dataclass
class Held:
    pod: dict[str, Any]
    phase: str = "waiting"
    node: str = ""
    priority: int = 0
    chosen: list[str] = field(default_factory=list)


@dataclass
class Judge:
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, Held] = field(default_factory=dict)

    def feasible(self, pod: dict[str, Any], priority: int = 0) -> set[str]:
        found = set()
        for name in self.nodes:
            coming = {
                uid: replace(held, phase="bound") if held.phase == "nominated" and held.priority >= priority else held
                for uid, held in self.pods.items()
                if held.phase != "nominated" or held.node == name
            }
            if self.fits(pod, name) and Judge(self.nodes, coming).fits(pod, name):
                found.add(name)
        return found

    def settled(self) -> list[Held]:
        return [held for held in self.pods.values() if held.phase in ("assumed", "bound")]

    def fits(self, pod: dict[str, Any], name: str) -> bool:
        taken = {claim for held in self.settled() for claim in held.pod["sole"]}
        return taken.isdisjoint(pod["sole"]) and self.volumes(pod, name) is not None and self.attaches(pod, name)

    def volumes(self, pod: dict[str, Any], name: str) -> list[str] | None:
        """What each claim gets on the node; "" for one that is made there."""
        given = [volume for held in self.pods.values() for volume in held.chosen]
        found: list[str] = []
        place = self.nodes[name]["zone"]
        for claim in pod["claims"]:
            usable = [v for v in claim["volumes"] if v not in [*given, *found] and ZONE[v] in (None, place)]
            if not usable and (claim["made"] is None or (claim["made"] and claim["made"] != place)):
                return None
            found.append(usable[0] if usable else "")
        return found

    def attaches(self, pod: dict[str, Any], name: str) -> bool:
        used = {volume for held in self.settled() if held.node == name for volume in held.pod["attach"]}
        there = used | set(self.nodes[name]["attached"])
        for driver, limit in self.nodes[name]["limits"].items():
            added = [volume for volume in pod["attach"] if volume[0] == driver and volume not in used]
            if added and len(added) + sum(volume[0] == driver for volume in there) > limit:
                return False
        return True


class VolumeMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.scheduler = Scheduler(self.cluster)
        self.judge = Judge()

    @rule(name=names, node=nodes)
    def upsert_node(self, name: str, node: dict[str, Any]) -> None:
        self.cluster.upsert_node(name, core_node(node))
        self.judge.nodes[name] = node

    @rule(name=names)
    def remove_node(self, name: str) -> None:
        assert self.cluster.remove_node(name) == (name in self.judge.nodes)
        self.judge.nodes.pop(name, None)

    @rule(uid=uids, pod=pods, node=names | st.just(""), nominated=st.booleans(), priority=st.integers(-1, 1))
    def upsert_pod(self, uid: str, pod: dict[str, Any], node: str, nominated: bool, priority: int) -> None:
        nominated = nominated and bool(node)
        self.cluster.upsert_pod(
            uid,
            core_pod(pod),
            labels=PodLabels("n", {"app": pod["app"]}),
            node=node,
            nominated=nominated,
            priority=priority,
        )
        held = self.judge.pods.get(uid)
        on_node = held is not None and held.phase in ("assumed", "bound")
        if held and on_node and nominated:
            held.priority = priority  # an old echo otherwise
            return
        if held and on_node and not node:
            same = core_pod(held.pod) == core_pod(pod)
            self.judge.pods[uid] = replace(held, pod=pod, priority=priority, chosen=held.chosen if same else [])
            return
        phase = "nominated" if nominated else "bound" if node else "waiting"
        self.judge.pods[uid] = Held(pod, phase, node, priority)

    @rule(uid=uids)
    def remove_pod(self, uid: str) -> None:
        assert self.cluster.remove_pod(uid) == (uid in self.judge.pods)
        self.judge.pods.pop(uid, None)

    @precondition(lambda self: self.those("waiting"))
    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        held = self.judge.pods[uid := data.draw(st.sampled_from(self.those("waiting")))]
        feasible = self.judge.feasible(held.pod, held.priority)
        bind = self.scheduler.place(uid)
        assert (bind is not None) == bool(feasible)
        if bind:
            assert bind.node in feasible
            assert bind.volumes == self.judge.volumes(held.pod, bind.node)
            held.phase, held.node, held.chosen = "assumed", bind.node, bind.volumes

    @precondition(lambda self: self.those("waiting") and self.judge.nodes)
    @rule(data=st.data(), volumes=st.lists(st.sampled_from(["", *ZONE]), max_size=2))
    def assume(self, data: st.DataObject, volumes: list[str]) -> None:
        """The ledger takes what it is told, but no volume twice."""
        held = self.judge.pods[uid := data.draw(st.sampled_from(self.those("waiting")))]
        name = data.draw(st.sampled_from(sorted(self.judge.nodes)))
        named = [volume for volume in volumes if volume]
        given = [volume for other in self.judge.pods.values() for volume in other.chosen]
        if len({*named}) < len(named):
            return  # nobody does that: a Pod's own are chosen one after another
        if not {*named}.isdisjoint(given):
            with pytest.raises(ValueError, match="is chosen for another Pod"):
                self.cluster.assume(uid, name, volumes=volumes)
            return
        self.cluster.assume(uid, name, volumes=volumes)
        held.phase, held.node, held.chosen = "assumed", name, volumes

    @precondition(lambda self: self.those("assumed"))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        held = self.judge.pods[uid := data.draw(st.sampled_from(self.those("assumed")))]
        assert self.cluster.forget(uid)
        held.phase, held.node, held.chosen = "waiting", "", []

    @rule(data=st.data())
    def try_and_roll_back(self, data: st.DataObject) -> None:
        before = {uid: replace(held) for uid, held in self.judge.pods.items()}
        with self.cluster.transaction():
            if self.those("assumed"):
                self.forget(data)
            if self.those("waiting"):
                self.place(data)
            self.cluster.check()
            self.answers_are_those_of_the_judge(fresh=False)
        self.judge.pods = before

    @invariant()
    def sums_equal_a_recount(self) -> None:
        self.cluster.check()
        self.cluster.copy().check()
        for uid, held in self.judge.pods.items():
            state = self.cluster.pod(uid)
            assert (state.phase, state.node) == (held.phase, "" if held.phase == "nominated" else held.node)
            assert state.volumes == held.chosen

    @invariant()
    def answers_are_those_of_the_judge(self, fresh: bool = True) -> None:
        new = Scheduler(self.cluster.copy()) if fresh else None
        for uid in self.those("waiting"):
            held = self.judge.pods[uid]
            expected = self.judge.feasible(held.pod, held.priority)
            assert set((new or self.scheduler).feasible(core_pod(held.pod), priority=held.priority)) == expected

    def those(self, phase: str) -> list[str]:
        return sorted(uid for uid, held in self.judge.pods.items() if held.phase == phase)


VolumeMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestVolumes = VolumeMachine.TestCase
