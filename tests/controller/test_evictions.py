"""Who has to go so that others fit, on the real API server."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
Object = dict[str, Any]
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
KEEP = {"finalizers": ["nos.test/keep"]}  # it stays, terminating, until the test lets it go
LEASE = "/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler"


@pytest.fixture(autouse=True)
def classes(cluster: Cluster) -> Iterator[None]:
    made = {"lower": (50, ""), "low": (100, ""), "high": (1000, ""), "polite": (1000, "Never")}
    for name, (value, policy) in made.items():
        body = {"metadata": {"name": name}, "value": value, "preemptionPolicy": policy or "PreemptLowerPriority"}
        cluster.api.create(CLASSES, body)
    yield
    cluster.api.request("DELETE", BUDGETS)
    for name in made:
        cluster.api.request("DELETE", f"{CLASSES}/{name}")


def gpus(cluster: Cluster, count: int) -> str:
    """One node with so many."""
    return cluster.testbed.add_nodes({f"{count}xH100": 1})[0]


def pod(cluster: Cluster, name: str, of: str, number: int = 1, **metadata: Any) -> None:
    cluster.pod(name, number, priorityClassName=of, metadata={"labels": {"app": name}} | metadata)


def runs(cluster: Cluster, name: str) -> Object:
    def running() -> Object | None:
        found = cluster.get(name)
        return found if found and found["status"]["phase"] == "Running" else None

    return eventually(running, why=f"{name} runs")


def budget(cluster: Cluster, name: str, app: str, at_least: int) -> None:
    """One that the disruption controller has counted."""
    selector = {"matchLabels": {"app": app}}
    cluster.api.create(BUDGETS, {"metadata": {"name": name}, "spec": {"minAvailable": at_least, "selector": selector}})

    def counted() -> bool:
        status = cluster.api.get(f"{BUDGETS}/{name}").get("status", {})
        return status.get("observedGeneration") == 1 and status["currentHealthy"] == at_least

    eventually(counted, why=f"budget {name} is counted")


def let_go(cluster: Cluster, name: str) -> None:
    cluster.testbed.kubectl("patch", "pod", name, "--type=merge", '-p={"metadata":{"finalizers":null}}')


def is_leaving(cluster: Cluster, name: str) -> bool:
    found = cluster.get(name)
    return found is not None and "deletionTimestamp" in found["metadata"]


def conditions(cluster: Cluster, name: str) -> dict[str, Object]:
    found = cluster.get(name) or {}
    return {c["type"]: c for c in found.get("status", {}).get("conditions", [])}


def evictions(proxy: FaultProxy) -> list[str]:
    """The Pods for which an Eviction was posted, as often as it was."""
    posted = [request.split("?")[0] for request in proxy.requests if "/eviction" in request]
    return [path.split("/")[-2] for path in posted]


def test_the_room_of_a_pod_goes_to_one_of_higher_priority(
    cluster: Cluster, proxy: FaultProxy, controller: Start
) -> None:
    node = gpus(cluster, 2)
    controller(proxy.kubeconfig).schedules()
    pod(cluster, "more", "low", **KEEP)
    runs(cluster, "more")
    pod(cluster, "less", "lower", **KEEP)
    runs(cluster, "less")
    pod(cluster, "urgent", "high")

    eventually(lambda: is_leaving(cluster, "less"), why="the least important goes")
    told = eventually(
        lambda: (
            (c := conditions(cluster, "less").get("DisruptionTarget", {})).get("reason") != "EvictionByEvictionAPI"
            and c
        ),
        why="the victim is told who gets its room",
    )
    note = f"Preempted by Pod default/urgent on node {node}"
    assert (told["status"], told["reason"], told["message"]) == ("True", "PreemptionByScheduler", note)
    eventually(lambda: cluster.get("urgent")["status"].get("nominatedNodeName") == node, why="it is nominated")
    cluster.waits("urgent", "Room is made for it")
    assert cluster.condition("urgent")["reason"] == "MakingRoom"  # so that no autoscaler adds a node

    of_victim = eventually(lambda: [e for e in cluster.events("less") if e["reason"] == "Preempted"])
    assert [(e["note"], e["related"]["name"], e["action"]) for e in of_victim] == [(note, "urgent", "Preempting")]
    of_preemptor = eventually(lambda: [e for e in cluster.events("urgent") if e["reason"] == "Preempting"])
    assert [e["note"] for e in of_preemptor] == [f"Evicts 1 Pod to make room on node {node}: default/less"]

    pod(cluster, "meanwhile", "low")  # its room is kept
    cluster.waits("meanwhile", "")
    let_go(cluster, "less")
    bound = cluster.bound("urgent")
    assert bound["spec"]["nodeName"] == node
    assert "nominatedNodeName" not in bound["status"]  # the API server takes it away
    assert not is_leaving(cluster, "more")
    assert "nodeName" not in cluster.get("meanwhile")["spec"]
    assert evictions(proxy) == ["less"]
    cluster.assert_sound()


def test_who_is_not_to_preempt_does_not(cluster: Cluster, proxy: FaultProxy, controller: Start) -> None:
    gpus(cluster, 1)
    controller(proxy.kubeconfig).schedules()
    pod(cluster, "first", "low")
    runs(cluster, "first")
    pod(cluster, "patient", "polite")
    cluster.waits("patient", "nvidia.com/gpu")
    pod(cluster, "small", "polite", 0)
    cluster.bound("small")
    assert evictions(proxy) == []
    assert not is_leaving(cluster, "first")


def test_who_is_protected_stays_and_another_goes(cluster: Cluster, proxy: FaultProxy, controller: Start) -> None:
    gpus(cluster, 2)
    pod(cluster, "more", "low", **KEEP)
    controller(proxy.kubeconfig).schedules()
    runs(cluster, "more")
    pod(cluster, "less", "lower")
    runs(cluster, "less")
    budget(cluster, "less", "less", 1)
    pod(cluster, "urgent", "high")
    eventually(lambda: is_leaving(cluster, "more"), why="the one without a budget goes, though it is more important")
    let_go(cluster, "more")
    cluster.bound("urgent")
    assert not is_leaving(cluster, "less")
    assert set(evictions(proxy)) == {"more"}  # nos knows the budget, and does not ask in vain


def test_a_refusal_is_honoured_and_another_goes(cluster: Cluster, proxy: FaultProxy, controller: Start) -> None:
    """The budget is one that nos cannot know of yet: the API server alone has seen it."""
    gpus(cluster, 2)
    running = controller(proxy.kubeconfig).schedules()
    for name, of in (("more", "low"), ("less", "lower")):
        pod(cluster, name, of)
        runs(cluster, name)
    refused = {"kind": "Status", "code": 429}
    refused["details"] = {"causes": [{"reason": "DisruptionBudget", "message": "too few"}]}
    fault = proxy.fault("POST", "/less/eviction", times=100, status=429, headers={"Retry-After": "7"}, body=refused)
    pod(cluster, "urgent", "high")
    cluster.bound("urgent")
    assert cluster.get("more") is None
    assert not is_leaving(cluster, "less")
    assert fault.hits == 1
    assert "may not be evicted now" in running.said()


def test_without_another_choice_a_budget_does_not_stop_priority(
    cluster: Cluster, proxy: FaultProxy, controller: Start
) -> None:
    """As with kube-scheduler; but it is asked first."""
    gpus(cluster, 1)
    controller(proxy.kubeconfig).schedules()
    pod(cluster, "only", "low", **KEEP)
    runs(cluster, "only")
    budget(cluster, "only", "only", 1)
    pod(cluster, "urgent", "high")
    eventually(lambda: evictions(proxy) == ["only"])
    eventually(
        lambda: is_leaving(cluster, "only"), why="it is deleted after the API server's 10 s, or half as much more"
    )
    assert conditions(cluster, "only")["DisruptionTarget"]["reason"] == "PreemptionByScheduler"
    assert evictions(proxy) == ["only"]
    let_go(cluster, "only")
    cluster.bound("urgent")


@pytest.mark.parametrize(
    "how",
    [
        {"lost": True},
        {"lost": True, "carried_out": False},
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "1"}},
    ],
    ids=["answer-lost", "request-lost", "unavailable", "too-many-requests"],
)
def test_whatever_becomes_of_a_request_nobody_is_evicted_twice(
    cluster: Cluster, proxy: FaultProxy, controller: Start, how: Object
) -> None:
    gpus(cluster, 2)
    controller(proxy.kubeconfig).schedules()
    for name, of in (("more", "low"), ("less", "lower")):
        pod(cluster, name, of, **KEEP)
        runs(cluster, name)
    proxy.fault("POST", "/eviction", times=1, **how)
    pod(cluster, "urgent", "high")
    eventually(lambda: is_leaving(cluster, "less"), why="it is evicted in the end")
    let_go(cluster, "less")
    cluster.bound("urgent")
    carried_out = 1 if how == {"lost": True} else 2
    assert evictions(proxy) == ["less"] * carried_out
    assert not is_leaving(cluster, "more")


def test_killed_between_eviction_and_binding(cluster: Cluster, proxy: FaultProxy, controller: Start) -> None:
    """The preemptor gets the room that was made for it, and nobody is evicted twice."""
    first, second = gpus(cluster, 1), gpus(cluster, 1)
    killed = controller(proxy.kubeconfig).schedules()
    for name in ("a", "b"):
        pod(cluster, name, "low", **KEEP)
        runs(cluster, name)
    pod(cluster, "urgent", "high")
    eventually(lambda: (cluster.get("urgent") or {})["status"].get("nominatedNodeName"), why="it is nominated")
    (victim,) = eventually(lambda: [name for name in ("a", "b") if is_leaving(cluster, name)])
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    cluster.api.request("DELETE", LEASE)  # the dead one's: nobody has to wait for its end
    node = cluster.get("urgent")["status"]["nominatedNodeName"]
    assert node == cluster.get(victim)["spec"]["nodeName"]
    pod(cluster, "equal", "high")  # came later, and takes nothing of what was promised
    let_go(cluster, victim)
    eventually(lambda: cluster.get(victim) is None)

    controller(proxy.kubeconfig).schedules()
    assert cluster.bound("urgent")["spec"]["nodeName"] == node
    other = ({"a", "b"} - {victim}).pop()
    eventually(lambda: is_leaving(cluster, other), why="for the equal one the other goes")
    let_go(cluster, other)
    assert cluster.bound("equal")["spec"]["nodeName"] == ({first, second} - {node}).pop()
    assert sorted(evictions(proxy)) == ["a", "b"]
    cluster.assert_sound()


def test_killed_while_its_victim_goes(cluster: Cluster, proxy: FaultProxy, controller: Start) -> None:
    gpus(cluster, 1)
    gpus(cluster, 1)
    killed = controller(proxy.kubeconfig).schedules()
    for name in ("a", "b"):
        pod(cluster, name, "low", **KEEP)
        runs(cluster, name)
    pod(cluster, "urgent", "high")
    eventually(lambda: (cluster.get("urgent") or {})["status"].get("nominatedNodeName"), why="it is nominated")
    (victim,) = eventually(lambda: [name for name in ("a", "b") if is_leaving(cluster, name)])
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    cluster.api.request("DELETE", LEASE)  # the dead one's: nobody has to wait for its end
    controller(proxy.kubeconfig).schedules()
    pod(cluster, "small", "low", 0)
    cluster.bound("small")  # some cycles have passed
    let_go(cluster, victim)
    assert cluster.bound("urgent")["spec"]["nodeName"] == cluster.get("urgent")["spec"]["nodeName"]
    assert evictions(proxy) == [victim]


def test_a_promise_that_is_not_needed_any_more_is_taken_back(
    cluster: Cluster, proxy: FaultProxy, controller: Start
) -> None:
    node = gpus(cluster, 1)
    controller(proxy.kubeconfig).schedules()
    pod(cluster, "first", "low", **KEEP)
    runs(cluster, "first")
    pod(cluster, "urgent", "high")
    eventually(lambda: cluster.get("urgent")["status"].get("nominatedNodeName") == node)
    cluster.testbed.kubectl("cordon", node)
    eventually(lambda: not cluster.get("urgent")["status"].get("nominatedNodeName"), why="the node takes nobody")
