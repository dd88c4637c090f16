"""What 1,000 quotas cost: 100,000 Pods on 5,000 nodes of 8 GPUs, with them and without.

Pods of two kinds, one GPU or CPU alone, arrive one after another in 1,000 namespaces and are placed at once: upsert and
`Scheduler.place`, timed together. Each namespace has a quota under one of ten parents, which names GPUs, their memory
and CPU; some borrow from the others. The answers are checked: the same nodes as without quotas, and what
each has in use is what its Pods ask for. Then all quotas come anew to the 100,000 Pods, and are asked who is over; and
10,000 more Pods wait for a cycle that is to let half of them in. No time is asserted.

    pytest benchmarks/test_quotas.py
"""

from __future__ import annotations

from time import perf_counter, perf_counter_ns

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, QuotaSpec, Scheduler

GPU, MEMORY, GIB = "nvidia.com/gpu", "nos.nebuly.com/gpu-memory", 1 << 30
NODES, GPUS_PER_NODE, GPU_GB = 5_000, 8, 80
QUOTAS, PARENTS, PODS, MORE = 1_000, 10, 100_000, 10_000
NODE = NodeSpec({"cpu": 256_000, "memory": 2048 * GIB, "pods": 250, GPU: GPUS_PER_NODE}, gpu_memory_gb=GPU_GB)
KINDS = [PodSpec({"cpu": 4_000, "memory": 16 * GIB, GPU: 1}), PodSpec({"cpu": 2_000, "memory": 4 * GIB})]
LABELS = [PodLabels(f"team-{number}") for number in range(QUOTAS)]


def kind(number: int) -> int:
    """Three of eight Pods have a GPU: 37,500 of 40,000."""
    return 0 if number % 8 < 3 else 1


def team(number: int) -> int:
    """Two of three Pods are of the first half of the teams."""
    return number * 7 % 500 if number % 3 else 500 + number * 11 % 500


def quota(number: int) -> QuotaSpec:
    """Of the GPUs 40 each: more than most of the second half of the teams use, and less than the first do."""
    least = {GPU: 40, MEMORY: 40 * GPU_GB, "cpu": 300_000}
    return QuotaSpec([f"team-{number}"], min=least, max={GPU: 1_000}, parent=f"parent-{number % PARENTS}")


def with_nodes() -> Cluster:
    cluster = Cluster()
    for number in range(NODES):
        cluster.upsert_node(f"node-{number}", NODE)
    return cluster


def add_quotas(cluster: Cluster) -> None:
    for number in range(PARENTS):
        cluster.upsert_quota(f"parent-{number}", QuotaSpec([], min={GPU: 1}))
    for number in range(QUOTAS):
        cluster.upsert_quota(f"team-{number}", quota(number))


def fill(cluster: Cluster) -> tuple[list[str], list[int]]:
    """The node of each Pod, and the nanoseconds that deciding took."""
    scheduler = Scheduler(cluster)
    nodes, took = [], []
    for number in range(PODS):
        uid, spec, labels = f"pod-{number}", KINDS[kind(number)], LABELS[team(number)]
        began = perf_counter_ns()
        cluster.upsert_pod(uid, spec, labels=labels, arrival=number)
        bind = scheduler.place(uid)
        took.append(perf_counter_ns() - began)
        assert bind, f"{uid} found no node"
        nodes.append(bind.node)
    return nodes, took


def check(cluster: Cluster) -> int:
    """How many quotas use more than they are guaranteed."""
    cluster.check()
    asked = [{GPU: 0, MEMORY: 0, "cpu": 0} for _ in range(QUOTAS)]
    for number in range(PODS):
        used = asked[team(number)]
        used["cpu"] += (4_000, 2_000)[kind(number)]
        used[GPU] += 1 - kind(number)
        used[MEMORY] += GPU_GB * (1 - kind(number))
    states = [cluster.quota(f"team-{number}") for number in range(QUOTAS)]
    assert [state.used for state in states] == asked
    for state in states:
        capacities = state.capacities()
        is_over = any(state.used[resource] > state.min[resource] for resource in state.min)
        assert any(over for _, over in capacities) == is_over
    return sum(any(over for _, over in state.capacities()) for state in states)


def spread(took: list[int]) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds."""
    ordered = sorted(took)
    return ordered[len(ordered) // 2] / 1000, ordered[len(ordered) * 99 // 100] / 1000


def test_decisions_under_quotas(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> None:
    plain = with_nodes()
    nodes, took = fill(plain)
    cluster = with_nodes()
    add_quotas(cluster)
    nodes_under_quotas, took_under_quotas = benchmark.pedantic(lambda: fill(cluster), rounds=1)
    assert nodes_under_quotas == nodes
    borrowing = check(cluster)
    assert 100 < borrowing < QUOTAS

    began = perf_counter()
    add_quotas(plain)
    upserts = perf_counter() - began
    began = perf_counter()
    changed = plain.changed_quotas()
    over = sum(is_over for name in changed for _, is_over in plain.quota(name).capacities())
    states = perf_counter() - began
    assert len(changed) == QUOTAS + PARENTS
    check(plain)

    # 2,500 GPUs are free. Each of these Pods asks for one, and some are of teams within their min.
    for number in range(MORE):
        cluster.upsert_pod(
            f"more-{number}", KINDS[0], labels=LABELS[number % QUOTAS], arrival=PODS + number
        )
    began = perf_counter()
    outcome = Scheduler(cluster).schedule()
    cycle = perf_counter() - began
    print("binds",len(outcome.binds),len(outcome.evictions),cycle)
    cluster.check()

    (median, p99), (median_under, p99_under) = spread(took), spread(took_under_quotas)
    benchmark.extra_info.update(median_us=median_under, p99_us=p99_under, ratio=round(median_under / median, 2))
    with capsys.disabled():
        print(
            f"\n  a decision takes {median_under:.1f} µs (p99 {p99_under:.1f}) with {QUOTAS} quotas ({borrowing}"
            f" borrow), {median:.1f} µs (p99 {p99:.1f}) without: {median_under / median:.2f} times as long\n"
            f"  {QUOTAS + PARENTS} quotas come to {PODS} Pods in {upserts:.2f} s; they say who is over ({over} Pods) in"
            f" {states:.2f} s; a cycle with {MORE} Pods more takes {cycle:.2f} s"
        )
