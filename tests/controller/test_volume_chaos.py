"""Volumes, by a seeded dice: faults of every kind and controllers that die while Pods with claims come and go."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.controller.volumes import HOSTNAME, Provisioner, Volumes, using

pytestmark = pytest.mark.cluster
DISKS = 8  # per node


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


def assert_where_their_volumes_are(cluster: Cluster, volumes: Volumes) -> None:
    """Each Pod that has a node has its claims bound, to volumes of that node; no volume is for two claims."""
    pods = cluster.pods()  # before the claims, which go on being bound
    claims = {claim["metadata"]["name"]: claim for claim in volumes.claims()}
    owner: dict[str, str] = {}
    for name, claim in claims.items():
        if volume := claim["spec"].get("volumeName"):
            assert volume not in owner, f"{volume}: {name} and {owner[volume]}"
            owner[volume] = name
    for pod in pods:
        node = pod["spec"].get("nodeName")
        for used in pod["spec"]["volumes"] if node else ():
            if name := used.get("persistentVolumeClaim", {}).get("claimName"):
                volume = volumes.get_volume(claims[name]["spec"]["volumeName"])
                assert volume["spec"]["claimRef"]["name"] == name
                assert hosts(volume) == [node], (pod["metadata"]["name"], node, volume["metadata"]["name"])


def hosts(volume: dict[str, Any]) -> list[str]:
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    (expression,) = term["matchExpressions"]
    assert expression["key"] == HOSTNAME
    found: list[str] = expression["values"]
    return found


@pytest.mark.parametrize("seed", [1])
def test_no_pod_is_forgotten_and_no_volume_given_twice(
    cluster: Cluster,
    controller: Callable[..., Controller],
    volumes: Volumes,
    provisioner: Provisioner,
    proxy: FaultProxy,
    seed: int,
) -> None:
    dice = random.Random(seed)
    nodes = cluster.testbed.add_nodes({"8xH100": 3})
    volumes.local_class()
    volumes.storage_class("fast")
    for node in nodes:
        for number in range(DISKS):
            volumes.local_volume(f"{node}-{number}", node, size=f"{dice.randint(1, 3)}Gi")
    settings: dict[str, Any] = {"leaderElection": {"enabled": False}, "volumeBindingSeconds": 5}
    running = controller(proxy.kubeconfig, **settings).schedules()
    status = [409, 429, 500, 503]
    faults = [
        lambda: proxy.fault("PATCH", "/persistentvolumes/", times=3, lost=True),
        lambda: proxy.fault("PATCH", "/persistentvolumes/", times=3, lost=True, carried_out=False),
        lambda: proxy.fault("PATCH", "/persistentvolumes/", times=3, status=dice.choice(status)),
        lambda: proxy.fault("PATCH", "/persistentvolumeclaims/", times=3, lost=True),
        lambda: proxy.fault("PATCH", "/persistentvolumeclaims/", times=3, status=dice.choice(status)),
        lambda: proxy.fault("PATCH", "/persistentvolume", times=3, delay=0.5),
        lambda: proxy.fault("POST", "/binding", times=3, lost=True),
        lambda: proxy.fault("GET", "/persistentvolume", times=2, status=410),
        lambda: proxy.end_watches(b'{"type":"ADD'),
        lambda: setattr(provisioner, "refuses", {dice.choice(nodes)}),
        lambda: setattr(provisioner, "acts", not provisioner.acts),
    ]
    alive: list[str] = []
    deadline, number = time.monotonic() + 25, 0
    while time.monotonic() < deadline:
        dice.choice(faults)()
        if dice.random() < 0.15:
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
            running = controller(proxy.kubeconfig, **settings)
        number += 1
        claims = [f"c-{number}-{n}" for n in range(dice.choice([1, 1, 2]))]
        for claim in claims:
            volumes.claim(claim, dice.choice(["local", "fast"]))
        cluster.pod(f"p-{number}", gpus=0, **using(*claims))
        alive.append(f"p-{number}")
        while len(alive) > 8:
            cluster.delete(alive.pop(dice.randrange(len(alive))))
        assert_where_their_volumes_are(cluster, volumes)
    proxy.heal()
    provisioner.refuses = set()
    provisioner.acts = True
    for node in nodes:  # a claim keeps its volume when its Pod goes; so that what waits has one to choose
        for spare in range(4):
            volumes.local_volume(f"{node}-spare-{spare}", node, size="3Gi")
    eventually(lambda: all(pod["spec"].get("nodeName") for pod in cluster.pods()), within=90, why="all Pods are placed")
    assert_where_their_volumes_are(cluster, volumes)
    assert running.process.poll() is None
