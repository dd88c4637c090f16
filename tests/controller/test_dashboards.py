"""Every query of the dashboards and the alerts, on a real Prometheus that scrapes a controller at work and an agent."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nos.agent.census import Census
from nos.agent.driver import Xid
from nos.observe import health
from nos.observe.metrics.agent import AgentMetrics
from nos.observe.metrics.controller import ControllerMetrics
from nos.observe.metrics.dashboards import DASHBOARDS
from tests.agent.conftest import folder, machine  # noqa: F401  # fixtures
from tests.agent.rig import Rig, places
from tests.controller.cluster import NAMESPACE, Cluster, Controller, eventually
from tests.controller.teams import Teams
from tests.prometheus import Prometheus

pytestmark = pytest.mark.cluster

# Nothing of the kind happens in this test: no failure, and no driver that is new enough.
ABSENT = {
    *("nos_kubelet_rejections_total", "nos_agent_instance_utilization_ratio"),
}


POOL = {"pool": "train"}
SCALING = {
    "mode": "order",
    "surveySeconds": 1,
    "scale": {
        "targets": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "namespace": NAMESPACE,
                "name": "pool",
                "max": 3,
                "price": 2.0,
                "nodeSelector": POOL,
                "template": {"allocatable": {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": "8"}},
            }
        ]
    },
}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"


@pytest.fixture
def pool(cluster: Cluster) -> Iterator[None]:
    """Something with a scale: a Deployment that makes no Pods, of whose replicas the one there is is a node."""
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "update"]},
    ]
    name = {"name": "nos-scale-deployments"}
    subject = {"kind": "ServiceAccount", "namespace": "nos-system", "name": "nos-scheduler"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"} | name
    cluster.api.create(f"{RBAC}/clusterroles", {"metadata": name, "rules": rules})
    cluster.api.create(f"{RBAC}/clusterrolebindings", {"metadata": name, "subjects": [subject], "roleRef": reference})
    template = {"metadata": {"labels": POOL}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    spec = {"replicas": 1, "paused": True, "selector": {"matchLabels": POOL}, "template": template}
    cluster.api.create(DEPLOYMENTS, {"metadata": {"name": "pool"}, "spec": spec})
    yield
    cluster.api.request("DELETE", f"{DEPLOYMENTS}/pool")
    for kind in ("clusterrolebindings", "clusterroles"):
        cluster.api.request("DELETE", f"{RBAC}/{kind}/{name['name']}")


def queries() -> list[str]:
    """Of all panels, with everything chosen that can be."""
    found = [expression for each in DASHBOARDS for panel in each.panels for expression, _ in panel.queries]
    chosen = {'"$resource"': '"nvidia.com/gpu"', '"$node"': '".*"', '"$agent"': '".*"', "$__rate_interval": "30s"}
    for name, value in chosen.items():
        found = [query.replace(name, value) for query in found]
    assert not [query for query in found if "$" in query]
    return found


def metrics_of(query: str) -> set[str]:
    """Without what a histogram appends."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bnos_\w+", query)}


@contextmanager
def agent(rig: Rig) -> Iterator[str]:
    """An agent's metrics, served; the address."""
    loop, served, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[str] = []

    async def run() -> None:
        metrics = AgentMetrics()
        async with rig:
            rig.gpus.changed = metrics.changed
            metrics.book.read = Census(metrics, rig.gpus, {}).read
            assert not await rig.recut(0, True, places("1g.5gb@0"))
            await rig.gpus.note(Xid(1, 79, None))
            async with health.serve("127.0.0.1:0", lambda: "", metrics.book.scrape) as address:
                found.append(address)
                served.set()
                await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[run()])
    thread.start()
    try:
        assert served.wait(30)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


@pytest.fixture
def prometheus(
    pool: None,  # noqa: ARG001
    cluster: Cluster,
    teams: Teams,
    controller: Callable[..., Controller],
    machine: Any,  # noqa: F811
    tmp_path: Path,
) -> Iterator[Prometheus]:
    """A node of 8 GPUs, at $2 an hour; two Pods have one each, one waits for 16. For one with 8 a node is ordered."""
    cluster.testbed.add_nodes({"8xH100": 1}, labels=POOL)
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": "4"}, max={"nvidia.com/gpu": "6"})
    running = controller(scaling=SCALING).schedules()
    rig = Rig(tmp_path, machine("a100-40gb", "a100-40gb"))
    with agent(rig) as address, Prometheus(tmp_path, {"controller": running.address, "agent": address}) as started:
        teams.pod("team-a", "one")
        cluster.pod("two")
        cluster.pod("sixteen", 16)
        cluster.pod("eight", 8)
        teams.bound("team-a", "one")
        cluster.bound("two")
        cluster.waits("sixteen", "nvidia.com/gpu")
        yield started


def test_queries(prometheus: Prometheus) -> None:
    # All that is there was scraped, some of it twice, so that it has a rate.
    eventually(lambda: prometheus.query("sum(nos_queue_reason_pods) == 2 and sum(nos_quota_used) == 1"))
    eventually(lambda: prometheus.query('sum(nos_scaling_nodes{state="coming"}) == 1'), why="the order is seen")
    (cost,) = prometheus.query("sum(nos_scaling_cost_dollars_per_hour)")
    assert float(cost["value"][1]) == 2
    eventually(lambda: prometheus.query("sum(rate(nos_pod_scheduling_seconds_bucket[30s]))"))
    eventually(lambda: prometheus.query('sum(increase(nos_bindings_total{result="bound"}[5m])) > 0'))
    entered = {entry.name for book in (ControllerMetrics().book, AgentMetrics().book) for entry in book.entries}
    there = {name for name in entered if prometheus.query(f'{{__name__=~"{name}|{name}_count"}}')}
    assert entered - there == ABSENT
    asked = set[str]().union(*map(metrics_of, queries()))
    assert asked <= entered
    assert entered - asked <= {"nos_build_info", "nos_agent_gpu_info", "nos_quota_min", "nos_quota_max"}

    for query in queries():
        prometheus.query(query)  # fails where the server does not understand it
        if not metrics_of(query) & ABSENT:  # what has just come has no rate before its second scrape
            eventually(lambda query=query: prometheus.query(query), why=query)


def test_alerts_are_understood_and_quiet(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]]:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] == "ok" for rule in rules) else []

    rules = eventually(evaluated)
    assert {rule["name"] for rule in rules if rule["state"] != "inactive"} == {"NosGpuUnhealthy"}  # see `agent`
