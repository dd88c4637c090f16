"""After any events each quota counts, guarantees and calls over what a recount from the definitions does."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nos._core import Cluster, PodLabels
from tests.oracle import core_pod
from tests.quota_oracle import GPU, Pod, Quota, Quotas
from tests.quota_worlds import memories, names, namespaces, nodes, offer, pods, quotas, uids


class QuotaMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.oracle = Quotas()
        self.told: dict[str, tuple] = {}

    @initialize(tree=st.dictionaries(names, quotas, min_size=3), there=st.lists(memories, min_size=3, max_size=3))
    def begin(self, tree: dict[str, Quota], there: list[int]) -> None:
        for number, memory in enumerate(there):
            self.upsert_node(f"m{number}", memory)
        for name, quota in tree.items():
            self.upsert_quota(name, quota)

    @rule(name=nodes, memory=memories)
    def upsert_node(self, name: str, memory: int) -> None:
        self.cluster.upsert_node(name, offer(memory))
        self.oracle.nodes[name] = memory

    @rule(name=nodes)
    def remove_node(self, name: str) -> None:
        self.cluster.remove_node(name)
        self.oracle.nodes.pop(name, None)

    @rule(name=names, quota=quotas)
    def upsert_quota(self, name: str, quota: Quota) -> None:
        others = {space for other, known in self.oracle.quotas.items() if other != name for space in known.namespaces}
        above, seen = quota.parent, {name}
        while above in self.oracle.quotas and above not in seen:
            seen.add(above)
            above = self.oracle.quotas[above].parent
        if others & set(quota.namespaces) or above == name:
            with pytest.raises(ValueError, match=r"namespace|ancestor"):
                self.cluster.upsert_quota(name, quota.core())
            return
        self.cluster.upsert_quota(name, quota.core())
        self.oracle.quotas[name] = quota

    @rule(name=names)
    def remove_quota(self, name: str) -> None:
        assert self.cluster.remove_quota(name) == (self.oracle.quotas.pop(name, None) is not None)
        self.told.pop(name, None)

    @rule(
        uid=uids,
        namespace=namespaces,
        asked=pods,
        node=nodes | nodes | st.just(""),
        priority=st.sampled_from([0, 0, 5]),
        arrival=st.sampled_from([1, 2, 3]),
    )
    def upsert_pod(self, uid: str, namespace: str, asked: dict, node: str, priority: int, arrival: int) -> None:
        self.cluster.upsert_pod(
            uid, core_pod(asked), labels=PodLabels(namespace), node=node, priority=priority, arrival=arrival
        )
        old = self.oracle.pods.get(uid)
        stays = old is not None and not node
        self.oracle.pods[uid] = Pod(
            namespace,
            asked,
            priority,
            arrival,
            old.node if old and stays else node,
            bool(old and stays and old.assumed),
        )

    @rule(uid=uids, namespace=namespaces, asked=pods, node=nodes)
    def nominate(self, uid: str, namespace: str, asked: dict, node: str) -> None:
        """By another scheduler: not charged."""
        if uid not in self.oracle.pods:
            self.cluster.upsert_pod(uid, core_pod(asked), labels=PodLabels(namespace), node=node, nominated=True)
            self.oracle.pods[uid] = Pod(namespace, asked)

    @rule(uid=uids)
    def remove_pod(self, uid: str) -> None:
        assert self.cluster.remove_pod(uid) == (self.oracle.pods.pop(uid, None) is not None)

    @rule(uid=uids, node=nodes)
    def assume(self, uid: str, node: str) -> None:
        pod = self.oracle.pods.get(uid)
        if pod is None or self.cluster.pod(uid).phase != "waiting" or node not in self.oracle.nodes:
            return
        if GPU in pod.asks["requests"] or "share" in pod.asks:
            return  # which slots is another test's affair
        self.cluster.assume(uid, node)
        pod.node, pod.assumed = node, True

    @rule(uid=uids)
    def forget(self, uid: str) -> None:
        pod = self.oracle.pods.get(uid)
        if pod is not None and pod.assumed:
            assert self.cluster.forget(uid)
            pod.node, pod.assumed = "", False

    @rule(uid=uids, node=nodes)
    def try_and_roll_back(self, uid: str, node: str) -> None:
        before = self.picture()
        kept = {uid: (pod.node, pod.assumed) for uid, pod in self.oracle.pods.items()}
        with self.cluster.transaction():
            self.forget(uid)
            self.assume(uid, node)
            self.cluster.check()
        for name, (where, assumed) in kept.items():
            self.oracle.pods[name].node, self.oracle.pods[name].assumed = where, assumed
        assert self.picture() == before

    def picture(self) -> dict[str, tuple]:
        return {name: self.state(name) for name in self.oracle.quotas}

    def state(self, name: str) -> tuple:
        state = self.cluster.quota(name)
        return (state.used, state.min, state.max, state.guaranteed), state.capacities()

    @invariant()
    def as_the_definitions_say(self) -> None:
        self.cluster.check()
        self.cluster.copy().check()
        for name in self.oracle.quotas:
            amounts, capacities = self.state(name)
            assert amounts == self.oracle.state(name)
            assert capacities == self.oracle.capacities(name)

    @invariant()
    def who_follows_the_changes_misses_nothing(self) -> None:
        for name in self.cluster.changed_quotas():
            self.told[name] = self.what_is_told(name)
        assert self.told == {name: self.what_is_told(name) for name in self.oracle.quotas}

    def what_is_told(self, name: str) -> tuple:
        (used, least, most, _), capacities = self.state(name)
        return used, least, most, capacities


QuotaMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestQuotas = QuotaMachine.TestCase
