"""Pods with volumes on the real API server, whose own PV controller binds them. The provisioner of a CSI driver is a
double: see tests/controller/volumes.py."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.volumes import HOSTNAME, SELECTED, Provisioner, Volumes, using

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]


@pytest.fixture
def volumes(cluster: Cluster) -> Iterator[Volumes]:
    """Storage objects; there are none yet."""
    volumes = Volumes(cluster)
    yield volumes
    cluster.clear()
    volumes.clear()


@pytest.fixture
def provisioner(cluster: Cluster) -> Iterator[Provisioner]:
    """The double."""
    with Provisioner(cluster).running() as provisioner:
        yield provisioner


def test_a_disk_of_the_node_is_chosen_with_the_node(cluster: Cluster, controller: Start, volumes: Volumes) -> None:
    a, b = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.local_class()
    volumes.local_volume("small", a, "1Gi")
    volumes.local_volume("fits", b, "2Gi")
    volumes.local_volume("large", b, "3Gi")
    volumes.claim("data", size="2Gi")
    controller().schedules()
    cluster.pod("train", **using("data"))
    assert cluster.bound("train")["spec"]["nodeName"] == b
    assert volumes.volume_of("data") == "fits"
    claim_ref = volumes.get_volume("fits")["spec"]["claimRef"]
    assert claim_ref["uid"] == volumes.get_claim("data")["metadata"]["uid"]
    # A Pod that uses it later goes to where it is.
    cluster.pod("again", gpus=0, **using("data"))
    assert cluster.bound("again")["spec"]["nodeName"] == b


def test_two_claims_of_one_pod_get_two_volumes_of_one_node(
    cluster: Cluster, controller: Start, volumes: Volumes
) -> None:
    a, b = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.local_class()
    for name, node in (("a-1", a), ("b-1", b), ("b-2", b)):
        volumes.local_volume(name, node)
    volumes.claim("one")
    volumes.claim("two")
    controller().schedules()
    cluster.pod("train", **using("one", "two"))
    assert cluster.bound("train")["spec"]["nodeName"] == b
    assert {volumes.volume_of("one"), volumes.volume_of("two")} == {"b-1", "b-2"}


def test_pods_that_race_for_volumes_get_one_each(cluster: Cluster, controller: Start, volumes: Volumes) -> None:
    nodes = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.local_class()
    for number in range(6):
        volumes.local_volume(f"disk-{number}", nodes[number % 2])
    for number in range(8):
        volumes.claim(f"data-{number}")
        cluster.pod(f"p-{number}", gpus=0, **using(f"data-{number}"))
    controller().schedules()  # all of them wait when it begins: one cycle decides on all
    placed = eventually(lambda: len(found := [p for p in cluster.pods() if p["spec"].get("nodeName")]) == 6 and found)
    taken = {}
    for pod in placed:
        volume = volumes.volume_of(f"data-{pod['metadata']['name'].removeprefix('p-')}")
        assert volume not in taken
        taken[volume] = pod["spec"]["nodeName"]
    assert taken == {f"disk-{number}": nodes[number % 2] for number in range(6)}
    (left, _) = sorted({f"p-{n}" for n in range(8)} - {pod["metadata"]["name"] for pod in placed})
    cluster.waits(left, "2 node(s) didn't find available persistent volumes to bind")
    volumes.local_volume("another", nodes[0])
    eventually(lambda: len([p for p in cluster.pods() if p["spec"].get("nodeName")]) == 7)


def test_a_volume_is_made_where_the_pod_is_to_run(
    cluster: Cluster, controller: Start, volumes: Volumes, provisioner: Provisioner
) -> None:
    cluster.testbed.add_nodes({"8xH100": 2})
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    controller().schedules()
    provisioner.acts = False
    cluster.pod("train", **using("data"))
    node = eventually(lambda: volumes.get_claim("data")["metadata"].get("annotations", {}).get(SELECTED))
    cluster.waits("train", f"Binding volumes on node {node}: data")
    assert cluster.condition("train")["reason"] == "BindingVolumes"  # no autoscaler is to act on it
    provisioner.acts = True
    assert cluster.bound("train")["spec"]["nodeName"] == node
    assert volumes.volume_of("data").startswith("pvc-")


def test_a_pod_waits_in_the_words_of_kube_scheduler_and_no_longer_than_it_must(
    cluster: Cluster, controller: Start, volumes: Volumes
) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    volumes.local_class()
    volumes.storage_class("at-once", "kubernetes.io/no-provisioner", wait=False)
    controller().schedules()
    volumes.claim("data", "at-once")
    cluster.pod("early", gpus=0, **using("data"))
    cluster.waits("early", "pod has unbound immediate PersistentVolumeClaims")
    cluster.pod("earlier", gpus=0, **using("later"))
    cluster.waits("earlier", 'persistentvolumeclaim "later" not found')
    assert cluster.condition("earlier")["reason"] == "Unschedulable"
    volumes.local_volume("disk", node, storage_class="at-once")
    cluster.bound("early")
    volumes.claim("later")
    volumes.local_volume("another", node)
    cluster.bound("earlier")


def test_an_ephemeral_volume(cluster: Cluster, controller: Start, volumes: Volumes) -> None:
    _, b = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.local_class()
    volumes.local_volume("disk", b)
    controller().schedules()
    ask = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "local"}
    cluster.pod("train", volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": ask}}}])
    assert cluster.bound("train")["spec"]["nodeName"] == b
    assert volumes.volume_of("train-scratch") == "disk"


@pytest.mark.usefixtures("provisioner")
def test_room_for_volumes_is_kept_track_of(cluster: Cluster, controller: Start, volumes: Volumes) -> None:
    a, b = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.csi_driver(storageCapacity=True, attachRequired=False)
    volumes.storage_class("fast")
    volumes.capacity(a, "4Gi", "fast")
    volumes.claim("data", "fast", size="5Gi")
    controller().schedules()
    cluster.pod("train", **using("data"))
    cluster.waits("train", "0/2 nodes")
    volumes.capacity(b, "5Gi", "fast")
    assert cluster.bound("train")["spec"]["nodeName"] == b


def test_where_a_provisioner_says_no_the_pod_goes_elsewhere(
    cluster: Cluster, controller: Start, volumes: Volumes, provisioner: Provisioner
) -> None:
    nodes = set(cluster.testbed.add_nodes({"8xH100": 3}))
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    provisioner.acts = False
    controller().schedules()
    cluster.pod("train", **using("data"))
    first = eventually(lambda: volumes.get_claim("data")["metadata"].get("annotations", {}).get(SELECTED))
    provisioner.refuses = {first}
    provisioner.acts = True
    assert cluster.bound("train")["spec"]["nodeName"] in nodes - {first}
    assert provisioner.refused == [first]
    eventually(
        lambda: [
            e for e in cluster.events("train") if f'provisioning failed for PVC "data" on node {first}' in e["note"]
        ]
    )
    # And a Pod that fits there after all is not kept away from it.
    cluster.pod("other", gpus=0, nodeSelector={HOSTNAME: first})
    cluster.bound("other")


def test_a_volume_that_was_made_elsewhere_takes_its_pod_along(
    cluster: Cluster, controller: Start, volumes: Volumes, provisioner: Provisioner
) -> None:
    nodes = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    provisioner.acts = False
    controller().schedules()
    cluster.pod("train", **using("data"))
    first = eventually(lambda: volumes.get_claim("data")["metadata"].get("annotations", {}).get(SELECTED))
    (provisioner.misplaces,) = set(nodes) - {first}
    provisioner.acts = True
    assert cluster.bound("train")["spec"]["nodeName"] == provisioner.misplaces


def test_a_pod_whose_volumes_take_too_long_gives_its_room_back(
    cluster: Cluster, controller: Start, volumes: Volumes, provisioner: Provisioner
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    provisioner.acts = False
    controller(volumeBindingSeconds=2).schedules()
    cluster.pod("slow", gpus=8, **using("data"))
    eventually(lambda: [e for e in cluster.events("slow") if "not bound within 2 s: data" in e["note"]])
    cluster.pod("quick", gpus=8, priorityClassName="system-cluster-critical")  # comes first when the room is free
    cluster.bound("quick")
    cluster.delete("quick")
    provisioner.acts = True
    cluster.bound("slow")


def test_a_controller_that_dies_in_the_middle_leaves_nothing_undone(
    cluster: Cluster, controller: Start, volumes: Volumes, provisioner: Provisioner
) -> None:
    a, b = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.storage_class("fast")
    volumes.local_class()
    volumes.claim("made", "fast")
    volumes.claim("found")
    volumes.local_volume("disk-a", a)
    volumes.local_volume("disk-b", b)
    provisioner.acts = False
    first = controller(leaderElection={"enabled": False}).schedules()
    cluster.pod("train", **using("made", "found"))
    node = eventually(lambda: volumes.get_claim("made")["metadata"].get("annotations", {}).get(SELECTED))
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert "nodeName" not in cluster.get("train")["spec"]
    provisioner.acts = True
    controller(leaderElection={"enabled": False}).schedules()
    assert cluster.bound("train")["spec"]["nodeName"] == node
    assert volumes.volume_of("found") == {a: "disk-a", b: "disk-b"}[node]


@pytest.mark.usefixtures("provisioner")
def test_no_more_volumes_than_a_node_can_attach(cluster: Cluster, controller: Start, volumes: Volumes) -> None:
    a, b = cluster.testbed.add_nodes({"8xH100": 2})
    volumes.storage_class("fast")
    volumes.csi_node(a, 2)
    volumes.csi_node(b, 1)
    controller().schedules()
    for number in range(4):
        volumes.claim(f"data-{number}", "fast")
        cluster.pod(f"p-{number}", gpus=0, **using(f"data-{number}"))
    placed = eventually(lambda: len(found := [p for p in cluster.pods() if p["spec"].get("nodeName")]) == 3 and found)
    assert sorted(pod["spec"]["nodeName"] for pod in placed) == sorted([a, a, b])
    (left,) = {f"p-{n}" for n in range(4)} - {pod["metadata"]["name"] for pod in placed}
    cluster.waits(left, "2 node(s) exceed max volume count")
    cluster.delete(placed[0]["metadata"]["name"])
    cluster.bound(left)


@pytest.mark.usefixtures("provisioner")
def test_a_claim_for_one_pod_is_for_one_at_a_time(cluster: Cluster, controller: Start, volumes: Volumes) -> None:
    cluster.testbed.add_nodes({"8xH100": 2})
    volumes.storage_class("fast")
    volumes.claim("data", "fast", accessModes=["ReadWriteOncePod"])
    controller().schedules()
    cluster.pod("first", **using("data"))
    cluster.bound("first")
    cluster.pod("second", **using("data"))
    cluster.waits("second", "a ReadWriteOncePod claim is in use by another pod")
    cluster.delete("first")
    cluster.bound("second")


@pytest.mark.usefixtures("provisioner")
def test_pods_that_share_a_claim_share_its_node(cluster: Cluster, controller: Start, volumes: Volumes) -> None:
    cluster.testbed.add_nodes({"2xT4": 3})
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    for number in range(2):  # of 2 GPUs each node has 2
        cluster.pod(f"p-{number}", gpus=1, **using("data"))
    controller().schedules()
    assert len({cluster.bound(f"p-{number}")["spec"]["nodeName"] for number in range(2)}) == 1
