"""How long MIG slices take to place: one on 1,000 nodes of 8 A100s, and 1,000 that wait at once for 1,000 GPUs.

One by one: slices arrive on an empty cluster until nine tenths of its units are taken; then one leaves and another
arrives. Each upsert and `Scheduler.place` is timed alone. At once: a mix of slices waits, and one cycle plans all of
them, exact placements on named GPUs included. The answers are checked: what is placed lies together by rules that share
no code with the core, what is refused fits nowhere by the same rules, and the ledger's sums are right. No time is
asserted; all are in the report's extra_info.

    pytest benchmarks/test_mig_decisions.py
"""

from __future__ import annotations

import os
from random import Random
from statistics import median
from time import perf_counter_ns

from pytest_benchmark.fixture import BenchmarkFixture

from mig_churn import Baseline
from nos._core import Bind, Cluster, GpuSpec, NodeSpec, PodSpec, Scheduler
from nos.mig import Model, Profile, core_model, find

GPUS_PER_NODE = 8
MIX = {"1g.5gb": 35, "1g.10gb": 10, "2g.10gb": 25, "3g.20gb": 20, "7g.40gb": 10}


class Cut:
    """A cluster, and the rules beside it."""

    def __init__(self, nodes: int) -> None:
        model = find("a100-40gb")
        assert model
        self.model: Model = model
        self.cluster = Cluster()
        gpu = GpuSpec(core_model(model), ready=True)
        allocatable = {"cpu": 1 << 20, "memory": 1 << 50, "pods": 1000, "nvidia.com/gpu": GPUS_PER_NODE}
        for node in range(nodes):
            self.cluster.upsert_node(f"n{node:04}", NodeSpec(allocatable, gpus=[gpu] * GPUS_PER_NODE))
        self.scheduler = Scheduler(self.cluster)
        self.rules = Baseline(model, nodes * GPUS_PER_NODE, best=False)
        self.specs = {name: PodSpec({"nvidia.com/mig-" + name: 1}) for name in MIX}
        self.at: dict[str, tuple[int, int, Profile]] = {}
        self.units = 0

    def profile(self, name: str) -> Profile:
        profile = self.model.profile(name)
        assert profile
        return profile

    def follow(self, bind: Bind, name: str) -> None:
        profile = self.profile(name)
        ((slot, cut, start),) = bind.instances
        gpu = int(bind.node[1:]) * GPUS_PER_NODE + slot
        assert cut == name
        assert start in self.rules.starts(gpu, profile), "it does not fit there"
        self.rules.taken[gpu].append((profile, start))
        self.at[bind.uid] = (gpu, start, profile)
        self.units += profile.size

    def refused(self, name: str) -> None:
        profile = self.profile(name)
        assert not any(self.rules.starts(gpu, profile) for gpu in range(self.rules.gpus)), "refused, though it fits"

    def leave(self, uid: str) -> None:
        self.cluster.remove_pod(uid)
        gpu, start, profile = self.at.pop(uid)
        self.rules.leave((gpu, start), profile)
        self.units -= profile.size


def names(random: Random, count: int) -> list[str]:
    return random.choices(list(MIX), list(MIX.values()), k=count)


def place(cut: Cut, uid: str, name: str) -> int:
    """Nanoseconds."""
    begin = perf_counter_ns()
    cut.cluster.upsert_pod(uid, cut.specs[name])
    bind = cut.scheduler.place(uid)
    took = perf_counter_ns() - begin
    if bind is None:
        cut.refused(name)
        cut.cluster.remove_pod(uid)
    else:
        cut.follow(bind, name)
    return took


def microseconds(nanoseconds: list[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    return {
        "median": median(ordered) / 1000,
        "p99": ordered[len(ordered) * 99 // 100] / 1000,
        "mean": sum(ordered) / len(ordered) / 1000,
        "most": ordered[-1] / 1000,
    }


def test_one_by_one(benchmark: BenchmarkFixture) -> None:
    cut, random = Cut(nodes=1000), Random(1)
    total = cut.rules.gpus * cut.model.units
    filling: list[int] = []
    changing: list[int] = []

    def run() -> None:
        for number, name in enumerate(names(random, 40_000)):
            if cut.units >= total * 9 // 10:
                break
            filling.append(place(cut, f"fill-{number}", name))
        for number, name in enumerate(names(random, 5_000)):
            cut.leave(random.choice(list(cut.at)))
            changing.append(place(cut, f"change-{number}", name))

    benchmark.pedantic(run, rounds=1)
    cut.cluster.check()
    benchmark.extra_info |= {"filling_us": microseconds(filling), "changing_us": microseconds(changing)}
    benchmark.extra_info |= {"load_1m": os.getloadavg()[0], "cores": os.cpu_count()}
    assert cut.units >= total * 85 // 100


def test_a_thousand_at_once(benchmark: BenchmarkFixture) -> None:
    def ready() -> tuple[tuple[Cut, dict[str, str]], dict[str, object]]:
        cut = Cut(nodes=125)
        wanted = {f"p{number}": name for number, name in enumerate(names(Random(2), 1000))}
        for number, (uid, name) in enumerate(wanted.items()):
            cut.cluster.upsert_pod(uid, cut.specs[name], arrival=number)
        return (cut, wanted), {}

    def plan(cut: Cut, wanted: dict[str, str]) -> None:
        outcome = cut.scheduler.schedule()
        planned.append((cut, wanted, outcome.binds, len(outcome.waiting)))

    planned: list[tuple[Cut, dict[str, str], list[Bind], int]] = []
    benchmark.pedantic(plan, setup=ready, rounds=5)
    for cut, wanted, binds, waiting in planned:
        assert (len(binds), waiting) == (1000, 0)
        for bind in binds:
            cut.follow(bind, wanted[bind.uid])
        cut.cluster.check()
        opened = sum(bool(there) for there in cut.rules.taken)
        benchmark.extra_info |= {"gpus_opened": opened, "fewest_possible": -(-cut.units // cut.model.units)}
    benchmark.extra_info |= {"load_1m": os.getloadavg()[0], "cores": os.cpu_count()}
