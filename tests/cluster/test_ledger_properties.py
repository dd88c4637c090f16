"""After any sequence of events and decisions the core's sums equal those that a slow ledger counts anew."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nos._core import Cluster
from tests import worlds
from tests.oracle import GPU, Held, Ledger, core_node, core_pod


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.ledger = Ledger()

    @rule(name=worlds.node_names, node=worlds.nodes)
    def upsert_node(self, name: str, node: dict) -> None:
        self.cluster.upsert_node(name, core_node(node))
        self.ledger.nodes[name] = node

    @rule(name=worlds.node_names)
    def remove_node(self, name: str) -> None:
        assert self.cluster.remove_node(name) == (name in self.ledger.nodes)
        self.ledger.nodes.pop(name, None)

    @rule(uid=worlds.uids, pod=worlds.pods, node=worlds.node_names | st.just(""), slot=st.none() | st.integers(0, 9))
    def upsert_pod(self, uid: str, pod: dict, node: str, slot: int | None) -> None:
        self.cluster.upsert_pod(uid, core_pod(pod), node=node, gpus=[] if slot is None else [slot])
        old = self.ledger.pods.get(uid)
        if not node and old and old.node:
            self.ledger.pods[uid] = Held(pod, old.node, assumed=old.assumed)
        else:
            self.ledger.pods[uid] = Held(pod, node)

    @rule(uid=worlds.uids)
    def remove_pod(self, uid: str) -> None:
        assert self.cluster.remove_pod(uid) == (uid in self.ledger.pods)
        self.ledger.pods.pop(uid, None)

    @rule(uid=worlds.uids, name=worlds.node_names)
    def assume(self, uid: str, name: str) -> None:
        held = self.ledger.pods.get(uid)
        if held is None or held.node or name not in self.ledger.nodes:
            with pytest.raises((KeyError, ValueError)):
                self.cluster.assume(uid, name, [])
            return
        share = held.pod.get("share", 0)
        wanted = 1 if share else held.pod["requests"].get(GPU, 0)
        free = [i for i, milli in enumerate(self.cluster.node(name).gpu_free_milli) if milli >= (share or 1000)]
        if len(free) < wanted:
            with pytest.raises(ValueError, match=r"slot"):
                self.cluster.assume(uid, name, list(range(wanted)))
            return
        self.cluster.assume(uid, name, free[:wanted])
        held.node, held.assumed = name, True

    @rule(uid=worlds.uids)
    def forget(self, uid: str) -> None:
        held = self.ledger.pods.get(uid)
        if held is None:
            with pytest.raises(KeyError):
                self.cluster.forget(uid)
            return
        assert self.cluster.forget(uid) == held.assumed
        if held.assumed:
            held.node, held.assumed = "", False

    @rule(uid=worlds.uids, name=worlds.node_names)
    def try_and_roll_back(self, uid: str, name: str) -> None:
        before = self.picture()
        with self.cluster.transaction():
            self.forget(uid)
            self.assume(uid, name)
            self.cluster.check()
        for held_uid, held in self.ledger.pods.items():
            state = self.cluster.pod(held_uid)
            held.node, held.assumed = state.node, state.phase == "assumed"
        assert self.picture() == before

    def picture(self) -> tuple:
        nodes = [(n.name, n.present, n.pods, n.requested, n.gpu_free_milli) for n in self.cluster.nodes()]
        pods = [self.cluster.pod(uid) for uid in self.ledger.pods]
        return nodes, [(p.uid, p.node, p.phase, p.gpus) for p in pods], self.cluster.gpu_used_milli

    @invariant()
    def sums_equal_a_recount(self) -> None:
        self.cluster.check()
        self.cluster.copy().check()
        for uid, held in self.ledger.pods.items():
            state = self.cluster.pod(uid)
            assert state.node == held.node
            assert state.phase == ("waiting" if not held.node else "assumed" if held.assumed else "bound")
            held.gpus = state.gpus if held.node in self.ledger.nodes else []
        assert self.cluster.pod_count == len(self.ledger.pods)
        assert self.cluster.node_count == len(self.ledger.nodes)
        used = 0
        for name, node in self.ledger.nodes.items():
            state = self.cluster.node(name)
            requested = self.ledger.requested(name)
            assert state.pods == len(self.ledger.on(name))
            for resource in ("cpu", "memory", "ephemeral-storage", "nvidia.com/mig-1g.10gb"):
                assert state.requested[resource] == requested.get(resource, 0)
                assert state.allocatable[resource] == node["allocatable"][resource]
            assert state.gpu_free_milli == self.ledger.gpu_free(name)
            assert all(0 <= free <= 1000 for free in state.gpu_free_milli)
            used += sum(1000 - free for free in state.gpu_free_milli)
        assert self.cluster.gpu_used_milli == used


LedgerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestLedger = LedgerMachine.TestCase
