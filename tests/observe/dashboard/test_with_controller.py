"""The dashboard of a real controller on a real API server: in a browser, and what it asks of whom."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect

from nos.testbed import Testbed
from tests.controller.cluster import Cluster, Controller, eventually
from tests.observe.dashboard.conftest import Open
from tests.observe.dashboard.test_page import live

pytestmark = pytest.mark.cluster
RBAC = Path(__file__).parents[3] / "deploy" / "kustomize" / "dashboard" / "rbac.yaml"
GROUP = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
Start = Callable[..., Controller]


def get(url: str, token: str = "", *, host: str = "") -> tuple[int, str]:
    """The status and the body; of the stream its first line."""
    headers = ({"Authorization": f"Bearer {token}"} if token else {}) | ({"Host": host} if host else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            if answer.headers["Content-Type"] == "text/event-stream":
                return answer.status, answer.readline().decode()
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_is_live_and_survives_a_restart(cluster: Cluster, controller: Start, open_page: Open) -> None:
    cluster.testbed.add_nodes({"8xH100": 2})
    first = controller(dashboard={"address": "127.0.0.1:0"}).schedules()
    page = live(open_page(first.dashboard, expected=("ERR_", "net::")))
    expect(page.locator("canvas")).to_have_attribute("data-nodes", "2")

    cluster.pod("train", 2)
    cluster.bound("train")
    expect(page.locator(".total", has_text="GPUs in use")).to_contain_text("2 of 16")
    expect(page.locator(".entry", has_text="default")).to_contain_text("2")
    cluster.pod("giant", 9)
    page.locator("#tab-queue").click()
    row = page.locator("#view-queue tbody tr", has_text="giant")
    expect(row).to_contain_text("9 gpu")
    expect(row).to_contain_text("0/2 nodes")
    page.locator("#tab-timeline").click()
    expect(page.locator(".moments li", has_text="Successfully assigned default/train")).to_be_visible()

    assert first.stop() == 0
    expect(page.locator("#status")).to_have_text("Reconnecting")
    cluster.testbed.add_nodes({"4xH100": 1})
    controller(dashboard={"address": first.dashboard.split("/")[2]}).schedules()
    live(page)
    page.locator("#tab-cluster").click()
    expect(page.locator("canvas")).to_have_attribute("data-nodes", "3")
    expect(page.locator(".total", has_text="GPUs in use")).to_contain_text("2 of 20")


def test_only_this_machine_is_answered_without_a_token(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    url = controller(dashboard={"address": "127.0.0.1:0"}).schedules().dashboard
    status, body = get(f"{url}api/state")
    assert status == 200
    assert len(json.loads(body)["snapshot"]["nodes"]) == 1
    assert get(f"{url}api/events") == (200, "event: state\n")
    assert get(f"{url}api/state", host="localhost:1")[0] == 200
    for path in ("api/state", "api/events"):
        assert get(url + path, host="evil.example:80")[0] == 403  # a name that an attacker has made ours
    assert get(f"{url}../../etc/passwd")[0] == 404


class Viewers:
    """Service accounts with tokens of the API server's own."""

    def __init__(self, testbed: Testbed) -> None:
        self.api = testbed.api
        reviews, look, record, binding = yaml.safe_load_all(RBAC.read_text())
        binding["subjects"][0]["namespace"] = "nos-system"
        for item in (reviews, binding, look, record):
            self.api.create(f"{GROUP}/{item['kind'].lower()}s", item)

    def token(self, name: str, *, for_: str = "", may_look: bool = False, may_record: bool = False) -> str:
        """Of a new account; for_: an audience, else the API server."""
        self.api.create(ACCOUNTS, {"metadata": {"name": name}})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        role["name"] = "nos-dashboard" if may_look else "nos-record"
        if may_look or may_record:
            self.api.create(
                f"{GROUP}/clusterrolebindings", {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
            )
        asked = {"spec": {"audiences": [for_]} if for_ else {}}
        status, answer = self.api.request("POST", f"{ACCOUNTS}/{name}/token", asked)
        assert status == 201, answer
        return str(json.loads(answer)["status"]["token"])


def test_elsewhere_a_token_with_the_right_is_needed(cluster: Cluster, controller: Start, open_page: Open) -> None:
    viewers = Viewers(cluster.testbed)
    good, other = viewers.token("viewer", may_look=True), viewers.token("stranger")
    foreign = viewers.token("viewer", for_="vault")
    started = controller(dashboard={"address": "0.0.0.0:0", "allowInsecure": True}).schedules()
    url = started.dashboard.replace("0.0.0.0", "127.0.0.1")
    for path in ("api/state", "api/events"):
        assert get(url + path) == (401, "a Bearer token of the cluster is needed\n")
        for wrong in ("wrong", foreign, good[:-4] + "AAAA"):
            assert get(url + path, wrong)[0] == 401, wrong[:20]
        status, why = get(url + path, other)
        assert (status, "system:serviceaccount:default:stranger may not get /dashboard" in why) == (403, True)
        assert get(url + path, good)[0] == 200
    assert get(url)[0] == 200  # the page, which knows nothing

    page = open_page(url, expected=("401", "403"))
    box = page.get_by_label("Token", exact=True)
    expect(box).to_be_focused()
    for wrong, why in (("wrong", "is not valid"), (other, "may not get /dashboard")):
        box.fill(wrong)
        page.get_by_role("button", name="Show the cluster").click()
        expect(page.get_by_role("alert")).to_contain_text(why)
    box.fill(good)
    page.get_by_role("button", name="Show the cluster").click()
    live(page)
    page.reload()  # the tab has kept it
    live(page)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


@pytest.mark.refused
def test_who_cannot_ask_the_api_server_lets_nobody_in(cluster: Cluster, controller: Start) -> None:
    good = Viewers(cluster.testbed).token("viewer", may_look=True)
    status, answer = cluster.api.request("DELETE", f"{GROUP}/clusterrolebindings/nos-dashboard-reviews", {})
    assert status == 200, answer
    started = controller(dashboard={"address": "0.0.0.0:0", "allowInsecure": True}).schedules()
    url = started.dashboard.replace("0.0.0.0", "127.0.0.1")
    eventually(lambda: get(f"{url}api/state", good)[0] == 503, why="the API server has noticed")
    assert "who may get /dashboard is not known" in started.said()
    assert good not in started.said()


def test_a_port_that_is_taken(cluster: Cluster, controller: Start) -> None:
    """Whoever asked for it is refused; who did not goes on without a dashboard."""
    del cluster
    first = controller(dashboard={"address": "127.0.0.1:0"}, leaderElection={"enabled": False}).schedules()
    taken = first.dashboard.split("/")[2]
    second = controller(dashboard={"address": taken}, leaderElection={"enabled": False})
    assert second.process.wait(30) == 1
    assert f"dashboard.address {taken}: " in second.said()
    assert "choose another with --dashboard-address" in second.said()

    with socket.socket() as other:
        with contextlib.suppress(OSError):  # else somebody has it already
            other.bind(("127.0.0.1", 10258))
        other.listen()
        third = controller(dashboard={}, leaderElection={"enabled": False}).schedules()
        eventually(lambda: "there is no dashboard: dashboard.address 127.0.0.1:10258: " in third.said())
        assert third.stop() == 0
