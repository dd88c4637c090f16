"""A Pod moves so that another one fits, on the real API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
SETS = "/apis/apps/v1/namespaces/default/replicasets"


@pytest.fixture(autouse=True)
def sets(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.api.request("DELETE", f"{SETS}/mover", {"propagationPolicy": "Foreground"})
    eventually(lambda: cluster.api.request("GET", f"{SETS}/mover")[0] == 404)


def one_of_one_gpu(cluster: Cluster, *, movable: bool) -> None:
    amounts = {"cpu": "1", "nvidia.com/gpu": "1"}
    spec = {
        "schedulerName": "nos-scheduler",
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "containers": [{"name": "main", "image": "busybox", "resources": {"requests": amounts, "limits": amounts}}],
    }
    metadata = {"labels": {"app": "mover"}}
    if movable:
        metadata["annotations"] = {"nos.nebuly.com/movable": "true"}
    template = {"metadata": metadata, "spec": spec}
    selector = {"matchLabels": {"app": "mover"}}
    body = {"metadata": {"name": "mover"}, "spec": {"replicas": 1, "selector": selector, "template": template}}
    cluster.api.create(SETS, body)


def mover(cluster: Cluster) -> dict[str, Any]:
    """The Pod of the set, when it runs."""

    def running() -> dict[str, Any] | None:
        pods = [pod for pod in cluster.pods() if pod["metadata"].get("labels", {}).get("app") == "mover"]
        return next((pod for pod in pods if pod["status"]["phase"] == "Running"), None)

    return eventually(running, why="the set's Pod runs")


@pytest.mark.parametrize("movable", [True, False])
def test_it_moves_if_it_says_that_it_may(cluster: Cluster, proxy: FaultProxy, controller: Start, movable: bool) -> None:
    (wide,) = cluster.testbed.add_nodes({"2xH100": 1})
    controller(proxy.kubeconfig).schedules()
    one_of_one_gpu(cluster, movable=movable)
    before = mover(cluster)["metadata"]["uid"]
    (narrow,) = cluster.testbed.add_nodes({"1xH100": 1})
    cluster.pod("wide", 2)
    if not movable:
        cluster.waits("wide", "nvidia.com/gpu")
        cluster.pod("small", 0)
        cluster.bound("small")
        assert mover(cluster)["metadata"]["uid"] == before
        return
    assert cluster.bound("wide")["spec"]["nodeName"] == wide
    after = mover(cluster)
    assert after["metadata"]["uid"] != before
    assert after["spec"]["nodeName"] == narrow
    assert sum("/eviction" in request for request in proxy.requests) == 1
    cluster.assert_sound()
