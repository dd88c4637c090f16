"""What the ledger knows of gangs: who belongs to one, and how many of them are placed."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nos._core import Cluster
from tests.build import arrive, cluster_of, node, pod


def test_a_pod_may_come_before_its_gang_and_outlive_it():
    cluster = cluster_of(node())
    arrive(cluster, pod(gpus=1), pod(gpus=1), gang="team/job")
    assert (cluster.gang("team/job").known, cluster.gang("team/job").members) == (False, ["p0", "p1"])
    cluster.upsert_gang("team/job", min_members=2, topology_key="rack", required=True)
    gang = cluster.gang("team/job")
    assert (gang.known, gang.min_members, gang.topology_key, gang.required) == (True, 2, "rack", True)
    assert cluster.remove_gang("team/job")
    assert not cluster.remove_gang("team/job")
    assert cluster.gang("team/job").members == ["p0", "p1"]
    cluster.remove_pod("p0")
    cluster.remove_pod("p1")
    with pytest.raises(KeyError, match="team/job"):
        cluster.gang("team/job")
    cluster.check()


def test_placed_are_those_that_are_on_nodes_to_stay():
    cluster = cluster_of(node())
    cluster.upsert_gang("g", min_members=3)
    arrive(cluster, *[pod(gpus=1)] * 4, gang="g")
    assert cluster.gang("g").placed == 0
    cluster.assume("p0", "n0", [0])
    cluster.upsert_pod("p1", pod(gpus=1), node="n0", gang="g")
    cluster.upsert_pod("p2", pod(gpus=1), node="n0", nominated=True, gang="g")
    cluster.upsert_pod("p3", pod(gpus=1), node="gone", gang="g")
    assert cluster.gang("g").placed == 3  # p0, p1, p3: another scheduler may yet change its mind about p2
    cluster.upsert_pod("p1", pod(gpus=1), node="n0", terminating=True, gang="g")
    assert cluster.gang("g").placed == 2
    cluster.forget("p0")
    assert cluster.gang("g").placed == 1
    cluster.upsert_pod("p3", pod(gpus=1), node="gone", gang="other")
    assert (cluster.gang("g").placed, cluster.gang("other").placed) == (0, 1)
    cluster.check()


def test_what_makes_no_sense_is_refused_and_changes_nothing():
    cluster = Cluster()
    cluster.upsert_gang("g", min_members=2, topology_key="rack")
    for name, spec in {
        "": {"min_members": 1},
        "g": {"min_members": -1},
        "h": {"min_members": 1, "required": True},
    }.items():
        with pytest.raises(ValueError, match=r"gang|min_members"):
            cluster.upsert_gang(name, **spec)
    assert (cluster.gang("g").min_members, cluster.gang("g").topology_key) == (2, "rack")
    with pytest.raises(KeyError):
        cluster.gang("h")
    with cluster.transaction(), pytest.raises(RuntimeError, match="transaction is open"):
        cluster.upsert_gang("g", min_members=1)
    cluster.check()


class GangMachine(RuleBasedStateMachine):
    """Any sequence of events and decisions; a dict counts along."""

    names = st.sampled_from(["", "g", "h"])
    uids = st.sampled_from(["a", "b", "c", "d"])
    keys = st.sampled_from(["", "rack", "zone"])

    def __init__(self) -> None:
        super().__init__()
        self.cluster = cluster_of(node(labels={"rack": "r"}), node(labels={"zone": "z"}))
        self.gangs: dict[str, int] = {}
        self.pods: dict[str, dict] = {}

    @rule(name=st.sampled_from(["g", "h"]), least=st.integers(0, 3), key=keys, must=st.booleans())
    def upsert_gang(self, name: str, least: int, key: str, must: bool) -> None:
        self.cluster.upsert_gang(name, min_members=least, topology_key=key, required=bool(key) and must)
        self.gangs[name] = least

    @rule(name=st.sampled_from(["g", "h"]))
    def remove_gang(self, name: str) -> None:
        assert self.cluster.remove_gang(name) == (self.gangs.pop(name, None) is not None)

    @rule(uid=uids, gang=names, where=st.sampled_from(["", "", "n0", "n1", "gone"]), going=st.booleans())
    def upsert_pod(self, uid: str, gang: str, where: str, going: bool) -> None:
        self.cluster.upsert_pod(uid, pod(gpus=1), node=where, terminating=going, gang=gang)
        before = self.pods.get(uid, {"node": ""})
        self.pods[uid] = {"node": where or before["node"], "gang": gang, "going": going}

    @rule(uid=uids, where=st.sampled_from(["n0", "n1"]))
    def nominate(self, uid: str, where: str) -> None:
        self.cluster.upsert_pod(uid, pod(gpus=1), node=where, nominated=True, gang="g")
        before = self.pods.get(uid, {"node": "", "going": False})
        self.pods[uid] = {**before, "gang": "g"}

    @rule(uid=uids, where=st.sampled_from(["n0", "n1"]), kept=st.booleans())
    def assume(self, uid: str, where: str, kept: bool) -> None:
        if uid not in self.pods or self.cluster.pod(uid).phase != "waiting":
            return
        free = self.cluster.node(where).gpu_free_milli
        with self.cluster.transaction() as transaction:
            self.cluster.assume(uid, where, [free.index(1000)])
            if kept:
                transaction.commit()
        if kept:
            self.pods[uid]["node"] = where

    @rule(uid=uids)
    def forget(self, uid: str) -> None:
        if uid in self.pods and self.cluster.forget(uid):
            self.pods[uid]["node"] = ""

    @rule(uid=uids)
    def remove_pod(self, uid: str) -> None:
        assert self.cluster.remove_pod(uid) == (self.pods.pop(uid, None) is not None)

    @invariant()
    def counts(self) -> None:
        self.cluster.check()
        for name in ("g", "h"):
            members = sorted(uid for uid, one in self.pods.items() if one["gang"] == name)
            if not members and name not in self.gangs:
                with pytest.raises(KeyError):
                    self.cluster.gang(name)
                continue
            gang = self.cluster.gang(name)
            assert (gang.members, gang.known) == (members, name in self.gangs)
            assert gang.placed == sum(self.pods[uid]["node"] != "" and not self.pods[uid]["going"] for uid in members)


TestGangs = GangMachine.TestCase
TestGangs.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
