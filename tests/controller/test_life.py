"""The controller's own life: the Lease, signals, probes, and what it says when it cannot start."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
QUICK = {"leaseDurationSeconds": 4, "renewDeadlineSeconds": 2.5, "retryPeriodSeconds": 0.5}
LEASE = "/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler"


def holder(cluster: Cluster) -> str:
    status, _ = cluster.api.request("GET", LEASE)
    return cluster.api.get(LEASE)["spec"].get("holderIdentity", "") if status == 200 else ""


def test_sigterm_ends_it_in_good_order(cluster: Cluster, controller: Start) -> None:
    running = controller().schedules()
    assert holder(cluster)
    assert running.stop() == 0
    assert holder(cluster) == ""
    assert "WARNING" not in running.said()


def test_one_of_two_leads_and_the_other_takes_over(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    first = controller(leaderElection=QUICK).schedules()
    second = controller(leaderElection=QUICK)
    eventually(lambda: "leads" in second.said())
    assert second.probe("/readyz") == (200, "ok")
    cluster.pod("a")
    cluster.bound("a")
    transitions = cluster.api.get(LEASE)["spec"].get("leaseTransitions", 0)
    first.stop()
    second.schedules()
    cluster.pod("b")
    cluster.bound("b")
    assert cluster.api.get(LEASE)["spec"]["leaseTransitions"] == transitions + 1
    cluster.assert_sound()


@pytest.mark.usefixtures("cluster")
def test_a_leader_that_dies_is_replaced_after_the_lease(controller: Start) -> None:
    first = controller(leaderElection=QUICK).schedules()
    second = controller(leaderElection=QUICK)
    eventually(lambda: "leads" in second.said())
    first.process.kill()
    began = time.monotonic()
    second.schedules()
    assert time.monotonic() - began > 2  # 4 s after the last renewal, which was at most 0.5 s ago and a half


def test_a_leader_that_cannot_renew_binds_no_more(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    running = controller(proxy.kubeconfig, leaderElection=QUICK).schedules()
    proxy.fault("PUT", "/leases/", times=10_000, status=503)
    proxy.fault("GET", "/leases/", times=10_000, status=503)
    proxy.fault("POST", "/binding", times=1, delay=0.2)
    assert running.process.wait(15) == 1
    assert "could not be renewed in time" in running.said()
    cluster.pod("late")
    assert "nodeName" not in cluster.get("late")["spec"]


def test_a_leader_that_slept_too_long_binds_no_more(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    """Stopped in the middle of things for longer than the Lease lasts, while another leads."""
    cluster.testbed.add_nodes({"8xH100": 1})
    sleeper = controller(proxy.kubeconfig, leaderElection=QUICK).schedules()
    second = controller(leaderElection=QUICK)
    eventually(lambda: "leads" in second.said())
    sleeper.process.send_signal(signal.SIGSTOP)
    second.schedules()
    cluster.pod("a")
    cluster.bound("a")
    cluster.pod("gated", schedulingGates=[{"name": "example.com/wait"}])
    before = len([r for r in proxy.requests if "/binding" in r])
    sleeper.process.send_signal(signal.SIGCONT)
    assert sleeper.process.wait(15) == 1
    assert len([r for r in proxy.requests if "/binding" in r]) == before
    cluster.assert_sound()


def test_a_lease_that_is_taken_away_stops_it(cluster: Cluster, controller: Start) -> None:
    running = controller(leaderElection=QUICK).schedules()
    cluster.testbed.kubectl(
        "patch", "lease", "-n", "nebuly-nos", "nos-scheduler", "--type=merge", '-p={"spec":{"holderIdentity":"thief"}}'
    )
    assert running.process.wait(15) == 1
    assert "was taken by thief" in running.said()
    assert holder(cluster) == "thief"


@pytest.mark.usefixtures("cluster")
def test_probes(controller: Start, proxy: FaultProxy) -> None:
    fault = proxy.fault("GET", "/api/v1/pods?", times=10_000, status=503)
    running = controller(proxy.kubeconfig)
    eventually(lambda: fault.hits)
    assert running.probe("/livez") == (200, "ok")
    assert running.probe("/readyz") == (503, "learning the cluster")
    proxy.heal()
    eventually(lambda: running.probe("/readyz") == (200, "ok"))


@pytest.mark.usefixtures("cluster")
def test_a_role_that_lacks_something_is_named(controller: Start, proxy: FaultProxy) -> None:
    fault = proxy.fault("GET", "/api/v1/nodes?", times=10_000, status=403)
    running = controller(proxy.kubeconfig)
    eventually(lambda: fault.hits)
    eventually(lambda: "/api/v1/nodes: watch interrupted, the controller's role does not allow it" in running.said())


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("gpunodes", "no GPU is cut"),
        ("elasticquotas", "nobody has any"),
        ("compositeelasticquotas", "nobody has any"),
    ],
)
@pytest.mark.usefixtures("cluster")
def test_what_it_may_not_see_yet_does_not_count_as_not_there(
    controller: Start, proxy: FaultProxy, kind: str, what: str
) -> None:
    """An API server that has just started refuses until it knows the roles."""
    path = f"/apis/nos.nebuly.com/v1alpha1/{kind}"
    proxy.fault("GET", f"{path}?", times=3, status=403)
    running = controller(proxy.kubeconfig).schedules()
    said = running.said()
    assert said.count(f"{path}: asking again: 403") == 3
    assert what not in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"schedulerNam": "x"}, "schedulerNam: unknown field; there are kubeconfig, "),
        ({"context": "nowhere"}, "Expected object with name nowhere in"),
        ({"healthAddress": "203.0.113.1:1"}, "healthAddress 203.0.113.1:1: "),
    ],
)
def test_what_it_cannot_start_with_is_named(controller: Start, settings: dict[str, str], said: str) -> None:
    running = controller(**settings)
    assert running.process.wait(30) == 2
    assert said in running.said()


def test_a_kubeconfig_that_is_missing_is_named(controller: Start) -> None:
    running = controller(Path("/nowhere"))
    assert running.process.wait(30) == 2
    assert running.said() == "nos controller: kubeconfig /nowhere: not found; name one with --kubeconfig\n"
