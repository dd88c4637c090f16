"""Volume binding when the API server answers late, not at all, or with a no."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.controller.volumes import SELECTED, Provisioner, Volumes, using

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
VOLUME, CLAIM = "/persistentvolumes/disk", "/persistentvolumeclaims/data"


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


@pytest.mark.parametrize(
    "fault",
    [
        {"lost": True},  # carried out
        {"lost": True, "carried_out": False},
        {"status": 409},
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "1"}},
    ],
)
def test_a_write_that_goes_wrong_is_settled(
    cluster: Cluster,
    controller: Start,
    volumes: Volumes,
    provisioner: Provisioner,
    proxy: FaultProxy,
    fault: dict[str, object],
) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    volumes.local_class()
    volumes.storage_class("fast")
    volumes.local_volume("disk", node)
    volumes.claim("found")
    volumes.claim("data", "fast")
    faults = [proxy.fault("PATCH", VOLUME, times=2, **fault), proxy.fault("PATCH", CLAIM, times=2, **fault)]
    controller(proxy.kubeconfig).schedules()
    cluster.pod("train", **using("found", "data"))
    cluster.bound("train")
    assert volumes.volume_of("found") == "disk"
    assert volumes.volume_of("data").startswith("pvc-")
    assert all(fault.hits for fault in faults)
    provisioner.acts = False


def test_a_write_that_is_refused_for_good_gives_the_pod_back(
    cluster: Cluster, controller: Start, volumes: Volumes, proxy: FaultProxy
) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    volumes.local_class()
    volumes.local_volume("disk", node)
    volumes.claim("data")
    proxy.fault("PATCH", VOLUME, times=1, status=403)
    controller(proxy.kubeconfig).schedules()
    cluster.pod("train", **using("data"))
    eventually(
        lambda: [e for e in cluster.events("train") if "Another place is looked for: binding volumes: 403" in e["note"]]
    )
    cluster.bound("train")


def test_a_volume_that_another_binds_first(
    cluster: Cluster, controller: Start, volumes: Volumes, proxy: FaultProxy
) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    volumes.local_class()
    volumes.local_volume("disk", node)
    volumes.claim("data")
    volumes.claim("rival")
    late = proxy.fault("PATCH", VOLUME, times=1, held=True)
    controller(proxy.kubeconfig).schedules()
    cluster.pod("train", **using("data"))
    eventually(lambda: late.hits)
    volumes.give("disk", "rival")
    late.held = False
    cluster.waits("train", "didn't find available persistent volumes to bind")
    assert volumes.get_volume("disk")["spec"]["claimRef"]["name"] == "rival"
    volumes.local_volume("another", node)
    cluster.bound("train")
    assert volumes.volume_of("data") == "another"


def test_a_volume_that_another_binds_while_the_pods_first_is_written(
    cluster: Cluster, controller: Start, volumes: Volumes, proxy: FaultProxy
) -> None:
    """The second volume is known as another's by the time that it is written, and stays the other's."""
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    volumes.local_class()
    for name, size in [("disk", "1Gi"), ("large", "2Gi")]:  # the smallest is written first
        volumes.local_volume(name, node, size)
        volumes.claim(f"for-{name}", size=size)
    volumes.claim("rival", size="2Gi")
    late = proxy.fault("PATCH", VOLUME, times=1, delay=2.0)
    controller(proxy.kubeconfig).schedules()
    cluster.pod("train", **using("for-disk", "for-large"))
    eventually(lambda: late.hits)
    volumes.give("large", "rival")
    cluster.waits("train", "didn't find available persistent volumes to bind")
    assert volumes.get_volume("large")["spec"]["claimRef"]["name"] == "rival"
    eventually(lambda: volumes.volume_of("rival") == "large")
    volumes.local_volume("another", node, "2Gi")
    cluster.bound("train")
    assert (volumes.volume_of("for-disk"), volumes.volume_of("for-large")) == ("disk", "another")


def test_a_pod_that_is_deleted_meanwhile_leaves_its_volume_to_others(
    cluster: Cluster, controller: Start, volumes: Volumes, proxy: FaultProxy
) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    volumes.local_class()
    volumes.local_volume("disk", node)
    volumes.claim("data")
    volumes.claim("other")
    fault = proxy.fault("PATCH", VOLUME, times=10_000, status=503)
    controller(proxy.kubeconfig).schedules()
    cluster.pod("first", **using("data"))
    eventually(lambda: fault.hits)
    cluster.delete("first")
    cluster.pod("after", gpus=0)
    cluster.bound("after")  # so the deletion is known: the watch has told of it before
    proxy.heal()
    cluster.pod("second", **using("other"))
    cluster.bound("second")
    assert volumes.volume_of("other") == "disk"


def test_a_claim_that_is_deleted_meanwhile_gives_the_pod_back(
    cluster: Cluster, controller: Start, volumes: Volumes, provisioner: Provisioner
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    provisioner.acts = False
    controller().schedules()
    cluster.pod("train", **using("data"))
    eventually(lambda: volumes.get_claim("data")["metadata"].get("annotations", {}).get(SELECTED))
    body = {"metadata": {"finalizers": None}}
    path = "/api/v1/namespaces/default/persistentvolumeclaims/data"
    cluster.api.request("DELETE", path)
    cluster.api.request("PATCH", path, body, "application/merge-patch+json")
    cluster.waits("train", 'persistentvolumeclaim "data" not found')
    volumes.claim("data", "fast")
    provisioner.acts = True
    cluster.bound("train")
