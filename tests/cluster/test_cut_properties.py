"""After any sequence of events and decisions on nodes whose GPUs nos cuts: nothing overlaps, nothing that a Pod holds
is given away or planned away, and `ready` is exact."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nos._core import Cluster, Scheduler
from tests import worlds
from tests.cut_gpus import MODELS, Spot, fits_with, together
from tests.oracle import GPU, Held, Ledger, core_node, core_pod, wanted_instances

some_nodes = worlds.mostly(worlds.cut_nodes, worlds.nodes)
some_pods = worlds.mostly(worlds.profile_pods, worlds.pods)
names = st.sampled_from(["n0", "n1"])
uids = st.sampled_from([f"u{i}" for i in range(5)])


class CutMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.ledger = Ledger()
        self.scheduler = Scheduler(self.cluster)

    # ---- events

    @initialize(nodes=st.lists(worlds.cut_nodes, min_size=2, max_size=2))
    def begin(self, nodes: list[dict[str, Any]]) -> None:
        for name, node in zip(("n0", "n1"), nodes, strict=True):
            self.report(name, node)

    @rule(name=names, node=some_nodes, really=st.booleans())
    def node_is_another(self, name: str, node: dict[str, Any], really: bool) -> None:
        if really:
            self.report(name, node)

    @rule(name=names, data=st.data())
    def node_carries_out(self, name: str, data: st.DataObject) -> None:
        """The agent did what it was asked, or a part; some Pods got hold of what they wait for."""
        node = self.ledger.nodes.get(name)
        if node is None or not node.get("gpus"):
            return
        gpus = []
        for slot, (gpu, (mig, placements)) in enumerate(zip(node["gpus"], self.cluster.targets(name), strict=True)):
            if not gpu["healthy"] or not gpu["model"] or data.draw(st.booleans(), label="later"):
                gpus.append(gpu)
                continue
            holder = {spot[1:]: uid for uid, held in self.ledger.pods.items() for spot in self.at(held, name, slot)}
            seen = {(profile, start): pod for profile, start, _, pod in gpu["instances"]}
            instances = []
            for placement in placements:
                has = data.draw(st.sampled_from(["", holder.get(placement, "")]), label="holder")
                instances.append((*placement, data.draw(st.booleans(), label="ready"), seen.get(placement) or has))
            whole = [uid for uid, held in self.ledger.pods.items() if held.node == name and held.gpus == [slot]]
            gpus.append(
                gpu
                | {"mig": mig, "instances": instances, "ready": not mig}
                | {"pod": gpu["pod"] or (whole[0] if whole and not mig and data.draw(st.booleans()) else "")}
            )
        self.report(name, node | {"gpus": gpus})

    def report(self, name: str, node: dict[str, Any]) -> None:
        self.cluster.upsert_node(name, core_node(node))
        self.ledger.nodes[name] = node

    @staticmethod
    def at(held: Held, name: str, slot: int) -> list[Spot]:
        return [spot for spot in held.instances if held.node == name and spot[0] == slot]

    @rule(name=names, really=st.sampled_from([False, False, True]))
    def node_vanishes(self, name: str, really: bool) -> None:
        if not really:
            return
        self.cluster.remove_node(name)
        self.ledger.nodes.pop(name, None)

    @rule(uid=uids, pod=some_pods, node=st.sampled_from(["", "", "n0", "n1"]), data=st.data())
    def pod_changes(self, uid: str, pod: dict[str, Any], node: str, data: st.DataObject) -> None:
        """It may name what it holds, rightly or not."""
        spots: list[Spot] = []
        for slot, gpu in enumerate(self.ledger.nodes.get(node, {}).get("gpus", [])):
            if gpu["model"] and data.draw(st.booleans(), label="names"):
                spots.append((slot, *data.draw(st.sampled_from(MODELS[gpu["model"]].placements))))
        slots = data.draw(st.lists(st.integers(0, 3), max_size=2), label="slots")
        self.cluster.upsert_pod(uid, core_pod(pod), node=node, gpus=slots, instances=spots)
        old = self.ledger.pods.get(uid)
        stays = not node and old and old.node
        self.ledger.pods[uid] = Held(pod, old.node, assumed=old.assumed) if stays and old else Held(pod, node)

    @rule(uid=uids)
    def pod_vanishes(self, uid: str) -> None:
        assert self.cluster.remove_pod(uid) == (uid in self.ledger.pods)
        self.ledger.pods.pop(uid, None)

    # ---- decisions

    @rule(uid=uids, name=names, data=st.data())
    def assume(self, uid: str, name: str, data: st.DataObject) -> None:
        held = self.ledger.pods.get(uid)
        node = self.ledger.nodes.get(name)
        if held is None or held.node or node is None or not node.get("gpus") or held.pod.get("share"):
            return
        way = next(self.ledger.ways(held.pod, name), None)
        if way is None:
            with pytest.raises(ValueError, match=r"slot|instances"):
                self.cluster.assume(uid, name, range(held.pod["requests"].get(GPU, 0)))
            return
        gpus, spots = way
        if spots and data.draw(st.booleans(), label="wrong"):
            wrong = data.draw(st.sampled_from([spots[1:], [*spots, spots[0]], [(slot + 9, *s) for slot, *s in spots]]))
            with pytest.raises(ValueError, match="instances"):
                self.cluster.assume(uid, name, gpus, wrong)
        self.cluster.assume(uid, name, gpus, spots)
        held.node, held.assumed = name, True
        state = self.cluster.pod(uid)
        if uid not in {pod for gpu in node["gpus"] for pod in [gpu["pod"], *(i[3] for i in gpu["instances"])]}:
            assert (state.gpus, sorted(state.instances)) == (sorted(gpus), sorted(spots))

    @rule(uid=uids)
    def forget(self, uid: str) -> None:
        if held := self.ledger.pods.get(uid):
            assert self.cluster.forget(uid) == held.assumed
            if held.assumed:
                held.node, held.assumed = "", False

    @rule(uids=st.lists(uids, max_size=4), data=st.data())
    def try_and_roll_back(self, uids: list[str], data: st.DataObject) -> None:
        before = self.picture()
        pods = {uid: Held(**vars(held)) for uid, held in self.ledger.pods.items()}
        with self.cluster.transaction():
            for uid in uids:
                self.forget(uid)
                if self.ledger.pods.get(uid) and not self.ledger.pods[uid].node:
                    self.see()
                    self.assume(uid, data.draw(names), data)
                self.cluster.check()
        self.ledger.pods = pods
        self.see()
        assert self.picture() == before

    @rule()
    def schedule(self) -> None:
        """The scheduler lives through all of this, and what it decides is what a new one decides."""
        fresh = Scheduler(self.cluster.copy()).schedule()
        lived = self.scheduler.schedule()
        assert [(b.uid, b.node, b.gpus, b.instances) for b in lived.binds] == [
            (b.uid, b.node, b.gpus, b.instances) for b in fresh.binds
        ]
        for bind in lived.binds:
            self.ledger.pods[bind.uid].node, self.ledger.pods[bind.uid].assumed = bind.node, True

    # ---- what holds at any time

    def picture(self) -> Any:
        nodes = [(n.name, n.present, n.pods, +Counter(n.requested), n.gpu_free_milli) for n in self.cluster.nodes()]
        pods = [self.cluster.pod(uid) for uid in self.ledger.pods]
        targets = [self.cluster.targets(name) for name in self.ledger.nodes]
        return nodes, targets, [(p.uid, p.node, p.phase, p.gpus, p.instances, p.ready) for p in pods]

    def see(self) -> None:
        """What the core says of places, for the oracle to judge."""
        for uid, held in self.ledger.pods.items():
            state = self.cluster.pod(uid)
            there = held.node in self.ledger.nodes
            held.gpus = state.gpus if there else []
            held.instances = state.instances if there and self.ledger.nodes[held.node].get("gpus") else []

    @invariant()
    def the_ledger_is_right(self) -> None:
        self.cluster.check()
        self.see()
        for uid, held in self.ledger.pods.items():
            state = self.cluster.pod(uid)
            assert (state.node, state.phase) == (
                held.node,
                "waiting" if not held.node else "assumed" if held.assumed else "bound",
            )
            assert Counter(spot[1] for spot in held.instances) <= wanted_instances(held.pod)
            self.check_ready(uid, held)
        for name, node in self.ledger.nodes.items():
            assert self.cluster.node(name).gpu_free_milli == self.ledger.gpu_free(name)
            targets = self.cluster.targets(name)
            assert len(targets) == len(node.get("gpus", []))
            for slot, (mig, placements) in enumerate(targets):
                self.check_gpu(name, slot, mig, placements)

    def check_ready(self, uid: str, held: Held) -> None:
        state, node = self.cluster.pod(uid), self.ledger.nodes.get(held.node)
        if node is None:
            assert not state.ready
            assert not state.placed
            return
        share = held.pod.get("share")
        placed = len(held.gpus) == (1 if share else held.pod["requests"].get(GPU, 0))
        if not (gpus := node.get("gpus")):
            assert state.ready == state.placed
            assert placed or not state.placed
            return
        placed = placed and Counter(spot[1] for spot in held.instances) == wanted_instances(held.pod)
        there = {(slot, i[0], i[1]): i for slot, gpu in enumerate(gpus) for i in gpu["instances"]}
        assert state.placed == placed
        assert state.ready == (
            placed
            and all(gpus[s]["ready"] and not gpus[s]["mig"] and gpus[s]["pod"] in ("", uid) for s in held.gpus)
            and all(spot in there and there[spot][2] and there[spot][3] in ("", uid) for spot in held.instances)
        )

    def check_gpu(self, name: str, slot: int, mig: bool, target: list[Any]) -> None:
        gpu, taken = self.ledger.nodes[name]["gpus"][slot], self.ledger.taken(name, slot)
        here = {uid: held for uid, held in self.ledger.pods.items() if held.node == name}
        exists = [instance[:2] for instance in gpu["instances"]]
        assert len(set(taken)) == len(taken)
        assert not taken or (gpu["model"] and together(gpu["model"], taken)), "overlap"
        assert not taken or not any(slot in held.gpus for held in here.values()), "whole and cut"
        for profile, start, _, holder in gpu["instances"]:
            owners = [uid for uid, held in here.items() if (slot, profile, start) in held.instances]
            assert not holder or owners in ([], [holder]), "what one holds is another's"
            if holder in here and not owners:
                # It holds more than it asks for.
                has = [spot for spot in here[holder].instances if spot[1] == profile]
                assert len(has) == wanted_instances(here[holder].pod)[profile]
        assert set(taken) <= set(target)
        if not gpu["healthy"] or not gpu["model"]:
            assert (mig, sorted(target)) == (gpu["mig"], sorted(exists)), "touched, though it is ill"
            return
        assert together(gpu["model"], target)
        assert mig or not target
        if any(slot in held.gpus for held in here.values()) or (gpu["pod"] and not taken):
            assert (mig, target) == (False, []), "not merged, though it is wanted whole"
            return
        assert mig == (gpu["mig"] or bool(taken)), "its mode changes without need"
        assert set(target) <= {*taken, *exists}, "made without need"
        for placement in exists:
            assert placement in target or not fits_with(gpu["model"], target, placement), "destroyed without need"


CutMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=30)
TestCuts = CutMachine.TestCase
