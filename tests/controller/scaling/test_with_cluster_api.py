"""Nodes on demand from MachineDeployments, by the whole controller; Cluster API's controllers are a double."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.autoscaler.cluster_api_rig import Rig, serve, withdraw
from tests.controller.cluster import Cluster, Controller, eventually

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ROLE = Path(__file__).parents[3] / "deploy" / "kustomize" / "autoscaling" / "cluster-api.yaml"
_WHOLE = {"capacity.cluster-autoscaler.kubernetes.io/labels": "nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3"}


def ordering(**scale_down: Any) -> dict[str, Any]:
    quick = {"settleSeconds": 0.2, "longestSettleSeconds": 2, "surveySeconds": 0.5}
    down = {"enabled": False} | scale_down
    return {"scaling": {"mode": "order", "clusterApi": {}, "scaleDown": down} | quick}


@pytest.fixture
def rig(cluster: Cluster) -> Iterator[Rig]:
    role, binding = yaml.safe_load_all(_ROLE.read_text())
    binding["subjects"][0]["namespace"] = "nos-system"
    cluster.api.create(f"{_RBAC}/clusterroles", role)
    cluster.api.create(f"{_RBAC}/clusterrolebindings", binding)
    serve(cluster.testbed, "v1beta2")
    rig = Rig(cluster.testbed, "v1beta2")
    rig.deploy(**_WHOLE)
    yield rig
    rig.clear()
    withdraw(cluster.testbed)


def test_pods_that_wait_get_nodes_and_the_one_that_is_left_goes(cluster: Cluster, rig: Rig, controller: Start) -> None:
    controller(**ordering(enabled=True, unneededSeconds=1, minimumAgeSeconds=0)).schedules()
    for name in ("a", "b"):
        cluster.pod(name, 8)  # each fills a node
    eventually(lambda: rig.replicas() == 2, why="two nodes are ordered")
    rig.double.settle()
    nodes = {cluster.bound(name)["spec"]["nodeName"]: name for name in ("a", "b")}
    assert sorted(nodes) == ["h100-000", "h100-001"]
    cluster.delete(nodes["h100-001"])  # left to itself, the double would take the other node away
    eventually(lambda: rig.replicas() == 1, why="the number is lowered")
    assert rig.marked() == {"h100-001"}
    rig.double.settle()
    assert [machine["metadata"]["name"] for machine in rig.double.there()] == ["h100-000"]
    assert [pod["spec"]["nodeName"] for pod in cluster.pods()] == ["h100-000"]


def test_a_controller_that_is_killed_after_its_order_leaves_no_duplicate(
    cluster: Cluster, rig: Rig, controller: Start
) -> None:
    first = controller(**ordering()).schedules()
    cluster.pod("a", 8)
    eventually(lambda: rig.replicas() == 1, why="a node is ordered")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    cluster.api.request("DELETE", "/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler")
    controller(**ordering()).schedules()
    eventually(lambda: cluster.condition("a").get("reason") == "NodeOrdered", why="it knows that one is coming")
    rig.double.settle()
    cluster.bound("a")
    assert rig.replicas() == 1
