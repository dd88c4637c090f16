"""Gangs on the real API server: how they start, what holds them, and what becomes of one that lost Pods."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nos.kube.podgroup import POD_GROUPS
from tests.controller.cluster import NAMESPACE, Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
GROUP = "nos.nebuly.com/pod-group"
LEAST, TOPOLOGY = f"{GROUP}-min-available", f"{GROUP}-topology"


def member(cluster: Cluster, name: str, group: str, least: object, gpus: int = 1, **annotations: str) -> None:
    told = {GROUP: group, LEAST: str(least)} | annotations
    cluster.pod(name, gpus=gpus, metadata={"annotations": told})


def start(cluster: Cluster, group: str, least: int) -> list[str]:
    """A gang of that many, all bound."""
    names = [f"{group}-{index}" for index in range(least)]
    for name in names:
        member(cluster, name, group, least)
    for name in names:
        cluster.bound(name)
    return names


def ends(cluster: Cluster, name: str) -> None:
    """The Pod has run to the end."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/status"
    status, answer = cluster.api.request(
        "PATCH", path, {"status": {"phase": "Succeeded"}}, content_type="application/merge-patch+json"
    )
    assert status == 200, answer


def unbound(cluster: Cluster, *names: str) -> None:
    for name in names:
        assert "nodeName" not in cluster.get(name)["spec"], name


def gangs_are_looked_after(cluster: Cluster, proxy: FaultProxy, *groups: str) -> None:
    """Each of these is released, one after the other: whoever else was to go has gone."""
    for group in groups:
        proxy.fault("POST", f"/pods/{group}-1/binding", times=10_000, status=422)
        for index in range(2):
            member(cluster, f"{group}-{index}", group, 2)
        eventually(lambda group=group: cluster.get(f"{group}-0") is None, why=f"{group} is released")


def test_a_gang_waits_for_its_last_pod_and_starts_whole(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"2xT4": 2})
    controller().schedules()
    for index in range(2):
        member(cluster, f"job-{index}", "job", 3)
    # The first to come may have been told of itself alone, and is told anew only after a while.
    cluster.waits("job-1", "Pod group default/job has 2 of the 3 members that it needs")
    cluster.pod("single", gpus=1)
    cluster.bound("single")  # nobody waits for a gang that is not complete
    unbound(cluster, "job-0", "job-1")
    member(cluster, "job-2", "job", 3)
    for index in range(3):
        cluster.bound(f"job-{index}")
    cluster.assert_sound()


def test_a_gang_that_does_not_fit_holds_nothing_and_says_why(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"2xT4": 1})
    controller().schedules()
    for index in range(3):
        member(cluster, f"job-{index}", "job", 3)
    cluster.waits("job-2", "2 of 3 Pods of pod group default/job fit. 0/1 nodes are available")
    cluster.pod("large", gpus=2)
    cluster.bound("large")
    eventually(lambda: [e for e in cluster.events("job-0") if "Pods of pod group default/job fit" in e["note"]])
    cluster.delete("large")
    cluster.testbed.add_nodes({"2xT4": 1})
    for index in range(3):
        cluster.bound(f"job-{index}")


def test_input_that_makes_no_sense_is_named(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller().schedules()
    member(cluster, "odd", "odd", "four")
    cluster.waits("odd", f'Pod group default/odd cannot start: of Pod odd {LEAST} is "four", which is no whole number')
    member(cluster, "few", "torn", 1)
    cluster.bound("few")
    member(cluster, "many", "torn", 2)
    cluster.waits("many", f"its Pods disagree: {LEAST} is 1 on few, and 2 on many")
    cluster.pod("silent", metadata={"labels": {GROUP: "silent"}})
    cluster.waits("silent", f"none of its Pods has the annotation {LEAST}")
    cluster.delete("few")
    cluster.delete("odd")
    member(cluster, "more", "torn", 2)
    for name in ("many", "more"):
        cluster.bound(name)  # those who are left agree


def test_a_gang_in_one_rack(cluster: Cluster, controller: Start) -> None:
    """Two T4 in each of two racks: a gang of three would fit, but in no single rack."""
    first, second = cluster.testbed.add_nodes({"2xT4": 2})
    for name, rack in ((first, "r1"), (second, "r2")):
        cluster.testbed.kubectl("label", "node", name, f"example.com/rack={rack}")
    controller().schedules()
    more = {TOPOLOGY: "example.com/rack"}
    for index in range(3):
        member(cluster, f"wide-{index}", "wide", 3, **more)
    cluster.waits("wide-0", "2 of 3 Pods of pod group default/wide fit in example.com/rack r1")
    for index in range(2):
        member(cluster, f"close-{index}", "close", 2, **more)
    assert len({cluster.bound(f"close-{index}")["spec"]["nodeName"] for index in range(2)}) == 1
    unbound(cluster, *(f"wide-{index}" for index in range(3)))


def test_a_pod_group_of_the_api_server(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller().schedules()
    path = POD_GROUPS.replace("/podgroups", f"/namespaces/{NAMESPACE}/podgroups")
    try:
        cluster.pod("a", schedulingGroup={"podGroupName": "job"})
        cluster.waits("a", "Pod group default/job is not known")
        body: dict[str, Any] = {
            "apiVersion": "scheduling.k8s.io/v1beta1",
            "kind": "PodGroup",
            "metadata": {"name": "job"},
            "spec": {"schedulingPolicy": {"gang": {"minCount": 3}}},
        }
        status, answer = cluster.api.request("POST", path, body)
        assert status == 201, answer
        cluster.pod("b", schedulingGroup={"podGroupName": "job"})
        cluster.pod("single")
        cluster.bound("single")  # so the others had their turn
        unbound(cluster, "a", "b")
        cluster.testbed.kubectl(
            "patch", "podgroups.v1beta1.scheduling.k8s.io", "job", "--type=merge",
            "-p", '{"spec":{"schedulingPolicy":{"gang":{"minCount":2}}}}',
        )  # fmt: skip
        cluster.bound("a")
        cluster.bound("b")
    finally:
        cluster.api.request("DELETE", f"{path}/job")


def test_one_binding_that_is_refused_takes_the_others_back(
    cluster: Cluster, controller: Start, proxy: FaultProxy
) -> None:
    """Whichever of the three is refused for good: those that are bound go, by eviction, and hold no GPU."""
    cluster.testbed.add_nodes({"8xH100": 1})
    controller(proxy.kubeconfig).schedules()
    proxy.fault("POST", "/pods/job-1/binding", times=10_000, status=422, body={"message": "no such luck"})
    for index in range(3):
        member(cluster, f"job-{index}", "job", 3)
    eventually(lambda: cluster.get("job-0") is None and cluster.get("job-2") is None, why="the bound part is evicted")
    for name in ("job-0", "job-2"):
        assert f"POST /api/v1/namespaces/default/pods/{name}/eviction" in " ".join(proxy.requests)
    cluster.waits("job-1", "was released: Pod job-1 could not be bound")
    cluster.pod("large", gpus=8)
    cluster.bound("large")
    unbound(cluster, "job-1")


def test_a_refused_pod_beyond_the_minimum_harms_nobody(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller(proxy.kubeconfig).schedules()
    start(cluster, "job", 2)
    fault = proxy.fault("POST", "/pods/extra/binding", times=10_000, status=422)
    member(cluster, "extra", "job", 2)
    eventually(lambda: fault.hits)
    gangs_are_looked_after(cluster, proxy, "other")
    assert all(cluster.get(f"job-{index}") for index in range(2))
    assert not [request for request in proxy.requests if "/pods/job-" in request and "/eviction" in request]


def test_a_lost_pod_is_replaced_and_nobody_is_evicted(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller(proxy.kubeconfig, gangGraceSeconds=600).schedules()
    names = start(cluster, "job", 3)
    cluster.delete(names[1])
    gangs_are_looked_after(cluster, proxy, "one", "two")
    member(cluster, "again", "job", 3)
    cluster.bound("again")
    assert not [request for request in proxy.requests if "/pods/job-" in request and "/eviction" in request]
    assert all(cluster.get(name) for name in (names[0], names[2]))


def test_a_gang_that_is_not_completed_in_time_is_released(cluster: Cluster, controller: Start) -> None:
    """Of three gangs of three each loses a Pod, and one has a Pod that ended well. That one runs on with two."""
    cluster.testbed.add_nodes({"8xH100": 2})
    controller(gangGraceSeconds=2).schedules()
    torn, ended, whole = start(cluster, "torn", 3), start(cluster, "ended", 3), start(cluster, "whole", 3)
    ends(cluster, ended[0])
    cluster.delete(torn[0])
    eventually(lambda: not any(map(cluster.get, torn)), why="what was left of it is evicted")
    assert all(map(cluster.get, [*ended, *whole]))
    cluster.delete(ended[1])
    eventually(lambda: cluster.get(ended[2]) is None, why="two of three are not enough, though one has ended")
    assert all(map(cluster.get, whole))
    start(cluster, "torn", 3)  # and may start anew


def test_a_new_leader_knows_who_has_ended(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 2})
    former = controller(gangGraceSeconds=600).schedules()
    ended, torn = start(cluster, "ended", 3), start(cluster, "torn", 3)
    former.stop()
    ends(cluster, ended[0])
    cluster.delete(torn[0])
    controller(gangGraceSeconds=4).schedules()
    eventually(lambda: not any(map(cluster.get, torn)), why="it lost a Pod while nobody looked")
    assert all(map(cluster.get, ended))
    cluster.delete(ended[1])
    member(cluster, "again", "ended", 3)
    cluster.bound("again")  # one ended, one runs: the third is all that it lacks


def test_a_released_gang_starts_again_once_its_pods_can_be_bound(
    cluster: Cluster, controller: Start, proxy: FaultProxy
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller(proxy.kubeconfig).schedules()
    proxy.fault("POST", "/pods/job-1/binding", times=1, status=422)
    for index in range(2):
        member(cluster, f"job-{index}", "job", 2)
    eventually(lambda: cluster.get("job-0") is None, why="the other one is evicted")
    member(cluster, "job-2", "job", 2)
    cluster.bound("job-1", within=60)  # 15 s later
    cluster.bound("job-2")
    assert json.dumps(cluster.events("job-1"))


def test_what_the_documentation_shows_starts(cluster: Cluster, controller: Start) -> None:
    """4 + 2 + 2 Pods, as Jobs."""
    cluster.testbed.add_nodes({"8xH100": 2})
    controller().schedules()
    text = (Path(__file__).parents[2] / "docs" / "gangs.md").read_text()
    manifests = "---\n".join(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    try:
        cluster.testbed.kubectl("apply", "--validate=strict", "-f", "-", stdin=manifests)

        def started() -> bool:
            pods = cluster.pods()
            return len(pods) == 8 and all(pod["spec"].get("nodeName") for pod in pods)

        eventually(started, why="all three groups start")
        cluster.assert_sound()
    finally:
        cluster.testbed.kubectl("delete", "--force", "--grace-period=0", "-f", "-", stdin=manifests)
