"""Pods per second whose volumes are bound with their node, end to end on a real API server: nos and kube-scheduler.

100 nodes with four local disks each, 400 Pods with an unbound claim (WaitForFirstConsumer) that all wait before the
scheduler under test starts. Measured from the first Pod to the last that a watch of ours shows with a node. Both write
which disk each claim gets, and the PV controller of kube-controller-manager binds it: what it takes is in both numbers.
Fresh objects each time; the two take turns. The answers are checked: each Pod is where its disk is, no disk has two.

    pytest benchmarks/test_volume_binding.py
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

import on_testbed
from nos.kube.client import Client
from nos.kube.pod import Pod, decode_pod
from nos.kube.storage import CLASSES, VOLUMES, claim_path, volume_path
from nos.kube.watch import Watch
from nos.testbed import Testbed
from nos.testbed.progress import Progress

NODES, DISKS, ROUNDS = 100, 4, 3
PODS = NODES * DISKS
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
HOSTNAME = "kubernetes.io/hostname"
SCHEDULER = """
clientConnection: {qps: 5000, burst: 10000}
profiles:
  - schedulerName: nos-scheduler
"""
Contestant = Callable[[], AbstractContextManager[int]]  # gives its process id


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    """Nodes and no kubelets; that they are silent for an hour is no reason to give them up."""
    with Testbed(
        kwok=False, scheduler=False, users=on_testbed.USERS, lease_seconds=3600, progress=Progress()
    ) as running:
        on_testbed.grant(running)
        running.add_nodes({"8xH100": NODES})
        local = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
        running.api.create(CLASSES, {"metadata": {"name": "local"}} | local)
        yield running


def test_volume_binding(testbed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    contestants: dict[str, Contestant] = {
        "nos": lambda: on_testbed.controller(testbed),
        "kube-scheduler": lambda: on_testbed.kube_scheduler(testbed, SCHEDULER),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(ROUNDS):
        for name, contestant in list(contestants.items())[:: 1 if number % 2 else -1]:
            seconds[name].append(asyncio.run(one_run(testbed, f"{name}-{number}", contestant)))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    with capsys.disabled():
        print(f"\n{PODS} Pods with a claim each on {NODES} nodes, medians of {ROUNDS} rounds")
        for name, median in medians.items():
            print(f"  {name:16} {PODS / median:6.0f}/s  {median:6.2f} s")


async def one_run(testbed: Testbed, name: str, contestant: Contestant) -> float:
    """Fresh disks, claims and Pods, the contestant, the checks; all of it is gone afterwards."""
    nodes = {f"{name}-{n}": f"8xh100-{n % NODES}" for n in range(PODS)}  # of disks
    async with on_testbed.admin(testbed) as client:
        await on_testbed.create(client, VOLUMES, [disk(*item) for item in nodes.items()])
        await on_testbed.create(client, CLAIMS, [claim(each) for each in nodes])
        await on_testbed.create(client, on_testbed.PODS, [using(each) for each in nodes])
        await until(lambda: all(each["status"]["phase"] == "Available" for each in items(testbed, VOLUMES)))
        bound = on_testbed.Bound(PODS)
        watching = asyncio.create_task(Watch[Pod](client, on_testbed.PODS, decode_pod, bound).run())
        try:
            await asyncio.sleep(1)  # what the creation stirred up settles
            running = contestant()
            await asyncio.to_thread(running.__enter__)
            try:
                await asyncio.wait_for(bound.all.wait(), 300)
            finally:
                await asyncio.to_thread(running.__exit__, None, None, None)
        finally:
            watching.cancel()
        disks = {each["metadata"]["name"]: each["spec"]["volumeName"] for each in items(testbed, CLAIMS)}
        assert len(set(disks.values())) == PODS
        assert all(pod.spec.node_name == nodes[disks[pod.metadata.name]] for pod in await on_testbed.pods(client))
        await remove(testbed, client, list(nodes))
    return bound.last - bound.first


async def remove(testbed: Testbed, client: Client, names: list[str]) -> None:
    """Pods first: they protect their claims, and those their volumes."""
    await on_testbed.delete_all(client)
    await on_testbed.delete(client, [claim_path(f"default/{name}") for name in names])
    await until(lambda: not items(testbed, CLAIMS))
    await on_testbed.delete(client, [volume_path(name) for name in names])
    await until(lambda: not items(testbed, VOLUMES))


def items(testbed: Testbed, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = testbed.api.get(path)["items"]
    return found


async def until(done: Callable[[], bool]) -> None:
    """Return when it is."""
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)


def disk(name: str, node: str) -> dict[str, Any]:
    """A disk of that node."""
    expression = {"key": HOSTNAME, "operator": "In", "values": [node]}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local",
        "persistentVolumeReclaimPolicy": "Retain",
        "local": {"path": f"/disks/{name}"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
    }
    return {"metadata": {"name": name}, "spec": spec}


def claim(name: str) -> dict[str, Any]:
    """A claim to one of these."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "local",
    }
    return {"metadata": {"name": name}, "spec": spec}


def using(name: str) -> dict[str, Any]:
    """A Pod of one GPU that uses the claim of its name."""
    pod = on_testbed.pod(name)
    pod["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    return pod
