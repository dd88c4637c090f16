"""Nodes on demand with the real Karpenter: from Pods that wait to nodes that are cut for them, and back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from nos.testbed import Testbed
from nos.testbed.karpenter import Karpenter as Process
from tests.autoscaler.karpenter_rig import BINDING, CLAIMS, CLASSES, ROLE, SETTINGS, Rig, machines
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.gpu_agent import Agents
from tests.controller.test_cutting import mig_pod

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
Object = dict[str, Any]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_KARPENTER = SETTINGS["scaling"]["karpenter"]
_QUICK = {"settleSeconds": 0.2, "longestSettleSeconds": 2, "surveySeconds": 0.5}
_MIG = "nos.nebuly.com/gpu-partitioning"


def ordering(**more: Any) -> Object:
    """Settings with which nos orders nodes, and takes none away unless told so."""
    scaling = {"mode": "order", "karpenter": _KARPENTER, "scaleDown": {"enabled": False}} | _QUICK | more
    return {"scaling": scaling}


@pytest.fixture(scope="module")
def karpenter(role: Testbed) -> Iterator[Process]:
    process = role.add_karpenter(machines())
    role.api.create(f"{_RBAC}/clusterroles", ROLE)
    role.api.create(f"{_RBAC}/clusterrolebindings", BINDING)
    yield process
    process.stop()


@pytest.fixture
def rig(cluster: Cluster, karpenter: Process) -> Iterator[Rig]:
    rig = Rig(cluster.testbed, karpenter)
    rig.prepare()
    yield rig
    rig.clear()


@pytest.fixture
def agents(cluster: Cluster) -> Iterator[Agents]:
    with Agents(cluster.testbed).running() as agents:
        yield agents


def nodes(rig: Rig) -> list[Object]:
    """Those that Karpenter has made."""
    found: list[Object] = rig.api.get("/api/v1/nodes?labelSelector=kwok-partition")["items"]
    return found


def one_node(rig: Rig) -> Object:
    found: Object = eventually(lambda: nodes(rig), why="Karpenter makes a node")[0]
    return found


def gang(name: str, size: int) -> Object:
    labels = {"nos.nebuly.com/pod-group": name, "nos.nebuly.com/pod-group-min-available": str(size)}
    return {"metadata": {"labels": labels}}


def reason(cluster: Cluster, name: str) -> str:
    found: str = cluster.condition(name).get("reason", "")
    return found


def test_a_gang_of_slices_gets_a_node_that_is_cut_for_it(
    cluster: Cluster, rig: Rig, agents: Agents, controller: Start
) -> None:
    controller(**ordering()).schedules()
    names = [f"p{i}" for i in range(4)]
    for name in names:
        mig_pod(cluster, name, "3g.40gb", **gang("g", 4) | {"metadata": {"name": name, **gang("g", 4)["metadata"]}})
    node = one_node(rig)["metadata"]
    # Two of 3g.40gb on each GPU: two GPUs are cut.
    layout = node["annotations"]["nos.nebuly.com/layout"]
    assert layout == "0:3g.40gb@0,0:3g.40gb@4,1:3g.40gb@0,1:3g.40gb@4"
    assert node["labels"][_MIG] == "mig"
    for name in names:
        eventually(lambda name=name: reason(cluster, name) == "NodeOrdered", why=f"{name} is told")
    agents.add(node["name"], gpus=8)
    held = {cluster.bound(name)["metadata"]["annotations"]["nos.nebuly.com/instances"] for name in names}
    assert held == set(layout.split(","))
    assert agents.spec(node["name"]) == {0: (True, ["3g.40gb@0", "3g.40gb@4"]), 1: (True, ["3g.40gb@0", "3g.40gb@4"])}
    eventually(lambda: rig.the_one().state.name == "UP", why="the node is up")
    assert len(rig.claims()) == 1
    events = [(event["reason"], event["type"]) for event in cluster.events("p0")]
    assert ("NodeOrdered", "Normal") in events


def test_the_cheapest_nodes_are_ordered_and_no_more(cluster: Cluster, rig: Rig, controller: Start) -> None:
    controller(**ordering()).schedules()
    for i in range(6):
        cluster.pod(f"p{i}", 1)
    # Six GPUs: two g6.12xlarge of four GPUs for 9.20 are cheaper than a p5.48xlarge for 55.04.
    for i in range(6):
        cluster.bound(f"p{i}")
    kinds = [claim["metadata"]["annotations"]["nos.nebuly.com/group"] for claim in rig.claims()]
    assert kinds == ["gpu/g6.12xlarge/us-east-1a/on-demand"] * 2
    cluster.assert_sound()


def test_whom_no_node_helps_is_told_what_forbids_it_and_karpenter_stays_idle(
    cluster: Cluster, rig: Rig, controller: Start
) -> None:
    controller(**ordering()).schedules()
    cluster.pod("vast", 64)
    told = cluster.waits("vast", "No new node would help")
    assert told["reason"] != "Unschedulable"
    cluster.pod("small", 1)
    cluster.bound("small")
    assert len(rig.claims()) == 1  # for the small one


def test_a_controller_that_is_killed_in_the_middle_orders_nothing_twice(
    cluster: Cluster, rig: Rig, controller: Start
) -> None:
    rig.api.merge(f"{CLASSES}/default", {"spec": {"nodeRegistrationDelay": "8s"}})
    first = controller(**ordering()).schedules()
    for i in range(4):
        cluster.pod(f"p{i}", 1)
    eventually(rig.claims, why="a node is ordered")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    cluster.api.request("DELETE", "/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler")
    controller(**ordering()).schedules()
    for i in range(4):
        cluster.bound(f"p{i}")
    assert len(rig.claims()) == 1


def test_a_node_that_takes_long_is_counted_on(cluster: Cluster, rig: Rig, controller: Start) -> None:
    rig.api.merge(f"{CLASSES}/default", {"spec": {"nodeRegistrationDelay": "20s"}})
    controller(**ordering()).schedules()
    for i in range(3):
        cluster.pod(f"p{i}", 1)
    eventually(rig.claims, why="a node of four GPUs is ordered")
    cluster.pod("p3", 1)  # the fourth one is for it
    eventually(lambda: reason(cluster, "p3") == "NodeOrdered", why="it is told")
    assert not nodes(rig)
    for i in range(4):
        cluster.bound(f"p{i}", within=60)
    assert len(rig.claims()) == 1


def test_a_claim_that_fails_is_followed_by_another_offering(cluster: Cluster, rig: Rig, controller: Start) -> None:
    settings = ordering()
    offerings = [{"zone": "us-east-1a", "price": 1.0}]
    ghost = _KARPENTER["instanceTypes"][1] | {"name": "g6.nowhere", "offerings": offerings}
    settings["scaling"]["karpenter"] = _KARPENTER | {"instanceTypes": [*_KARPENTER["instanceTypes"], ghost]}
    controller(**settings).schedules()
    cluster.pod("p", 1)  # the cheapest one does not exist
    pod = cluster.bound("p", within=150)
    kinds = rig.node(pod["spec"]["nodeName"])["metadata"]["labels"]["node.kubernetes.io/instance-type"]
    assert kinds == "g6.12xlarge"
    failed = [event["note"] for event in cluster.events("p") if event["reason"] == "NodeNotMade"]
    assert len(failed) == 1
    assert "g6.nowhere" in failed[0]


def test_reports_only_order_nothing(cluster: Cluster, rig: Rig, controller: Start) -> None:
    controller(**ordering(mode="report")).schedules()
    cluster.pod("p", 1, nodeSelector={"nobody": "here"})  # not even Karpenter makes a node for it
    cluster.waits("p", "node")
    assert reason(cluster, "p") == "Unschedulable"
    cluster.testbed.add_nodes({"8xH100": 1})
    cluster.pod("later", 1)
    cluster.bound("later")
    assert rig.claims() == []


def test_a_node_that_is_not_needed_goes_and_its_pods_move(cluster: Cluster, rig: Rig, controller: Start) -> None:
    down = {"unneededSeconds": 1, "minimumAgeSeconds": 0, "movePrice": 0.001}
    controller(**ordering(scaleDown=down)).schedules()
    moving = {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}}
    for i in range(8):
        cluster.pod(f"p{i}", 1, metadata={"name": f"p{i}"} | moving)
    for i in range(8):
        cluster.bound(f"p{i}")
    assert len(rig.claims()) == 2  # of four GPUs each
    for i in range(8):
        if i % 2:
            cluster.delete(f"p{i}")
    eventually(lambda: len(rig.claims()) == 1, within=60, why="four Pods need one node")
    eventually(lambda: len(nodes(rig)) == 1, why="the node is gone")


def plan(cluster: Cluster, directory: Any, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """`nos scale plan` with these settings."""
    config = directory / "nos.yaml"
    config.write_text(yaml.safe_dump(settings))
    kubeconfig = str(cluster.testbed.kubeconfig_of())
    command = [sys.executable, "-c", "from nos.cli import main; main()", "scale", "plan", "--config", str(config)]
    return subprocess.run(
        [*command, "--kubeconfig", kubeconfig, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.usefixtures("answering_role")
def test_the_dry_run_shows_what_would_be_done_and_does_nothing(cluster: Cluster, rig: Rig, tmp_path: Any) -> None:
    for i in range(3):
        cluster.pod(f"p{i}", 1)
    cluster.pod("vast", 64)
    done = plan(cluster, tmp_path, "-o", "json", **ordering())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (order,) = found["orders"]
    assert order["group"] == "karpenter/gpu/g6.12xlarge/us-east-1a/on-demand"
    assert sorted(order["pods"]) == [f"default/p{i}" for i in range(3)]
    assert found["price"] == order["price"] == 4.6
    assert [line["pod"] for line in found["left"]] == ["default/vast"]
    assert {group["id"].split("/")[2] for group in found["groups"]} == {"p5.48xlarge", "g6.12xlarge"}
    table = plan(cluster, tmp_path, **ordering())
    assert table.returncode == 0
    assert "+ a node of karpenter/gpu/g6.12xlarge" in table.stdout
    assert "default/vast waits on" in table.stdout
    assert rig.api.get(CLAIMS)["items"] == []
