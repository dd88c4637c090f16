"""Quotas on the real API server: what is said of them, and of the Pods under them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.controller.cluster import Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.controller.teams import TEAMS, Teams

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]


def patched(proxy: FaultProxy) -> list[str]:
    """The Pods whose labels were patched, as often as they were."""
    paths = [request.partition(" ")[2].split("?")[0] for request in proxy.requests if request.startswith("PATCH ")]
    return [path.split("/")[-1] for path in paths if path.split("/")[-2] == "pods"]


def test_pods_say_whether_they_are_over_their_quota_and_quotas_what_is_used(
    teams: Teams, proxy: FaultProxy, controller: Start
) -> None:
    teams.cluster.testbed.add_nodes({"8xH100": 1})
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 2, "nos.nebuly.com/gpu-memory": "160"}, max={"cpu": 16})
    teams.quota("eq", "team-b", min={"nvidia.com/gpu": 6, "nos.nebuly.com/gpu-memory": 480})  # lends
    controller(proxy.kubeconfig).schedules()
    teams.used("eq", "team-a", usage="cpu 0 (max 16), gpu 0/2, gpu-memory 0/160")
    for name in ("first", "second", "third"):
        teams.pod("team-a", name)
        assert "nos.nebuly.com/capacity" in teams.bound("team-a", name)["metadata"]["labels"]  # with its Binding
    labels = {name: teams.capacity("team-a", name) for name in ("first", "second", "third")}
    assert labels == {"first": "in-quota", "second": "in-quota", "third": "over-quota"}  # 3 of 2 GPUs
    teams.used("eq", "team-a", usage="cpu 3 (max 16), gpu 3/2, gpu-memory 240/160")  # 80 GB each
    assert teams.status("eq", "team-a")["used"] == {
        "cpu": "3",
        "nvidia.com/gpu": "3",
        "nos.nebuly.com/gpu-memory": "240",
    }
    ready = teams.ready("eq", "team-a")
    assert (ready["status"], ready["reason"]) == ("True", "Counting")

    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 3})  # an edit acts at once
    eventually(lambda: teams.capacity("team-a", "third") == "in-quota")
    teams.used("eq", "team-a", usage="gpu 3/3")
    assert patched(proxy) == ["third"]  # the one that changed sides, and nobody at their binding

    teams.drop("eq", "team-a")
    eventually(lambda: not any(teams.capacity("team-a", name) for name in ("first", "second", "third")))
    assert teams.status("eq", "team-b")["usage"] == "gpu 0/6, gpu-memory 0/480"


def test_a_namespace_under_two_quotas_is_said_of_both(teams: Teams, controller: Start) -> None:
    teams.cluster.testbed.add_nodes({"8xH100": 1})
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 2})
    controller().schedules()
    eventually(lambda: teams.ready("eq", "team-a").get("reason") == "Counting")
    teams.quota("ceq", "default", namespaces=["team-a", "team-b"], min={"nvidia.com/gpu": 4})
    loser = eventually(lambda: (c := teams.ready("eq", "team-a")).get("reason") == "NamespaceTaken" and c)
    assert loser["status"] == "False"
    assert "Namespace team-a counts under CompositeElasticQuota default/q" in loser["message"]
    winner = eventually(lambda: (c := teams.ready("ceq", "default")).get("reason") == "NamespaceContested" and c)
    assert winner["status"] == "True"
    assert "Namespace team-a is also in ElasticQuota team-a/q" in winner["message"]
    teams.pod("team-a", "a")
    teams.pod("team-b", "b")
    teams.bound("team-a", "a")
    teams.bound("team-b", "b")
    teams.used("ceq", "default", usage="gpu 2/4")
    assert teams.status("eq", "team-a")["usage"] == ""
    shown = teams.cluster.testbed.kubectl("get", "eq,ceq", "-A")
    assert "NamespaceTaken" in shown
    assert "gpu 2/4" in shown

    teams.drop("ceq", "default")
    eventually(lambda: teams.ready("eq", "team-a").get("status") == "True")
    teams.used("eq", "team-a", usage="gpu 1/2")
    eventually(lambda: teams.capacity("team-b", "b") == "")


def test_parents_are_found_and_circles_said(teams: Teams, controller: Start) -> None:
    teams.cluster.testbed.add_nodes({"8xH100": 1})
    controller().schedules()
    teams.quota("ceq", "default", min={"nvidia.com/gpu": 8})
    for team in TEAMS:
        teams.quota("eq", team, min={"nvidia.com/gpu": 4}, parent="default/q")
        teams.pod(team, "p")
        teams.bound(team, "p")
        teams.used("eq", team, usage="gpu 1/4")
    teams.used("ceq", "default", usage="gpu 2/8")
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 5}, parent="default/q")
    below = eventually(lambda: (c := teams.ready("ceq", "default")).get("reason") == "MinBelowChildren" and c)
    assert "add up to 9 of nvidia.com/gpu, its own min is 8" in below["message"]
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 4}, parent="team-b/q")
    teams.quota("eq", "team-b", min={"nvidia.com/gpu": 4}, parent="team-a/q")
    for team in TEAMS:
        eventually(lambda team=team: teams.ready("eq", team).get("reason") == "ParentCircle")
        teams.used("eq", team, usage="gpu 1/4")
    teams.used("ceq", "default", usage="gpu 0/8")


def test_a_restart_writes_nothing_that_is_right_already(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    teams.cluster.testbed.add_nodes({"8xH100": 1})
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 1})
    teams.quota("ceq", "default", "lender", min={"nvidia.com/gpu": 8})
    first = controller().schedules()
    for name in ("one", "two"):
        teams.pod("team-a", name)
        teams.bound("team-a", name)
    teams.used("eq", "team-a", usage="gpu 2/1")
    eventually(lambda: {teams.capacity("team-a", name) for name in ("one", "two")} == {"in-quota", "over-quota"})
    before = teams.status("eq", "team-a")
    first.stop()
    controller(proxy.kubeconfig).schedules()
    teams.pod("team-b", "later")  # some time passes
    teams.bound("team-b", "later")
    teams.quota("eq", "team-b", min={"nvidia.com/gpu": 1})
    teams.used("eq", "team-b", usage="gpu 1/1")
    assert teams.status("eq", "team-a") == before
    assert patched(proxy) == ["later"] * len(patched(proxy))
    assert not [request for request in proxy.requests if "namespaces/team-a/" in request and "PATCH" in request]


def test_edits_under_load(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    """Quotas change while Pods come: in the end all that is said is true."""
    teams.cluster.testbed.add_nodes({"8xH100": 4})
    controller(proxy.kubeconfig).schedules()
    teams.quota("ceq", "default", "lender", min={"nvidia.com/gpu": 32})
    for number in range(8):
        for team in TEAMS:
            teams.quota("eq", team, min={"nvidia.com/gpu": number}, max={"nvidia.com/gpu": 16 + number})
        teams.quota("ceq", "default", namespaces=[TEAMS[number % 2]], min={"nvidia.com/gpu": number + 1})
        for team in TEAMS:
            for which in "xy":
                teams.pod(team, f"{which}{number}")
    for team in TEAMS:
        for number in range(8):
            for which in "xy":
                teams.bound(team, f"{which}{number}")
    # 16 Pods each; team-b is under the composite of 8, team-a under its own of 7.
    teams.used("ceq", "default", usage="gpu 16/8")
    teams.used("eq", "team-a", usage="gpu 16/7 (max 23)")

    def labels(team: str) -> list[str]:
        pods = teams.api.get(f"/api/v1/namespaces/{team}/pods")["items"]
        return sorted(pod["metadata"]["labels"].get("nos.nebuly.com/capacity", "") for pod in pods)

    eventually(lambda: labels("team-a") == ["in-quota"] * 7 + ["over-quota"] * 9, why=f"{labels('team-a')}")
    eventually(lambda: labels("team-b") == ["in-quota"] * 8 + ["over-quota"] * 8, why=f"{labels('team-b')}")
    assert teams.ready("eq", "team-b")["reason"] == "NamespaceTaken"


def test_a_write_that_is_refused_or_lost_is_made_again(teams: Teams, proxy: FaultProxy, controller: Start) -> None:
    teams.cluster.testbed.add_nodes({"8xH100": 1})
    controller(proxy.kubeconfig).schedules()
    conflict = proxy.fault("PATCH", "/elasticquotas/", times=1, status=409)
    lost = proxy.fault("PATCH", "/elasticquotas/", times=3, lost=True)
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 1})
    teams.used("eq", "team-a", usage="gpu 0/1")
    teams.pod("team-a", "one")
    teams.bound("team-a", "one")
    unlabelled = proxy.fault("PATCH", "/pods/one", times=2, status=503)
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 0})
    teams.used("eq", "team-a", usage="gpu 1/0")
    eventually(lambda: teams.capacity("team-a", "one") == "over-quota")
    assert (conflict.hits, lost.hits, unlabelled.hits) == (1, 3, 2)
