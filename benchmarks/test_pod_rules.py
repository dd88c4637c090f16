"""Decisions per second of the core on kube-scheduler's performance suite: 5,000 nodes, one Pod after another.

Each Pod arrives and is placed at once: upsert and `Scheduler.place`, timed together, from what the decoder made of its
JSON (which is not timed: the end-to-end benchmark has it). In "churn" a node goes and comes, and a Pod with a high
priority that fits nowhere arrives and leaves, every 100 Pods. The answers are checked against the rules that the Pods
name. Printed beside the rate: how many times it is what the suite demands of kube-scheduler, Kubernetes included.

    pytest benchmarks/test_pod_rules.py
"""

from __future__ import annotations

import json
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, Scheduler
from nos.kube.decode import node_spec, pod_labels, waiting_spec
from nos.kube.node import decode_node
from nos.kube.pod import decode_pod
from nos.kube.volumes import NodeVolumes, PodVolumes
from workloads import ATTACHABLE, DRIVER, NAMESPACES, WORKLOADS, Object, Placed, Workload

NODES = 5_000
CHURN_EVERY = 100
LIMITS = NodeVolumes(features=(f"CSI driver {DRIVER}",), attach_limits=((DRIVER, ATTACHABLE),))


class World:
    """One workload's cluster, and who was placed where."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.cluster = Cluster()
        self.scheduler = Scheduler(self.cluster)
        self.nodes = {node["metadata"]["name"]: node for node in workload.nodes(NODES)}
        self.placed: list[tuple[Object, Object]] = []
        for name, node in self.nodes.items():
            self.cluster.upsert_node(name, self.offer(node))

    def offer(self, node: Object) -> NodeSpec:
        return node_spec(decode_node(json.dumps(node)), volumes=LIMITS if self.workload.volumes else None)

    def ask(self, pod: Object) -> tuple[PodSpec, PodLabels]:
        decoded = decode_pod(json.dumps(pod))
        handle = f"{decoded.metadata.namespace}-{decoded.metadata.name}"
        volumes = PodVolumes(volumes=((DRIVER, handle),)) if self.workload.volumes else None
        return waiting_spec(decoded, volumes=volumes), pod_labels(decoded)

    def place(self, pods: list[Object]) -> float:
        """Seconds that all of them took."""
        asked = [self.ask(pod) for pod in pods]
        took = 0.0
        for number, (pod, (spec, labels)) in enumerate(zip(pods, asked, strict=True)):
            uid = pod["metadata"]["namespace"] + pod["metadata"]["name"]
            began = perf_counter()
            self.cluster.upsert_pod(uid, spec, labels=labels, arrival=number)
            bind = self.scheduler.place(uid)
            if self.workload.name == "churn" and number % CHURN_EVERY == 0:
                self.churn(number)
            took += perf_counter() - began
            assert bind, f"{uid} found no node"
            self.placed.append((pod, self.nodes[bind.node]))
        return took

    def churn(self, number: int) -> None:
        self.cluster.upsert_node("churned", self.offer({**self.nodes["node-0"], "metadata": {"name": "churned"}}))
        self.cluster.upsert_pod("large", PodSpec({"cpu": 9_000}), priority=1, arrival=number)
        assert self.scheduler.place("large") is None
        self.cluster.remove_pod("large")
        self.cluster.remove_node("churned")


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_decisions(workload: Workload, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(workload)
    there, coming = (
        [workload.pod(f"pod-{number}", namespace) for number in range(count)]
        for namespace, count in zip(NAMESPACES, (workload.there, workload.placed), strict=True)
    )
    world.place(there)
    took = benchmark.pedantic(lambda: world.place(coming), rounds=1)
    world.cluster.check()
    check(workload, world.placed)
    rate = workload.placed / took
    benchmark.extra_info["decisions_per_second"] = round(rate)
    with capsys.disabled():
        print(
            f"\n  {workload.name:24}{rate:8.0f}/s  {rate / workload.threshold:6.1f} times kube-scheduler's threshold "
            f"of {workload.threshold}/s (to reach: 20)"
        )


def check(workload: Workload, placed: Placed) -> None:
    assert len(placed) == workload.there + workload.placed
    workload.check(placed)
