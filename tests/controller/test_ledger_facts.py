"""The ledger: what else the API server says that decides where a Pod goes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from nos import _core
from nos.controller.ledger import Ledger
from nos.kube.decode import DefaultSpread, waiting_spec
from nos.kube.namespace import Namespace, decode_namespace
from nos.kube.pod import Pod, decode_pod
from nos.kube.selectors import equal
from tests.controller.in_loop import in_loop
from tests.controller.test_devices import ON_A, resource_slice
from tests.controller.test_ledger import gpus_used, node, synced
from tests.controller.test_spread_defaults import MADE_BY_WEB, replica_set, service

WEB = {"app": "web"}


def pod(name: str, gpus: int = 1, *, on: str = "", nominated: str = "", spec: Any = None, **metadata: Any) -> Pod:
    container = {"name": "c", "resources": {"requests": {"nvidia.com/gpu": str(gpus)}}}
    body = {
        "metadata": {"name": name, "namespace": "ml", "uid": f"u-{name}"} | metadata,
        "spec": {"schedulerName": "nos-scheduler", "nodeName": on, "containers": [container]} | (spec or {}),
        "status": {"phase": "Running" if on else "Pending"} | ({"nominatedNodeName": nominated} if nominated else {}),
    }
    return decode_pod(json.dumps(body).encode())


def namespace(name: str, **labels: str) -> Namespace:
    return decode_namespace(json.dumps({"metadata": {"name": name, "labels": labels}}).encode())


def schedule(ledger: Ledger) -> dict[str, str]:
    """Node by Pod; of those that wait, the code of the Reason."""
    with ledger.scheduling():
        outcome = _core.Scheduler(ledger.cluster).schedule()
    placed = {bind.uid[2:]: bind.node for bind in outcome.binds}
    return placed | {uid[2:]: reason.code for uid, reason in outcome.waiting}


AWAY_FROM_WEB = {
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": WEB},
                    "namespaceSelector": {"matchLabels": {"team": "x"}},
                }
            ]
        }
    }
}


@in_loop
async def test_labels_of_pods_and_namespaces_reach_the_core() -> None:
    n = node("n")
    n.metadata.labels["kubernetes.io/hostname"] = "n"
    ledger = synced(n, pod("web", on="n", labels=WEB), pod("shy", spec=AWAY_FROM_WEB))
    ledger.namespaces.changed(namespace("ml", team="x"))
    assert schedule(ledger) == {"shy": "PodAntiAffinity"}
    ledger.namespaces.changed(namespace("ml", team="y"))
    assert schedule(ledger) == {"shy": "n"}


@in_loop
async def test_a_namespace_that_is_gone_has_no_labels() -> None:
    n = node("n")
    n.metadata.labels["kubernetes.io/hostname"] = "n"
    ledger = synced(n, pod("web", on="n", labels=WEB), pod("shy", spec=AWAY_FROM_WEB))
    ledger.namespaces.changed(namespace("ml", team="x"))
    ledger.namespaces.deleted(namespace("ml", team="x"))
    assert schedule(ledger) == {"shy": "n"}


@in_loop
async def test_a_waiting_pod_whose_labels_change_is_seen_with_the_new_ones() -> None:
    n = node("n")
    n.metadata.labels["kubernetes.io/hostname"] = "n"
    ledger = synced(n, pod("shy", on="n", spec=AWAY_FROM_WEB), pod("web", labels=WEB))
    ledger.namespaces.changed(namespace("ml", team="x"))
    assert schedule(ledger) == {"web": "PodAntiAffinity"}
    ledger.pods.changed(pod("web", labels={"app": "other"}))
    assert schedule(ledger) == {"web": "n"}


SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": WEB},
        }
    ]
}


@in_loop
async def test_a_pod_that_is_leaving_takes_its_room_but_has_no_part_in_a_spread() -> None:
    a, b = node("a", 2), node("b", 0)
    a.metadata.labels["zone"], b.metadata.labels["zone"] = "a", "b"
    ledger = synced(a, b, pod("old", on="a", labels=WEB), pod("new", labels=WEB, spec=SPREAD))
    # in zone a 1 + 1, in zone b 0: a skew of 2
    assert schedule(ledger)["new"] != "a"
    ledger.pods.changed(pod("old", on="a", labels=WEB, deletionTimestamp="2026-11-23T00:00:00Z"))
    assert gpus_used(ledger) == 1
    assert schedule(ledger)["new"] == "a"  # 0 + 1


@in_loop
async def test_what_selects_a_waiting_pod_may_come_after_it() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5f", "controller": True}
    web = pod("web", labels=WEB, ownerReferences=[owner])
    other = pod("other", labels={"app": "other"})
    own = pod(
        "own", labels=WEB, spec={"topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1}]}
    )
    ledger = synced(node("n"), web, other, own)
    specs = {uid: waiting.spec for uid, waiting in ledger.waiting.items()}

    async def now(**selector: str) -> _core.PodSpec:
        await asyncio.sleep(0)
        default = DefaultSpread("ml", tuple(equal(selector))) if selector else None
        assert ledger.waiting["u-web"].spec == waiting_spec(web, default=default)
        assert {uid: w.spec for uid, w in ledger.waiting.items() if uid != "u-web"} == {
            uid: spec for uid, spec in specs.items() if uid != "u-web"
        }
        return ledger.waiting["u-web"].spec

    assert await now() == specs["u-web"]
    ledger.spread_defaults.services.changed(service("web", app="web"))
    with_service = await now(app="web")
    assert with_service != specs["u-web"]
    ledger.spread_defaults.replica_sets.changed(replica_set("web-5f", app="web", hash="5f"))
    assert await now(app="web", hash="5f") != with_service
    ledger.spread_defaults.services.deleted(service("web", app="web"))
    ledger.spread_defaults.replica_sets.deleted(replica_set("web-5f", app="web", hash="5f"))
    assert await now() == specs["u-web"]
    assert ledger.waiting["u-web"].facts.owner == MADE_BY_WEB


@in_loop
async def test_a_new_spec_while_the_scheduler_runs_waits_for_it_to_end() -> None:
    ledger = synced(node("n"), pod("web", labels=WEB))
    with ledger.scheduling():
        ledger.spread_defaults.services.changed(service("web", app="web"))
        await asyncio.sleep(0)
        outcome = await asyncio.to_thread(_core.Scheduler(ledger.cluster).schedule)
    assert [bind.uid for bind in outcome.binds] == ["u-web"]
    assert ledger.decided("u-web") is not None
    assert gpus_used(ledger) == 1


OTHERS = {"schedulerName": "default-scheduler"}
GATED = {"schedulingGates": [{"name": "example.com/gate"}]}


@pytest.mark.parametrize("spec", [OTHERS, GATED], ids=["of another scheduler", "gated"])
def test_a_nomination_holds_room(spec: dict[str, Any]) -> None:
    @in_loop
    async def run() -> None:
        ledger = synced(node("n"), node("m", 2), pod("preemptor", 6, nominated="n", spec=spec), pod("ours", 4))
        # n has 8 - 6 = 2 left, m has 2
        assert schedule(ledger) == {"ours": "InsufficientGpu"}
        ledger.pods.changed(pod("preemptor", 6, nominated="m", spec=spec))  # elsewhere now
        assert schedule(ledger) == {"ours": "n"}

    run()


def gpus_left(ledger: Ledger) -> int:
    """The most that a Pod of priority 0 could have on one node."""
    scheduler = _core.Scheduler(ledger.cluster)
    return max(gpus for gpus in range(9) if scheduler.feasible(_core.PodSpec({"nvidia.com/gpu": gpus})))


@in_loop
async def test_a_nomination_ends_with_the_binding_or_without() -> None:
    ledger = synced(node("n"), pod("a", 6, nominated="n", spec=OTHERS), pod("b", 1, nominated="n", spec=OTHERS))
    assert gpus_left(ledger) == 8 - 7
    ledger.pods.changed(pod("a", 6, on="n", nominated="n", spec=OTHERS))
    assert ledger.cluster.pod("u-a").phase == "bound"
    ledger.pods.changed(pod("b", 1, spec=OTHERS))
    assert gpus_left(ledger) == 8 - 6
    ledger.pods.changed(pod("b", 1, nominated="n", spec=OTHERS))
    ledger.pods.changed(pod("b", 1, nominated="n", spec=OTHERS, deletionTimestamp="2026-11-23T00:00:00Z"))
    assert gpus_left(ledger) == 8 - 6
    ledger.pods.changed(pod("b", 1, nominated="n", spec=OTHERS))
    ledger.pods.deleted(pod("b", 1, nominated="n", spec=OTHERS))
    assert gpus_left(ledger) == 8 - 6


@in_loop
async def test_a_nomination_of_our_own_pod_is_nobodys_room() -> None:
    ledger = synced(node("n"), pod("ours", 8, nominated="n"), pod("also", 8))
    assert sorted(schedule(ledger).values()) == ["InsufficientGpu", "n"]


@in_loop
async def test_a_gated_pod_with_a_nomination_waits_when_its_gates_are_gone() -> None:
    ledger = synced(node("n"), pod("a", 8, nominated="n", spec=GATED))
    assert not ledger.waiting
    ledger.pods.changed(pod("a", 8, nominated="n"))
    assert gpus_used(ledger) == 0
    assert schedule(ledger) == {"a": "n"}


@in_loop
async def test_its_gates_may_go_while_we_list() -> None:
    ledger = synced(node("n"), pod("a", 8, nominated="n", spec=GATED))
    ledger.pods.restart()
    ledger.pods.changed(pod("a", 8, nominated="n"))
    ledger.pods.synced()
    assert schedule(ledger) == {"a": "n"}


@in_loop
async def test_a_listing_forgets_a_nomination_that_vanished() -> None:
    ledger = synced(node("n"), pod("a", 8, nominated="n", spec=OTHERS))
    ledger.pods.restart()
    ledger.pods.synced()
    assert gpus_used(ledger) == 0


@in_loop
async def test_a_node_with_devices_by_dra_is_not_one_without_gpus() -> None:
    bare = node("a")
    del bare.status.allocatable["nvidia.com/gpu"]
    ledger = synced(bare, pod("train"))
    assert schedule(ledger) == {"train": "InsufficientGpu"}
    ledger.devices.slices.changed(resource_slice("s", ON_A))
    assert schedule(ledger) == {"train": "OnlyByDra"}
    ledger.devices.slices.deleted(resource_slice("s", ON_A))
    assert schedule(ledger) == {"train": "InsufficientGpu"}


@in_loop
async def test_who_left_before_it_ran() -> None:
    ledger, left = synced(node("n")), list[str]()
    ledger.pods.left_unrun = lambda pod: left.append(pod.metadata.name)

    def ended(name: str, phase: str, **more: Any) -> None:
        one = pod(name, on=more.pop("on", "n"), **more)
        one.status.phase = phase
        ledger.pods.changed(one)
        ledger.pods.deleted(one)  # the watch does not select it any more: the state before

    ended("not-admitted", "Pending")
    ended("done", "Running")
    ended("deleted", "Pending", deletionTimestamp="2026-11-23T00:00:00Z")
    ended("never-bound", "Pending", on="")
    assert left == ["not-admitted"]
    assert gpus_used(ledger) == 0
