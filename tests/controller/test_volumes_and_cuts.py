"""Pods that need both a GPU cut and volumes bound before they can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.gpu_agent import Agents
from tests.controller.test_cutting import INSTANCES, cut_nodes, mig_pod
from tests.controller.volumes import SELECTED, Provisioner, Volumes, using

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]


@pytest.fixture
def volumes(cluster: Cluster) -> Iterator[Volumes]:
    volumes = Volumes(cluster)
    yield volumes
    cluster.clear()
    volumes.clear()


@pytest.fixture
def provisioner(cluster: Cluster) -> Iterator[Provisioner]:
    with Provisioner(cluster).running() as provisioner:
        yield provisioner


@pytest.fixture
def agents(cluster: Cluster) -> Iterator[Agents]:
    with Agents(cluster.testbed).running() as agents:
        yield agents


def selected(volumes: Volumes) -> str:
    return volumes.get_claim("data")["metadata"].get("annotations", {}).get(SELECTED, "")


def test_the_gpu_is_cut_before_a_volume_ties_the_pod_to_its_node(
    cluster: Cluster, controller: Start, agents: Agents, volumes: Volumes, provisioner: Provisioner
) -> None:
    (node,) = cut_nodes(cluster, agents)
    node.acts = False
    provisioner.acts = False
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    controller().schedules()
    mig_pod(cluster, "train", **using("data"))
    eventually(lambda: agents.spec(node.name))
    cluster.waits("train", f"Needs repartition: GPUs of node {node.name} are being cut")
    assert not selected(volumes)
    node.acts = True
    assert eventually(lambda: selected(volumes)) == node.name
    assert "nodeName" not in cluster.get("train")["spec"]
    provisioner.acts = True
    pod = cluster.bound("train")
    assert pod["metadata"]["annotations"][INSTANCES].startswith("0:3g.40gb@")
    assert volumes.volume_of("data")


def test_a_cut_that_fails_gives_the_volume_back(
    cluster: Cluster, controller: Start, agents: Agents, volumes: Volumes
) -> None:
    """The disk is set aside for the first Pod while its GPU is cut; the second one gets it when that has failed."""
    (node,) = cut_nodes(cluster, agents)
    node.acts = False
    node.fails = lambda _: "the driver says no"
    volumes.local_class()
    volumes.local_volume("disk", node.name)
    volumes.claim("data")
    volumes.claim("other")
    controller().schedules()
    mig_pod(cluster, "first", **using("data"))
    eventually(lambda: agents.spec(node.name))
    cluster.pod("second", gpus=0, **using("other"))
    cluster.waits("second", "didn't find available persistent volumes to bind")
    node.acts = True
    cluster.bound("second")
    assert volumes.volume_of("other") == "disk"
