"""Gangs in the Cluster, as Pods and PodGroups say, in whatever order they come."""

from __future__ import annotations

import itertools
import json
from typing import Any

from nos.controller.ledger import Ledger
from nos.kube.pod import Pod, decode_pod
from nos.kube.podgroup import PodGroup, decode_pod_group
from tests.controller.in_loop import in_loop

GROUP = "nos.nebuly.com/pod-group"
LEAST = f"{GROUP}-min-available"


def pod(name: str, *, on: str = "", scheduler: str = "nos-scheduler", group: str = "", **told: str) -> Pod:
    """By annotation min=..., or with spec.schedulingGroup."""
    annotations = {GROUP: "job", LEAST: told["least"]} if "least" in told else {}
    body: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "ml", "uid": f"u-{name}", "annotations": annotations},
        "spec": {"schedulerName": scheduler, "nodeName": on, "containers": [{"name": "c"}]},
        "status": {"phase": "Running" if on else "Pending"},
    }
    if group:
        body["spec"]["schedulingGroup"] = {"podGroupName": group}
    return decode_pod(json.dumps(body).encode())


def group(name: str, least: int) -> PodGroup:
    spec = {"schedulingPolicy": {"gang": {"minCount": least}}}
    return decode_pod_group(json.dumps({"metadata": {"name": name, "namespace": "ml"}, "spec": spec}).encode())


def synced() -> Ledger:
    ledger = Ledger("nos-scheduler")
    for sink in ledger.sinks:
        sink.restart()
        sink.synced()
    return ledger


def facts(ledger: Ledger, name: str = "ml/job") -> tuple[list[str], int, str] | None:
    ledger.cluster.check()
    try:
        gang = ledger.cluster.gang(name)
    except KeyError:
        return None
    return gang.members, gang.min_members if gang.known else -1, gang.problem


@in_loop
async def test_whoever_comes_first() -> None:
    arrivals = [pod("a", least="2"), pod("b", on="n", least="2"), pod("c", group="job"), group("job", 3)]
    for order in itertools.permutations(arrivals):
        ledger = synced()
        for item in order:
            sink = ledger.gangs.groups if isinstance(item, PodGroup) else ledger.pods
            sink.changed(item)  # type: ignore[arg-type]
        assert facts(ledger) == (["u-a", "u-b", "u-c"], 3, "")
        ledger.gangs.groups.deleted(group("job", 3))
        assert facts(ledger) == (["u-a", "u-b", "u-c"], 2, "")  # what the Pods say
        ledger.pods.deleted(pod("a", least="2"))
        ledger.pods.deleted(pod("b", on="n", least="2"))
        assert facts(ledger) == (["u-c"], -1, "")  # which says nothing itself
        ledger.pods.deleted(pod("c", group="job"))
        assert facts(ledger) is None


@in_loop
async def test_pods_of_other_schedulers_are_no_members() -> None:
    ledger = synced()
    ledger.pods.changed(pod("a", on="n", scheduler="default-scheduler", group="job"))
    assert facts(ledger) is None


@in_loop
async def test_a_pod_that_says_something_else_is_heard() -> None:
    ledger = synced()
    ledger.pods.changed(pod("a", least="2"))
    ledger.pods.changed(pod("a", least="3"))
    assert facts(ledger) == (["u-a"], 3, "")
    ledger.pods.changed(pod("b", least="4"))
    assert facts(ledger) == (
        ["u-a", "u-b"],
        0,
        f"cannot start: its Pods disagree: {LEAST} is 3 on a, and 4 on b",
    )
    ledger.pods.changed(pod("b"))  # it is on its own now
    assert facts(ledger) == (["u-a"], 3, "")


@in_loop
async def test_who_is_gone_after_a_gap_is_no_member() -> None:
    ledger = synced()
    for name in "ab":
        ledger.pods.changed(pod(name, on="n", least="2"))
    lost: list[str] = []
    ledger.gangs.lost = lost.append
    ledger.pods.restart()
    ledger.pods.changed(pod("a", on="n", least="2"))
    ledger.pods.synced()
    assert facts(ledger) == (["u-a"], 2, "")
    assert lost == ["ml/job"]


@in_loop
async def test_members_that_ended_lower_what_is_needed() -> None:
    ledger = synced()
    ledger.pods.changed(pod("a", on="n", least="3"))
    gang = ledger.gangs.known["ml/job"]
    gang.done = 2
    ledger.gangs.settle("ml/job")
    assert facts(ledger) == (["u-a"], 1, "")
    gang.halted = "was released"
    ledger.gangs.settle("ml/job")
    assert facts(ledger) == (["u-a"], 1, "was released")
