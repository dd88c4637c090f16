"""How long one decision takes on 10,000 nodes of 8 GPUs, and what it is worth.

Pods of some 60 distinct specs, whole GPUs and CPU only, arrive one after another until every GPU is taken, and are
placed at once: upsert and `Scheduler.place`, each timed alone. Then the cluster stays full: a Pod leaves, another
arrives. The answers are checked: the ledger's sums are right, and no Pod was refused that fitted somewhere. Beside nos
runs first fit, on the same core and the same arrivals: what its scores cost, and what they are worth. No time is
asserted; all are in the report's extra_info, in microseconds.

    pytest benchmarks/test_decisions.py
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from random import Random
from statistics import median
from time import perf_counter_ns
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nos._core import Bind, Cluster, NodeSpec, PodSpec, Policy, Scheduler, Taint, Toleration

GPU, GIB = "nvidia.com/gpu", 1 << 30
NODES, GPUS_PER_NODE = 10_000, 8
CAPACITY = NODES * GPUS_PER_NODE
CHURN = 5_000
ZONES = ("a", "b", "c")
TAINT = Taint(GPU, "present")
TOLERATIONS = [Toleration(GPU, "Exists")]


def node_spec(number: int) -> NodeSpec:
    amounts = {"cpu": 128_000, "memory": 2048 * GIB, "pods": 110, GPU: GPUS_PER_NODE}
    return NodeSpec(amounts, labels={"zone": ZONES[number % len(ZONES)]}, taints=[TAINT])


def pod_specs() -> list[PodSpec]:
    """Per GPU between a quarter of its share of the node and a little more than that; some for one zone."""
    specs = []
    for gpus in (1, 2, 4, 8):
        for cpus in (4, 8, 12, 15):
            for gib in (64, 128, 224):
                asks = {"cpu": 1000 * gpus * cpus, "memory": gpus * gib * GIB, GPU: gpus}
                zone = {"zone": ZONES[cpus % 3]} if gib == 128 and gpus < 8 else {}
                specs.append(PodSpec(asks, node_selector=zone, tolerations=TOLERATIONS))
    for cpus in (1, 2, 4, 8):
        for gib in (2, 8, 16):
            specs.append(PodSpec({"cpu": 1000 * cpus, "memory": gib * GIB}, tolerations=TOLERATIONS))
    return specs


def gpus_of(number: int) -> int:
    """The GPUs of the spec with this number, see `pod_specs`."""
    return (1, 2, 4, 8)[number // 12] if number < 48 else 0


def arrivals(random: Random) -> list[int]:
    """Numbers of specs, most of them small, that ask for 105 % of the GPUs."""
    weights = [(8, 4, 2, 1, 3)[number // 12] for number in range(60)]
    asked, numbers = 0, []
    while asked < 1.05 * CAPACITY:
        numbers.append(random.choices(range(60), weights)[0])
        asked += gpus_of(numbers[-1])
    return numbers


@dataclass
class Filled:
    """A cluster after all arrivals."""

    cluster: Cluster
    scheduler: Scheduler
    placed: dict[str, int]  # uid to number of the spec
    nanoseconds: list[int]  # per decision
    refused: dict[str, int]

    @property
    def percent(self) -> float:
        return 100 * self.cluster.gpu_used_milli / self.cluster.gpu_capacity_milli


def decide(cluster: Cluster, scheduler: Scheduler, uid: str, spec: PodSpec, nanoseconds: list[int]) -> Bind | None:
    begin = perf_counter_ns()
    cluster.upsert_pod(uid, spec)
    bind = scheduler.place(uid)
    nanoseconds.append(perf_counter_ns() - begin)
    return bind


def fill(policy: str) -> Filled:
    specs = pod_specs()
    cluster = Cluster()
    for number in range(NODES):
        cluster.upsert_node(f"node-{number}", node_spec(number))
    filled = Filled(cluster, Scheduler(cluster, Policy(policy)), {}, [], {})
    closed: set[int] = set()
    for position, number in enumerate(arrivals(Random(1))):
        uid = f"pod-{position}"
        if decide(cluster, filled.scheduler, uid, specs[number], filled.nanoseconds):
            filled.placed[uid] = number
            assert number not in closed, "a spec that fitted nowhere was placed, though nothing left"
            continue
        if number not in closed:
            assert not filled.scheduler.feasible(specs[number]), "refused, though it fits"
            closed.add(number)
        cluster.remove_pod(uid)
        filled.refused[uid] = number
    cluster.check()
    return filled


def microseconds(nanoseconds: list[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    return {
        "median": median(ordered) / 1000,
        "p99": ordered[len(ordered) * 99 // 100] / 1000,
        "p99.9": ordered[len(ordered) * 999 // 1000] / 1000,
        "most": ordered[-1] / 1000,
    }


def load() -> dict[str, Any]:
    return {"load_1m": os.getloadavg()[0], "cores": os.cpu_count()}


@pytest.fixture(scope="module")
def filled() -> dict[str, Filled]:
    return {}


@pytest.mark.parametrize("policy", ["first-fit", "nos"])
def test_filling(benchmark: BenchmarkFixture, filled: dict[str, Filled], policy: str) -> None:
    assert len(set(pod_specs())) == 60
    done = filled[policy] = benchmark.pedantic(fill, (policy,), rounds=1)
    benchmark.extra_info |= load() | {
        "decisions": len(done.nanoseconds),
        "us": microseconds(done.nanoseconds),
        "us_last_tenth": microseconds(done.nanoseconds[-len(done.nanoseconds) // 10 :]),
        "gpu_percent": done.percent,
        "gpus_in_pods_of_8": placed_gpus(done, 8),
        "refused": len(done.refused),
    }
    assert done.percent > 99
    if "first-fit" in filled and policy == "nos":
        plain = filled["first-fit"]
        benchmark.extra_info["times_first_fit"] = sum(done.nanoseconds) / sum(plain.nanoseconds)
        assert done.percent >= plain.percent
        assert placed_gpus(done, 8) >= placed_gpus(plain, 8)


def placed_gpus(done: Filled, size: int) -> int:
    """GPUs in Pods of that size: those of 8 are what packing is for."""
    return sum(gpus_of(number) for number in done.placed.values() if gpus_of(number) == size)


def test_a_full_cluster_that_changes(benchmark: BenchmarkFixture, filled: dict[str, Filled]) -> None:
    """One Pod leaves, one of the same number of GPUs arrives: it fits, if only where the other was."""
    done = filled.get("nos") or fill("nos")
    specs, random = pod_specs(), Random(2)
    uids = [uid for uid, number in done.placed.items() if gpus_of(number)]
    nanoseconds: list[int] = []

    def churn() -> None:
        for turn in range(CHURN):
            place = random.randrange(len(uids))
            number = done.placed.pop(uids[place])
            done.cluster.remove_pod(uids[place])
            uids[place] = f"churn-{turn}"
            done.placed[uids[place]] = number
            bind = decide(done.cluster, done.scheduler, uids[place], specs[number], nanoseconds)
            assert bind, "refused, though it fits where the other was"

    before = done.percent
    benchmark.pedantic(churn, rounds=1)
    benchmark.extra_info |= load() | {"decisions": CHURN, "us": microseconds(nanoseconds), "gpu_percent": done.percent}
    assert done.percent == before
    done.cluster.check()


def test_copy(benchmark: BenchmarkFixture, filled: dict[str, Filled]) -> None:
    """A what-if starts with a copy, with all nodes and Pods in it."""
    done = filled.get("nos") or fill("nos")
    copy = benchmark(done.cluster.copy)
    benchmark.extra_info |= load() | {"nodes": copy.node_count, "pods": copy.pod_count}
    assert (copy.node_count, copy.pod_count) == (NODES, len(done.placed))
    assert copy.gpu_used_milli == done.cluster.gpu_used_milli
    copy.check()
    leaves = next(uid for uid, number in done.placed.items() if gpus_of(number))
    copy.remove_pod(leaves)
    copy.check()
    assert leaves in done.cluster
    assert copy.gpu_used_milli < done.cluster.gpu_used_milli


def test_a_what_if(benchmark: BenchmarkFixture, filled: dict[str, Filled]) -> None:
    """All of one: a copy, the change, and a decision by a scheduler that has yet to score every node."""
    done = filled.get("nos") or fill("nos")
    specs = pod_specs()
    leaves, number = next((uid, number) for uid, number in done.placed.items() if gpus_of(number) == 8)

    def what_if() -> Bind | None:
        copy = done.cluster.copy()
        copy.remove_pod(leaves)
        copy.upsert_pod("instead", specs[number])
        return Scheduler(copy).place("instead")

    bind = benchmark(what_if)
    benchmark.extra_info |= load()
    assert bind
    assert bind.node == done.cluster.pod(leaves).node, "the only node with 8 free GPUs"
    assert "instead" not in done.cluster
    done.cluster.check()
