"""kube-scheduler's performance suite end to end on a real API server, nos beside kube-scheduler, on 1,000 nodes.

A fifth of the suite's Pods, as of its nodes. Those that are there before the clock starts are made with their node.
Measured from the first Pod to the last that a watch of ours shows with a node. Both meet the same objects, fresh ones
each time, and take turns; kube-scheduler has its default profile, without its client-side limit. In "churn" a
cordoned node and a Pod that fits nowhere come and go ten times a second. The answers are checked: every Pod has a node,
and what the Pods say of each other holds.

    pytest benchmarks/test_pod_rules_on_testbed.py
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress

import pytest

import on_testbed
from nos.kube.client import Client
from nos.kube.errors import ApiError
from nos.kube.pod import Pod, decode_pod
from nos.kube.watch import Watch
from nos.testbed import Testbed
from nos.testbed.progress import Progress
from workloads import ATTACHABLE, DRIVER, NAMESPACES, WORKLOADS, Object, Workload

NODES, PART, ROUNDS = 1_000, 5, 2
SCHEDULER = "clientConnection: {qps: 5000, burst: 10000}\nprofiles: [{schedulerName: nos-scheduler}]\n"
NODE_PATH, CSI_NODES = "/api/v1/nodes", "/apis/storage.k8s.io/v1/csinodes"
VOLUMES = "/api/v1/persistentvolumes"
Contestant = Callable[[], AbstractContextManager[int]]


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    """No kubelets; that nodes are silent for an hour is no reason to give them up."""
    with Testbed(
        kwok=False, scheduler=False, users=on_testbed.USERS, lease_seconds=3600, progress=Progress()
    ) as running:
        on_testbed.grant(running)
        for name in NAMESPACES:
            running.kubectl("create", "namespace", name)
        yield running


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_end_to_end(testbed: Testbed, workload: Workload, capsys: pytest.CaptureFixture[str]) -> None:
    contestants: dict[str, Contestant] = {
        "nos": lambda: on_testbed.controller(testbed),
        "kube-scheduler": lambda: on_testbed.kube_scheduler(testbed, SCHEDULER),
    }
    rates = asyncio.run(_rates(testbed, workload, contestants))
    medians = {name: statistics.median(each) for name, each in rates.items()}
    with capsys.disabled():
        print(
            f"\n  {workload.name:24} nos {medians['nos']:6.0f}/s  kube-scheduler {medians['kube-scheduler']:6.0f}/s  "
            f"ratio {medians['nos'] / medians['kube-scheduler']:5.2f}  (to reach: 1)"
        )


async def _rates(testbed: Testbed, workload: Workload, contestants: dict[str, Contestant]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    async with on_testbed.admin(testbed) as client, _nodes(client, workload) as nodes:
        for number in range(ROUNDS):
            for name in list(contestants)[:: 1 if number % 2 == 0 else -1]:
                rates[name].append(await _one_run(client, workload, nodes, contestants[name]))
    return rates


@asynccontextmanager
async def _nodes(client: Client, workload: Workload) -> AsyncIterator[dict[str, Object]]:
    """Registered, and taken for ready by the controller manager."""
    nodes = {node["metadata"]["name"]: node for node in workload.nodes(NODES)}
    await on_testbed.create(client, NODE_PATH, list(nodes.values()))
    if workload.volumes:
        drivers = [{"name": DRIVER, "nodeID": "n", "topologyKeys": [], "allocatable": {"count": ATTACHABLE}}]
        await on_testbed.create(
            client, CSI_NODES, [{"metadata": {"name": name}, "spec": {"drivers": drivers}} for name in nodes]
        )
    await _until_gone(client, b"node.kubernetes.io/not-ready", NODE_PATH)
    yield nodes
    await on_testbed.delete(client, [f"{NODE_PATH}/{name}" for name in nodes])
    if workload.volumes:
        await on_testbed.delete(client, [f"{CSI_NODES}/{name}" for name in nodes])


async def _one_run(client: Client, workload: Workload, nodes: dict[str, Object], contestant: Contestant) -> float:
    """Pods per second."""
    there, coming = (
        [workload.pod(f"pod-{number}", namespace) for number in range(count // PART)]
        for namespace, count in zip(NAMESPACES, (workload.there, workload.placed), strict=True)
    )
    for pod, node in zip(there, [*nodes] * (len(there) // len(nodes) + 1), strict=False):
        pod["spec"]["nodeName"] = node
    if workload.volumes:
        await _make_volumes(client, workload, [*there, *coming])
    await on_testbed.create(client, _pods(NAMESPACES[0]), there)
    await on_testbed.create(client, _pods(NAMESPACES[1]), coming)
    bound = on_testbed.Bound(len(coming))
    watching = asyncio.create_task(Watch[Pod](client, _pods(NAMESPACES[1]), decode_pod, bound).run())
    churning = asyncio.create_task(_churn(client)) if workload.name == "churn" else None
    try:
        await asyncio.sleep(1)  # what the creation of the objects stirred up settles
        assert not bound.nodes
        running = contestant()
        await asyncio.to_thread(running.__enter__)  # our watch must see what it does while it starts
        try:
            async with asyncio.timeout(300):
                await bound.all.wait()
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
    finally:
        watching.cancel()
        if churning:
            churning.cancel()
            await asyncio.wait([churning])
    placed = []
    for namespace, asked in zip(NAMESPACES, (there, coming), strict=True):
        on = {pod.metadata.name: pod.spec.node_name for pod in await on_testbed.pods(client, namespace)}
        placed += [(pod, nodes[on[pod["metadata"]["name"]]]) for pod in asked]
        await on_testbed.delete_all(client, namespace)
    workload.check(placed)
    if workload.volumes:
        await _remove_volumes(client, placed)
    return len(coming) / (bound.last - bound.first)


async def _make_volumes(client: Client, workload: Workload, pods: Sequence[Object]) -> None:
    """Bound, before anybody looks."""
    names = [(pod["metadata"]["name"], pod["metadata"]["namespace"]) for pod in pods]
    made = [workload.volume(*name) for name in names]
    await on_testbed.create(client, VOLUMES, [volume for volume, _ in made])
    for namespace in NAMESPACES:
        claims = [claim for _, claim in made if claim["metadata"]["namespace"] == namespace]
        await on_testbed.create(client, _claims(namespace), claims)
    for namespace in NAMESPACES:  # the PV controller has its say
        await _until_gone(client, b'"phase":"Pending"', _claims(namespace))


async def _until_gone(client: Client, text: bytes, path: str) -> None:
    """Until no object there says that any more."""
    async with asyncio.timeout(120):
        while text in await client.request("GET", path, timeout=60):  # noqa: ASYNC110 a look from outside
            await asyncio.sleep(0.5)


async def _remove_volumes(client: Client, placed: Sequence[tuple[Object, Object]]) -> None:
    keys = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod, _ in placed]
    await on_testbed.delete(client, [f"{_claims(namespace)}/{name}" for namespace, name in keys])
    await on_testbed.delete(client, [f"{VOLUMES}/{namespace}-{name}" for namespace, name in keys])
    await _until_gone(client, b'"volumeHandle"', VOLUMES)


async def _churn(client: Client) -> None:
    """A node and a Pod that fits nowhere, coming and going."""
    node = next(WORKLOADS[-1].nodes(1)) | {"metadata": {"name": "churned"}, "spec": {"unschedulable": True}}
    pod = WORKLOADS[-1].pod("large", "default")
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "9"}}
    while True:
        with suppress(ApiError):
            await on_testbed.create(client, NODE_PATH, [node])
            await on_testbed.create(client, on_testbed.PODS, [pod])
            await asyncio.sleep(0.1)
            await on_testbed.delete(client, [f"{on_testbed.PODS}/large", f"{NODE_PATH}/churned"])
        await asyncio.sleep(0)


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def _claims(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
