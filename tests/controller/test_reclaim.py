"""What was lent comes back, on the real API server."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.controller.cluster import Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.controller.teams import TEAMS, Teams

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
LEASE = "/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler"


def budgets(team: str) -> str:
    return f"/apis/policy/v1/namespaces/{team}/poddisruptionbudgets"


@pytest.fixture(autouse=True)
def without_budgets(teams: Teams) -> Any:
    yield
    for team in TEAMS:
        teams.api.request("DELETE", budgets(team))


def runs(teams: Teams, team: str, *names: str) -> None:
    for name in names:
        teams.pod(team, name)
    for name in names:
        eventually(lambda name=name: teams.get(team, name)["status"]["phase"] == "Running", why=f"{team}/{name} runs")


def half_each(teams: Teams, gpus: int = 4) -> None:
    """One node; half of its GPUs is guaranteed to each team, and team-a has all of them."""
    teams.cluster.testbed.add_nodes({f"{gpus}xH100": 1})
    for team in TEAMS:
        teams.quota("eq", team, min={"nvidia.com/gpu": gpus // 2})


def evicted(proxy: FaultProxy) -> list[str]:
    """team/name of the Pods for which an Eviction was posted, as often as it was."""
    posted = [request.split("?")[0].split("/") for request in proxy.requests if "/eviction" in request]
    return [f"{path[4]}/{path[6]}" for path in posted]


def test_what_was_lent_comes_back_from_who_is_over(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    half_each(teams)
    controller(proxy.kubeconfig).schedules()
    runs(teams, "team-a", "a1", "a2", "a3", "a4")
    teams.used("eq", "team-a", usage="gpu 4/2")
    teams.pod("team-b", "b1")
    node = teams.bound("team-b", "b1")["spec"]["nodeName"]
    assert teams.capacity("team-b", "b1") == "in-quota"
    (gone,) = evicted(proxy)
    assert gone in ("team-a/a3", "team-a/a4")  # the first two are within the min
    teams.used("eq", "team-a", usage="gpu 3/2")
    teams.used("eq", "team-b", usage="gpu 1/2")

    def told() -> list[str]:
        events = teams.api.get("/apis/events.k8s.io/v1/namespaces/team-a/events")["items"]
        return [event["note"] for event in events if event["reason"] == "Preempted"]

    note = f"Preempted by Pod team-b/b1 (ElasticQuota team-b/q) on node {node}"
    assert eventually(told, why="the victim is told") == [note]


def test_who_is_over_gets_nothing_back(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    half_each(teams)
    controller(proxy.kubeconfig).schedules()
    runs(teams, "team-a", "a1", "a2", "a3")
    teams.pod("team-b", "b1")
    teams.bound("team-b", "b1")
    teams.pod("team-a", "a4")
    teams.pod("team-b", "b2")
    teams.bound("team-b", "b2")
    assert len(evicted(proxy)) == 1  # for b2
    teams.pod("team-b", "b3")  # beyond the min of team-b, whose Pods are all within theirs
    teams.pod("team-b", "small", 0)
    teams.bound("team-b", "small")
    assert "nodeName" not in teams.get("team-b", "b3")["spec"]
    assert "nodeName" not in teams.get("team-a", "a4")["spec"]
    assert len(evicted(proxy)) == 1


def test_a_max_holds_until_it_is_raised(teams: Teams, controller: Start) -> None:
    teams.cluster.testbed.add_nodes({"4xH100": 1})
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 1}, max={"nvidia.com/gpu": 1})
    teams.quota("eq", "team-b", min={"nvidia.com/gpu": 3})
    controller().schedules()
    runs(teams, "team-a", "a1")
    teams.pod("team-a", "a2")

    def says() -> str:
        conditions = teams.get("team-a", "a2")["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "PodScheduled"), "")

    eventually(lambda: "max" in says(), why=f"it waits for its quota: {says()}")
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 1}, max={"nvidia.com/gpu": 2})
    teams.bound("team-a", "a2")
    assert teams.capacity("team-a", "a2") == "over-quota"


def test_a_budget_is_the_last_word_for_reclaim(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    half_each(teams, 2)
    controller(proxy.kubeconfig).schedules()
    runs(teams, "team-a", "a1", "a2")
    path = budgets("team-a")
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a2"}}}
    teams.api.create(path, {"metadata": {"name": "a2"}, "spec": spec})
    eventually(lambda: teams.api.get(f"{path}/a2").get("status", {}).get("currentHealthy") == 1)
    teams.pod("team-b", "b1")
    teams.pod("team-b", "small", 0)
    teams.bound("team-b", "small")
    assert "nodeName" not in teams.get("team-b", "b1")["spec"]
    assert teams.names("team-a") == {"a1", "a2"}
    teams.api.request("DELETE", f"{path}/a2")
    teams.bound("team-b", "b1")
    assert teams.names("team-a") == {"a1"}
    assert "team-a/a1" not in evicted(proxy)


def test_a_refusal_makes_another_go(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    half_each(teams)
    controller(proxy.kubeconfig).schedules()
    runs(teams, "team-a", "a1", "a2", "a3", "a4")
    cause = {"details": {"causes": [{"reason": "DisruptionBudget", "message": "too few"}]}}
    fault = proxy.fault("POST", "/eviction", times=1, status=429, headers={"Retry-After": "20"}, body=cause)
    teams.pod("team-b", "b1")
    teams.bound("team-b", "b1")
    assert fault.hits == 1
    assert sorted(evicted(proxy)) == ["team-a/a3", "team-a/a4"]
    assert len(teams.names("team-a")) == 3


def test_killed_between_reclaim_and_binding(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    half_each(teams, 2)
    killed = controller(proxy.kubeconfig).schedules()
    runs(teams, "team-a", "a1", "a2")
    teams.keep("team-a", "a2")
    teams.pod("team-b", "b1")
    eventually(lambda: teams.get("team-b", "b1")["status"].get("nominatedNodeName"), why="it is nominated")
    eventually(lambda: teams.names("team-a") == {"a1"}, why="the one over its quota goes")
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    teams.api.request("DELETE", LEASE)  # the dead one's: nobody has to wait for its end
    teams.pod("team-a", "a3")  # wants the room as well
    controller(proxy.kubeconfig).schedules()
    teams.pod("team-b", "small", 0)
    teams.bound("team-b", "small")
    teams.keep("team-a", "a2", on=False)
    teams.bound("team-b", "b1")
    assert evicted(proxy) == ["team-a/a2"]
    assert teams.names("team-a") == {"a1", "a3"}
    assert "nodeName" not in teams.get("team-a", "a3")["spec"]


def test_quotas_edited_while_room_is_taken_back(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    """Whoever is guaranteed how much: in the end each has it, nobody was evicted twice, and nothing moves any more."""
    teams.cluster.testbed.add_nodes({"8xH100": 2})
    for team, gpus in zip(TEAMS, (8, 8), strict=True):
        teams.quota("eq", team, min={"nvidia.com/gpu": gpus})
    controller(proxy.kubeconfig).schedules()
    runs(teams, "team-a", *(f"a{number}" for number in range(16)))
    for number in range(12):
        teams.pod("team-b", f"b{number}")
    for first, second in ((4, 12), (10, 6), (6, 10)):
        teams.quota("eq", "team-a", min={"nvidia.com/gpu": first})
        teams.quota("eq", "team-b", min={"nvidia.com/gpu": second})

    def running(team: str) -> int:
        return sum("nodeName" in pod["spec"] and "deletionTimestamp" not in pod["metadata"] for pod in teams.pods(team))

    eventually(lambda: running("team-b") >= 10, why="team-b has its 10")
    teams.used("eq", "team-a", usage=f"gpu {running('team-a')}/6")
    asked = evicted(proxy)
    assert len(asked) == len(set(asked))
    teams.pod("team-b", "small", 0)  # some more cycles
    teams.bound("team-b", "small")
    assert evicted(proxy) == asked
    assert running("team-a") + running("team-b") - 1 == 16
