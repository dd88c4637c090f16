"""What a controller counts on a real API server, against what was done there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.exposed import Exposed
from tests.controller.fault_proxy import FaultProxy
from tests.controller.gpu_agent import Agents
from tests.controller.teams import Teams
from tests.controller.test_cutting import cut_nodes, mig_pod, on
from tests.prometheus import promtool

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
MODEL = "NVIDIA-H100-80GB-HBM3"


def node(cluster: Cluster, name: str, gpus: int, cpu: int = 64) -> None:
    room = {"cpu": str(cpu), "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
    labels = {"nvidia.com/gpu.product": MODEL}
    body = {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": room, "capacity": room}}
    cluster.api.create("/api/v1/nodes", body)


def test_what_is_counted_is_what_happened(cluster: Cluster, teams: Teams, controller: Start) -> None:
    """Two nodes, 8 and 4 GPUs. Of three Pods with 8, 2 and 16 GPUs two are placed; one fits nowhere. Team a uses 2 of
    its 1, and borrows one of team b's 5."""
    node(cluster, "a", 8)
    node(cluster, "b", 4)
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": "1"}, max={"nvidia.com/gpu": "20"})
    teams.quota("eq", "team-b", min={"nvidia.com/gpu": "5"})
    running = controller().schedules()
    cluster.pod("eight", 8)
    cluster.bound("eight")
    teams.pod("team-a", "two", 2)
    teams.bound("team-a", "two")
    cluster.pod("sixteen", 16)
    cluster.waits("sixteen", "nvidia.com/gpu")

    def counted() -> Exposed | None:
        now = Exposed(running)
        return now if now("nos_queue_pods") == 1 and now("nos_quota_used") == 2 else None

    seen = eventually(counted, why=running.said())
    assert seen("nos_bindings_total", result="bound") == 2
    assert seen("nos_bindings_total") == 2
    assert seen("nos_pod_scheduling_seconds_count", reason="") == 2
    assert seen("nos_scheduling_attempts_total", result="placed") == 2
    assert seen("nos_scheduling_attempts_total", result="waits", reason="InsufficientGpu") >= 1
    assert seen("nos_queue_pods", priority="0", quota="", state="pending") == 1
    assert seen("nos_queue_reason_pods", reason="InsufficientGpu") == 1
    assert 0 < seen("nos_queue_oldest_seconds") < 60
    assert seen("nos_nodes") == 2
    assert (seen("nos_node_gpus", node="a"), seen("nos_node_gpus", node="b", model=MODEL)) == (8, 4)
    assert (seen("nos_node_gpus_allocated", node="a"), seen("nos_node_gpus_allocated", node="b")) == (8, 2)
    assert [seen(f"nos_gpus{of}", model=MODEL) for of in ("", "_allocated", "_free", "_unavailable")] == [12, 10, 2, 0]
    assert seen("nos_gpus_stranded") == pytest.approx(2 * seen("nos_gpu_fragmentation_ratio"))
    kinds = "min", "max", "used", "borrowed"
    for team, amounts in ("team-a", [1, 20, 2, 1]), ("team-b", [5, 0, 0, 0]):
        of = {"quota": f"ElasticQuota {team}/q", "resource": "nvidia.com/gpu"}
        assert [seen(f"nos_quota_{kind}", **of) for kind in kinds] == amounts
    assert seen("nos_api_requests_total", verb="POST", resource="pods/binding", code="201") == 2
    assert seen("nos_api_request_seconds_count", verb="POST", resource="pods/binding") == 2
    assert seen("nos_watch_lag_seconds_count") == 2
    assert seen("nos_watch_lists_total", resource="pods") == 1
    assert seen("nos_lease_held") == 1
    assert 0 < seen("nos_lease_remaining_seconds") <= 10
    assert not {"eight", "two", "sixteen"} & {label for each in seen.samples for label in each.labels.values()}


def test_slices_are_parts_of_gpus_and_cuts_are_counted(cluster: Cluster, controller: Start) -> None:
    """Of two GPUs of 8 units, 4 and 1 are taken: 5/8 of a GPU. A third GPU's agent refuses to cut it."""
    with Agents(cluster.testbed).running() as agents:
        cut_nodes(cluster, agents, gpus=2)
        running = controller().schedules()
        mig_pod(cluster, "half", "3g.40gb")
        cluster.bound("half")
        mig_pod(cluster, "eighth", "1g.10gb")
        cluster.bound("eighth")
        seen = eventually(lambda: (now := Exposed(running))("nos_gpus_allocated") == 0.625 and now)
        assert (seen("nos_gpus"), seen("nos_gpus_free"), seen("nos_gpus_unavailable")) == (2, 1.375, 0)
        assert seen("nos_node_gpus_allocated") == 0.625
        assert seen("nos_recut_pods_total", result="served") == 2
        assert seen("nos_recut_pods_total", result="failed") == 0
        assert 1 <= seen("nos_recuts_total") <= 2

        (bad,) = cut_nodes(cluster, agents)
        bad.fails = lambda _: "the driver says no"
        mig_pod(cluster, "refused", "7g.80gb", **on(bad))
        eventually(lambda: Exposed(running)("nos_recut_pods_total", result="failed") >= 1)


def test_what_goes_wrong_is_counted(cluster: Cluster, proxy: FaultProxy, controller: Start) -> None:
    """One Binding is refused, one is cut off and tried again; and Pods are listed once more."""
    node(cluster, "a", 8)
    running = controller(proxy.kubeconfig).schedules()
    refused = proxy.fault("POST", "/pods/refused/binding", times=1, status=403)
    cut = proxy.fault("POST", "/pods/cut/binding", times=1, status=500)
    cluster.pod("refused")
    cluster.pod("cut")
    cluster.bound("cut")
    cluster.bound("refused")
    assert (refused.hits, cut.hits) == (1, 1)
    gone = proxy.fault("GET", "/api/v1/pods?", times=1, status=410)
    proxy.end_watches(b"")
    eventually(lambda: gone.hits and Exposed(running)("nos_watch_lists_total", resource="pods") == 2)

    seen = Exposed(running)
    assert seen("nos_bindings_total", result="refused") == 1
    assert seen("nos_bindings_total", result="bound") == 2
    bindings = {"verb": "POST", "resource": "pods/binding"}
    codes = {code: seen("nos_api_requests_total", code=code, **bindings) for code in ("201", "403", "500")}
    assert codes == {"201": 2, "403": 1, "500": 1}
    assert seen("nos_api_request_seconds_count", **bindings) == 4


def test_prometheus_finds_nothing_to_say_of_it(cluster: Cluster, controller: Start) -> None:
    node(cluster, "a", 8)
    running = controller().schedules()
    cluster.pod("one")
    cluster.bound("one")
    assert promtool("check", "metrics", text=Exposed(running).text + "\n") == ""


@pytest.mark.usefixtures("cluster")
def test_one_that_stands_by_says_so(controller: Start) -> None:
    first = controller().schedules()
    second = controller()
    eventually(lambda: "waiting: " in second.said())
    assert (Exposed(first)("nos_lease_held"), Exposed(second)("nos_lease_held")) == (1, 0)
