"""How long the core takes over a gang: the verdict on one that cannot fit, and the start of a large one.

- 80 Pods of one GPU on 500 nodes x 8 GPUs, all of them taken: nobody is placed, and all are told why.
- The same where GPUs are free on many nodes, but 79 of them: as much as can be tried in vain is tried.
- 512 Pods of 8 GPUs over 512 nodes of 8: all are placed, each on a node of its own; and on 511 nodes none is.
- The same in one rack of 16, where all but the last have room for 511.

Each is one cycle of a Scheduler that has seen the cluster before, as the controller's has. The answers are checked, no
time is asserted.

    pytest benchmarks/test_gangs.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from nos._core import Cluster, NodeSpec, PodSpec, Scheduler

GPU, GIB = "nvidia.com/gpu", 1 << 30
GPUS_PER_NODE = 8
RACK = "example.com/rack"


def node_spec(rack: int) -> NodeSpec:
    amounts = {"cpu": 128_000, "memory": 2048 * GIB, "pods": 110, GPU: GPUS_PER_NODE}
    return NodeSpec(amounts, labels={RACK: f"r{rack}"})


def pod_spec(gpus: int) -> PodSpec:
    return PodSpec({"cpu": 4000 * gpus, "memory": 32 * gpus * GIB, GPU: gpus})


def cluster_of(nodes: int, free: Callable[[int], int], *, rack: int = 1 << 30) -> Cluster:
    """So many GPUs are free on each node; one-GPU Pods have the others."""
    cluster = Cluster()
    for number in range(nodes):
        cluster.upsert_node(f"n{number}", node_spec(number // rack))
        for slot in range(GPUS_PER_NODE - free(number)):
            cluster.upsert_pod(f"there-{number}-{slot}", pod_spec(1), node=f"n{number}")
    return cluster


def one_cycle(benchmark: BenchmarkFixture, cluster: Cluster, members: int, gpus: int, **gang: Any) -> Any:
    """The gang arrives at a scheduler that knows the cluster, and has its turn."""

    def arrive() -> tuple[tuple[Cluster, Scheduler], dict[str, Any]]:
        at = cluster.copy()
        scheduler = Scheduler(at)
        scheduler.schedule()
        at.upsert_gang("team/job", min_members=members, **gang)
        for number in range(members):
            at.upsert_pod(f"job-{number}", pod_spec(gpus), arrival=number, gang="team/job")
        return (at, scheduler), {}

    last: list[tuple[Cluster, Any]] = []

    def cycle(at: Cluster, scheduler: Scheduler) -> None:
        outcome = scheduler.schedule()
        last[:] = [(at, outcome)]

    benchmark.pedantic(cycle, setup=arrive, rounds=5)
    at, outcome = last[0]
    at.check()
    return outcome


def refused(outcome: Any, members: int, beginning: str) -> None:
    assert outcome.binds == []
    assert len(outcome.waiting) == members
    assert {reason.code for _, reason in outcome.waiting} == {"GangDoesNotFit"}
    assert all(reason.message.startswith(beginning) for _, reason in outcome.waiting)


def test_verdict_on_80_gpus_in_a_full_cluster_of_500_nodes(benchmark: BenchmarkFixture) -> None:
    outcome = one_cycle(benchmark, cluster_of(500, lambda _: 0), 80, 1)
    refused(outcome, 80, "0 of 80 Pods of pod group team/job fit")


def test_verdict_on_80_gpus_where_79_are_free(benchmark: BenchmarkFixture) -> None:
    outcome = one_cycle(benchmark, cluster_of(500, lambda number: int(number < 79)), 80, 1)
    refused(outcome, 80, "79 of 80 Pods of pod group team/job fit")


def test_512_pods_over_512_nodes(benchmark: BenchmarkFixture) -> None:
    outcome = one_cycle(benchmark, cluster_of(512, lambda _: GPUS_PER_NODE), 512, GPUS_PER_NODE)
    assert len({bind.node for bind in outcome.binds}) == 512


def test_512_pods_over_511_nodes(benchmark: BenchmarkFixture) -> None:
    outcome = one_cycle(benchmark, cluster_of(511, lambda _: GPUS_PER_NODE), 512, GPUS_PER_NODE)
    refused(outcome, 512, "511 of 512 Pods of pod group team/job fit")


def test_512_pods_in_the_one_rack_of_16_that_holds_them(benchmark: BenchmarkFixture) -> None:
    """Racks of 513 nodes. In 15 of them 511 nodes are empty and two half full: by the sum, 511 x 8 + 2 x 4 = 4096 GPUs,
    they would hold 512 x 8, and they are tried first, each up to its last Pod."""

    def free(number: int) -> int:
        rack, place = divmod(number, 513)
        return 8 if rack == 15 or place < 511 else 4

    gang = {"topology_key": RACK, "required": True}
    outcome = one_cycle(benchmark, cluster_of(513 * 16, free, rack=513), 512, GPUS_PER_NODE, **gang)
    assert {int(bind.node[1:]) // 513 for bind in outcome.binds} == {15}
    assert len({bind.node for bind in outcome.binds}) == 512
