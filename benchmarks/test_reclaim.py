"""What was lent comes back: how long that takes, end to end on a real API server.

500 nodes of 8 GPUs, all taken by 4,000 Pods of one GPU. Their quota guarantees them half; the other half is another
team's, which now wants it: first one GPU, several times, then 2,000 for one gang of 250 Pods of 8 GPUs. Measured from
the creation of the first Pod until a watch of ours shows the last with a node. The evictions take the API server's own
time, whoever asks for them: for comparison the 2,000 Pods that are left are then evicted blindly, with as many requests
in flight, by a client that decides nothing.

No kubelet answers (kwok does not run), and Pods have no grace period, so they are gone when they are evicted. The
answers are checked: nobody is within his quota and gone, no more have gone than was needed, and the gang is whole.

    pytest benchmarks/test_reclaim.py
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import on_testbed
from nos.kube.client import Client
from nos.kube.encode import pod_path
from nos.kube.eviction import eviction
from nos.kube.pod import Pod, decode_pod
from nos.kube.watch import Watch
from nos.testbed import Testbed
from nos.testbed.progress import Progress

NODES, GPUS, SINGLES = 500, 8, 9
LENT = NODES * GPUS // 2
GANG = LENT // GPUS
IN_FLIGHT = 32  # the evictor's
TEAM_PODS = "/api/v1/namespaces/team/pods"
QUOTAS = "/apis/nos.nebuly.com/v1alpha1/namespaces/{}/elasticquotas"


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    """Nodes and no kubelets; that they are silent for an hour is no reason to give them up."""
    with Testbed(
        kwok=False, scheduler=False, users=on_testbed.USERS, lease_seconds=3600, progress=Progress()
    ) as running:
        on_testbed.grant(running)
        running.install_crds()
        running.api.create("/api/v1/namespaces", {"metadata": {"name": "team"}})
        for namespace in ("default", "team"):
            body = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "ElasticQuota", "metadata": {"name": "quota"}}
            spec = {"min": {"nvidia.com/gpu": LENT}}
            running.api.create(QUOTAS.format(namespace), body | {"spec": spec})
        running.add_nodes({f"{GPUS}xH100": NODES})
        registered = "/api/v1/events?fieldSelector=reason%3DRegisteredNode"
        while len(running.api.get(registered)["items"]) < NODES:  # the controller manager is still busy with them
            time.sleep(0.5)
        yield running


def test_reclaim(testbed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    with on_testbed.controller(testbed):
        singles, gang, gone = asyncio.run(take_back(testbed))
    blind, count = asyncio.run(evict_blindly(testbed))
    with capsys.disabled():
        print(f"\n{NODES} nodes of {GPUS} GPUs, {NODES * GPUS:,} Pods of one GPU run")
        print(f"  one GPU comes back in {statistics.median(singles):.2f} s, at most {max(singles):.2f} (to reach: 2)")
        print(f"  {gone:,} Pods gone and a gang of {GANG} bound after {gang:.1f} s")
        print(
            f"  {count:,} evictions alone take {blind:.1f} s: {gang - blind * gone / count:.1f} beside (to reach: 10)"
        )


async def take_back(testbed: Testbed) -> tuple[list[float], float, int]:
    """Seconds for one Pod each, and for the gang; how many went for it."""
    async with on_testbed.admin(testbed) as client:
        everybody = [on_testbed.pod(f"lent-{number}") for number in range(NODES * GPUS)]
        await bound(client, on_testbed.PODS, everybody)
        await asyncio.sleep(5)  # events and statuses are written
        singles = [await bound(client, TEAM_PODS, [on_testbed.pod(f"single-{number}")]) for number in range(SINGLES)]
        await check(client, NODES * GPUS - SINGLES)
        await on_testbed.delete_all(client, "team")
        gang = await bound(client, TEAM_PODS, [member(number) for number in range(GANG)])
        await check(client, LENT)
    return singles, gang, LENT - SINGLES


def member(number: int) -> dict[str, Any]:
    """A Pod of the gang: a whole node."""
    made = on_testbed.pod(f"member-{number}")
    labels = {"nos.nebuly.com/pod-group": "gang", "nos.nebuly.com/pod-group-min-available": str(GANG)}
    amounts = {"cpu": "1", "memory": "4Gi", "nvidia.com/gpu": str(GPUS)}
    made["metadata"]["labels"] = labels
    made["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    return made


async def bound(client: Client, path: str, made: list[dict[str, Any]]) -> float:
    """Seconds from the creation of these until all have nodes."""
    there = len(await on_testbed.pods(client, path.split("/")[-2]))
    seen = on_testbed.Bound(there + len(made))
    watching = asyncio.create_task(Watch[Pod](client, path, decode_pod, seen).run())
    try:
        start = time.monotonic()
        await on_testbed.create(client, path, made)
        await asyncio.wait_for(seen.all.wait(), 300)
        return seen.last - start
    finally:
        watching.cancel()


async def check(client: Client, stay: int) -> None:
    """So many of those to whom was lent are there, and no node has more than it holds."""
    lent, team = await on_testbed.pods(client), await on_testbed.pods(client, "team")
    assert len(lent) == stay
    used = Counter(pod.spec.node_name for pod in lent)
    for pod in team:
        used[pod.spec.node_name] += GPUS if pod.metadata.name.startswith("member") else 1
    assert "" not in used
    assert max(used.values()) <= GPUS


async def evict_blindly(testbed: Testbed) -> tuple[float, int]:
    """Seconds, and how many."""
    async with on_testbed.admin(testbed) as client:
        left = await on_testbed.pods(client)
        todo = iter(left)

        async def worker() -> None:
            for pod in todo:
                name, uid = pod.metadata.name, pod.metadata.uid
                path = pod_path("default", name, "eviction")
                await client.request("POST", path, body=eviction("default", name, uid), timeout=60)

        start = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return time.monotonic() - start, len(left)
