"""Races lost at the kubelet, on the real API server: the test is the kubelet, and another scheduler."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
FULL = "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 1, used: 8, capacity: 8"
ANYWHERE = {"tolerations": [{"operator": "Exists"}]}


def create_node(cluster: Cluster) -> None:
    """One that nobody plays the kubelet of: its Pods stay Pending."""
    room = {"cpu": "8", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "8"}
    body = {"metadata": {"name": "n"}, "status": {"allocatable": room, "capacity": room}}
    cluster.api.create("/api/v1/nodes", body)


def becomes(cluster: Cluster, name: str, phase: str, **status: Any) -> None:
    """As its kubelet would write it."""
    cluster.api.merge(f"/api/v1/namespaces/default/pods/{name}/status", {"status": {"phase": phase} | status})


def counted(running: Controller) -> dict[str, float]:
    """The metric, by reason."""
    status, text = running.probe("/metrics")
    assert status == 200
    lines = re.findall(r'^nos_kubelet_rejections_total\{reason="([^"]*)"\} (\S+)$', text, re.MULTILINE)
    return {reason: float(value) for reason, value in lines}


def test_a_pod_that_its_kubelet_does_not_admit(cluster: Cluster, proxy: FaultProxy, controller: Start) -> None:
    create_node(cluster)
    running = controller(proxy.kubeconfig).schedules()
    assert counted(running) == {}

    cluster.pod("deleted", **ANYWHERE)
    cluster.pod("ran", **ANYWHERE)
    cluster.pod("lost", **ANYWHERE)
    cluster.pod("others", schedulerName="another", **ANYWHERE)
    for name in ("deleted", "ran", "lost"):
        cluster.bound(name)
    cluster.bind("others", "n")

    becomes(cluster, "ran", "Running")
    becomes(cluster, "ran", "Failed", reason="Evicted", message="The node was low on resource: memory.")
    cluster.delete("deleted")
    becomes(cluster, "lost", "Failed", reason="OutOfnvidia.com/gpu", message=FULL)
    becomes(cluster, "others", "Failed", reason="NodePorts", message="Pod was rejected: Predicate NodePorts failed")

    eventually(lambda: counted(running) == {"OutOfnvidia.com/gpu": 1, "NodePorts": 1}, why=running.said())
    told = eventually(lambda: [e for e in cluster.events("lost") if e["reason"] == "RejectedByKubelet"])
    assert [event["note"] for event in told] == [f"Node n did not admit this Pod: {FULL}"]
    assert not [e for e in cluster.events("others") if e["reason"] == "RejectedByKubelet"]
    # Each time the node was asked what room it has now.
    assert len([request for request in proxy.requests if request.startswith("GET /api/v1/nodes/n")]) == 2


def test_what_it_took_is_free_again(cluster: Cluster, controller: Start) -> None:
    create_node(cluster)
    controller().schedules()
    cluster.pod("lost", 8, **ANYWHERE)
    cluster.bound("lost")
    cluster.pod("next", 8, **ANYWHERE)
    cluster.waits("next", "nvidia.com/gpu")
    becomes(cluster, "lost", "Failed", reason="OutOfnvidia.com/gpu", message=FULL)
    cluster.bound("next")
