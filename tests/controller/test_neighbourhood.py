"""What is around Pods and nodes, from the real API server: namespaces and devices by DRA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.controller.cluster import Cluster, Controller, eventually

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
RESOURCE = "/apis/resource.k8s.io/v1"
GPU_CLASS = {"metadata": {"name": "gpu.nvidia.com"}, "spec": {"extendedResourceName": "example.com/gpu"}}


@pytest.fixture
def devices(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster without DeviceClasses and ResourceSlices, before and after."""
    yield cluster
    for kind in ("deviceclasses", "resourceslices"):
        cluster.api.request("DELETE", f"{RESOURCE}/{kind}")


def resource_slice(node: str) -> dict[str, Any]:
    """As NVIDIA's DRA driver publishes it, in short."""
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "gpu.nvidia.com", "nodeName": node, "pool": pool, "devices": [{"name": "gpu-0"}]}
    return {"metadata": {"name": f"{node}-gpu"}, "spec": spec}


def test_gpus_that_are_there_by_dra_only(devices: Cluster, controller: Start) -> None:
    room = {"cpu": "8", "memory": "64Gi", "pods": "110"}
    body = {"metadata": {"name": "n"}, "status": {"allocatable": room, "capacity": room}}
    devices.api.create("/api/v1/nodes", body)
    controller().schedules()
    for name, resource in (("gpu", "nvidia.com/gpu"), ("named", "example.com/gpu")):
        limits = {"limits": {resource: "1"}}
        main = {"name": "main", "image": "busybox", "resources": limits}
        devices.pod(name, containers=[main], tolerations=[{"operator": "Exists"}])
        devices.waits(name, f"Insufficient {resource}")
    devices.api.create(f"{RESOURCE}/resourceslices", resource_slice("n"))
    devices.waits("gpu", "DRA")
    devices.api.create(f"{RESOURCE}/deviceclasses", GPU_CLASS)
    devices.waits("named", "DRA")


def test_pods_of_namespaces_that_are_selected(cluster: Cluster, controller: Start) -> None:
    cluster.api.create("/api/v1/namespaces", {"metadata": {"name": "team", "labels": {"team": "red"}}})
    cluster.testbed.add_nodes({"8xH100": 1})
    controller().schedules()
    cluster.pod("red", metadata={"namespace": "team"})
    red = "/api/v1/namespaces/team/pods/red"
    eventually(lambda: cluster.api.get(red)["spec"].get("nodeName"))
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {},
        "namespaceSelector": {"matchLabels": {"team": "red"}},
    }
    cluster.pod("shy", affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    cluster.waits("shy", "anti-affinity")
    cluster.api.merge("/api/v1/namespaces/team", {"metadata": {"labels": {"team": "blue"}}})
    cluster.bound("shy")
    cluster.api.request("DELETE", red, {"gracePeriodSeconds": 0})
    cluster.api.request("DELETE", "/api/v1/namespaces/team")
