"""Nodes on their way out, on the real API server, of a backend in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from nos.autoscaler.backend import Instance, State
from nos.controller.evictor import Evictor
from nos.controller.ledger import Ledger
from nos.controller.scaling.drains import DRAINING_ANNOTATION, Drains
from nos.controller.scaling.fleet import Fleet
from nos.controller.watches import Watches
from nos.kube.access import Access
from nos.kube.client import Client
from tests.controller.cluster import NAMESPACE, Cluster
from tests.controller.scaling.pool import Pool

pytestmark = pytest.mark.cluster
_MAY_GO = {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}}
_BUDGETS = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"


class Rig:
    """The parts of a controller that drain, and the node of the pool's only instance."""

    def __init__(self, client: Client, cluster: Cluster, node: str, patience: float, **group: Any) -> None:
        self.cluster, self.node = cluster, node
        self.pool = Pool()
        self.pool.group("a", target=1, **group)
        self.pool.there["a-0"] = Instance("a-0", "a", State.UP, node)
        self.ledger = Ledger("nos-scheduler")
        self.fleet = Fleet([self.pool])
        self.evictor = Evictor(
            client,
            self.ledger,
            may_write=lambda: True,
            on_wanted=lambda *_: None,
            on_evicted=lambda *_: None,
        )
        self.watches = Watches(client, self.ledger)
        self.drains = Drains(
            client,
            self.ledger,
            self.fleet,
            patience=patience,
            may_write=lambda: True,
            evict=partial(self.evictor.evict, cause="drain"),
        )

    def api_node(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.api.get(f"/api/v1/nodes/{self.node}")
        return found

    def is_draining(self) -> bool:
        node = self.api_node()
        marked = DRAINING_ANNOTATION in node["metadata"].get("annotations", {})
        assert marked == node["spec"].get("unschedulable", False)
        return marked

    async def eventually(self, what: Callable[[], object], why: str) -> None:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(what):
                assert why
                await asyncio.sleep(0.05)


@asynccontextmanager
async def rig(
    cluster: Cluster, node: str, *, patience: float = 600.0, is_on: bool = True, **group: Any
) -> AsyncIterator[Rig]:
    """A rig whose parts run. What it leaves behind another one finds."""
    access = await asyncio.to_thread(Access.load, str(cluster.testbed.kubeconfig_of()))
    async with Client(access) as client:
        made = Rig(client, cluster, node, patience, **group)
        await made.fleet.survey()
        async with asyncio.TaskGroup() as parts:
            await made.watches.start(parts)
            await made.ledger.wait_synced()
            tasks = [parts.create_task(made.evictor.run()), parts.create_task(made.drains.run(is_on=is_on))]
            yield made
            for task in [*tasks, *asyncio.all_tasks()]:
                if task is not asyncio.current_task():
                    task.cancel()


def prepared(cluster: Cluster, *pods: str) -> str:
    """A node on which these run, which may be moved."""
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    for pod in pods:
        metadata = _MAY_GO | {"name": pod, "labels": {"app": pod}}
        cluster.pod(pod, metadata=metadata, schedulerName="default-scheduler")
        cluster.bound(pod)
    return node


def test_a_node_is_emptied_and_then_deleted(cluster: Cluster) -> None:
    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster, "a", "b")
        async with rig(cluster, node) as r:
            told: list[str] = []
            r.drains.happened = lambda moment: told.append(f"{moment.kind} {moment.object}")
            await r.drains.begin(node, "pool/a-0")
            assert node in r.drains or await asyncio.to_thread(r.is_draining)
            await r.eventually(lambda: "delete a-0" in r.pool.calls, "its backend is asked")
            assert await asyncio.to_thread(cluster.pods) == []
            await r.eventually(lambda: told == [f"NodeDraining {node}", f"NodeDrained {node}"], "it is told")
            assert await asyncio.to_thread(r.is_draining)
            await r.fleet.survey()
            assert r.drains.count >= 1
            assert r.pool.calls.count("delete a-0") == 1

    asyncio.run(run())


def test_one_whose_backend_drains_it_is_handed_over(cluster: Cluster) -> None:
    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster, "a")
        async with rig(cluster, node, drains=True) as r:
            await r.drains.begin(node, "pool/a-0")
            assert r.pool.calls[-1] == "delete a-0"
            assert r.drains.count == 1
            assert not await asyncio.to_thread(r.is_draining)

    asyncio.run(run())


def test_a_budget_holds_until_it_lets_go_and_another_controller_goes_on(cluster: Cluster) -> None:
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "b"}}}

    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster, "a", "b")
        await asyncio.to_thread(cluster.api.create, _BUDGETS, {"metadata": {"name": "b"}, "spec": budget})
        try:
            async with rig(cluster, node) as r:
                await r.drains.begin(node, "pool/a-0")
                await r.eventually(lambda: cluster.get("a") is None, "a goes")
                await r.eventually(lambda: r.evictor.refused > 0, "the budget keeps b")
                assert await asyncio.to_thread(cluster.get, "b") is not None
                assert not [call for call in r.pool.calls if call.startswith("delete")]
        finally:
            await asyncio.to_thread(cluster.api.request, "DELETE", f"{_BUDGETS}/b")
        async with rig(cluster, node) as r:
            assert r.drains.count == 1
            await r.eventually(lambda: "delete a-0" in r.pool.calls, "its backend is asked")
            assert await asyncio.to_thread(cluster.pods) == []

    asyncio.run(run())


def test_one_that_comes_to_no_end_serves_again(cluster: Cluster) -> None:
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}

    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster, "a")
        await asyncio.to_thread(cluster.api.create, _BUDGETS, {"metadata": {"name": "a"}, "spec": budget})
        try:
            async with rig(cluster, node, patience=6.0) as r:
                await r.drains.begin(node, "pool/a-0")
                await r.eventually(lambda: r.is_draining(), "it is marked")
                await r.eventually(lambda: not r.is_draining(), "it serves again")
                await r.eventually(lambda: node in r.drains._pauses, "it is left alone for a while")
                assert node in r.drains
                assert await asyncio.to_thread(cluster.get, "a") is not None
        finally:
            await asyncio.to_thread(cluster.api.request, "DELETE", f"{_BUDGETS}/a")

    asyncio.run(run())


def test_a_pod_that_stays_ends_it(cluster: Cluster) -> None:
    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster)
        metadata = {"name": "alone", "finalizers": ["nos.test/keep"]}
        await asyncio.to_thread(cluster.pod, "alone", nodeName=node, metadata=metadata)
        async with rig(cluster, node) as r:
            await r.drains.begin(node, "pool/a-0")
            await r.eventually(lambda: not r.is_draining(), "it serves again")
            assert not [call for call in r.pool.calls if call.startswith("delete")]
            pod = await asyncio.to_thread(cluster.get, "alone")
            assert pod
            assert "deletionTimestamp" not in pod["metadata"]

    asyncio.run(run())


def test_one_that_no_backend_knows_any_more_serves_again(cluster: Cluster) -> None:
    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster)
        async with rig(cluster, node, patience=2.0) as r:
            r.pool.fails = "the cloud is down"  # or it would be deleted at once
            await r.drains.begin(node, "pool/a-0")
            await r.eventually(lambda: r.is_draining(), "it is marked")
            r.pool.fails = ""
            r.pool.there.clear()  # its group was taken out of the configuration
            await r.fleet.survey()
            await r.eventually(lambda: not r.is_draining(), "it serves again")

    asyncio.run(run())


def test_those_that_are_left_serve_again_when_scaling_down_is_switched_off(cluster: Cluster) -> None:
    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster)
        async with rig(cluster, node) as r:
            r.pool.fails = "the cloud is down"
            await r.drains.begin(node, "pool/a-0")
            await r.eventually(lambda: r.is_draining(), "it is marked")
        async with rig(cluster, node, is_on=False) as r:
            await r.eventually(lambda: not r.is_draining(), "it serves again")
            assert not [call for call in r.pool.calls if call.startswith("delete")]

    asyncio.run(run())


def test_a_refusal_is_no_end(cluster: Cluster) -> None:
    async def run() -> None:
        node = await asyncio.to_thread(prepared, cluster)
        async with rig(cluster, node, drains=True) as r:
            r.pool.fails = "the cloud is down"
            await r.drains.begin(node, "pool/a-0")
            assert r.drains.count == 0
            assert node in r.drains

    asyncio.run(run())


def test_what_is_written_keeps_to_what_is_known() -> None:
    from datetime import UTC, datetime

    from nos.controller.scaling.drains import _cordon, _time
    from nos.kube.node import Metadata, Node

    node = Node(Metadata(name="n", resource_version="7"))
    patch = json.loads(_cordon(node, datetime(2026, 11, 28, 7, tzinfo=UTC)))
    assert patch["metadata"]["resourceVersion"] == "7"
    assert patch["spec"] == {"unschedulable": True}
    assert _time(patch["metadata"]["annotations"][DRAINING_ANNOTATION]) == datetime(2026, 11, 28, 7, tzinfo=UTC)
    assert json.loads(_cordon(node, None))["spec"] == {"unschedulable": None}
    assert _time("yesterday").year == 1970
