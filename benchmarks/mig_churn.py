"""MIG slices that come and go: what first-fit, best-fit and nos refuse of the same arrivals.

Poisson arrivals, exponential stays of mean 1, one GPU model, nothing is moved. Two baselines place on their own ledger
of free units, which shares no code with nos: first-fit takes the first GPU and there the lowest start; best-fit the GPU
with the fewest free units that has a start, and there the lowest.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nos._core import Cluster, GpuSpec, NodeSpec, PodSpec, Scheduler
from nos.mig import Model, Profile, core_model

GPUS_PER_NODE = 4


@dataclass(frozen=True)
class Arrival:
    at: float
    until: float
    profile: Profile


def arrivals(
    profiles: Sequence[Profile], mix: Sequence[float], load: float, gpus: int, units: int, end: float, seed: int
) -> Iterator[Arrival]:
    """Offered load is the mean of units wanted at once, over those there are."""
    chance = random.Random(seed)
    mean_size = sum(part * profile.size for part, profile in zip(mix, profiles, strict=True))
    at = 0.0
    while (at := at + chance.expovariate(load * gpus * units / mean_size)) < end:
        profile = chance.choices(profiles, mix)[0]
        yield Arrival(at, at + chance.expovariate(1.0), profile)


@dataclass
class Baseline:
    """GPUs as lists of instances; whether one more fits is the four rules, written out."""

    model: Model
    gpus: int
    best: bool
    taken: list[list[tuple[Profile, int]]] = field(init=False)

    def __post_init__(self) -> None:
        self.taken = [[] for _ in range(self.gpus)]

    def starts(self, gpu: int, profile: Profile) -> list[int]:
        there = self.taken[gpu]
        slices = sum(other.compute_slices for other, _ in there)
        same = sum(other is profile for other, _ in there)
        if slices + profile.compute_slices > self.model.compute_slices or same == profile.max_instances:
            return []
        for engine, total in self.model.engine_totals.items():
            if sum(getattr(p.engines, engine) for p, _ in there) + getattr(profile.engines, engine) > total:
                return []
        return [
            start for start in profile.starts if all(start + profile.size <= s or s + p.size <= start for p, s in there)
        ]

    def free(self, gpu: int) -> int:
        return self.model.units - sum(profile.size for profile, _ in self.taken[gpu])

    def arrive(self, profile: Profile) -> tuple[int, int] | None:
        order = sorted(range(self.gpus), key=self.free) if self.best else range(self.gpus)
        for gpu in order:
            if starts := self.starts(gpu, profile):
                self.taken[gpu].append((profile, starts[0]))
                return gpu, starts[0]
        return None

    def leave(self, where: tuple[int, int], profile: Profile) -> None:
        self.taken[where[0]].remove((profile, where[1]))


class Nos:
    """The production scheduler on nodes of a few GPUs, with CPU and memory in plenty. `fits` is the rules again, to see
    that what nos refuses really fits nowhere."""

    def __init__(self, model: Model, gpus: int) -> None:
        self.cluster = Cluster()
        self.model = model
        self.gpus = gpus
        spec = GpuSpec(core_model(model), mig=True)
        allocatable = {"cpu": 1 << 20, "memory": 1 << 50, "pods": 1000, "nvidia.com/gpu": GPUS_PER_NODE}
        for node in range(gpus // GPUS_PER_NODE):
            self.cluster.upsert_node(f"n{node:03}", NodeSpec(allocatable, gpus=[spec] * GPUS_PER_NODE))
        self.scheduler = Scheduler(self.cluster)
        self.rules = Baseline(model, gpus, best=False)
        self.specs = {p.name: PodSpec({"nvidia.com/mig-" + p.name.replace("+", "."): 1}) for p in model.profiles}
        self.count = 0

    def arrive(self, profile: Profile) -> tuple[int, int, str] | None:
        uid = f"p{self.count}"
        self.count += 1
        self.cluster.upsert_pod(uid, self.specs[profile.name], arrival=self.count)
        bind = self.scheduler.place(uid)
        if bind is None:
            assert not any(self.rules.starts(gpu, profile) for gpu in range(self.gpus)), "nos refused what fits"
            self.cluster.remove_pod(uid)
            return None
        ((slot, name, start),) = bind.instances
        gpu = int(bind.node[1:]) * GPUS_PER_NODE + slot
        assert name == profile.name
        assert start in self.rules.starts(gpu, profile), "nos placed what does not fit"
        self.rules.taken[gpu].append((profile, start))
        return gpu, start, uid

    def leave(self, where: tuple[int, int, str], profile: Profile) -> None:
        self.cluster.remove_pod(where[2])
        self.rules.leave(where[:2], profile)


def refused_units(policy: Baseline | Nos, coming: Sequence[Arrival], warm: float) -> tuple[int, int]:
    """Units refused and offered after the warm-up."""
    leaving: list[tuple[float, int, object, Profile]] = []
    refused = offered = 0
    for number, arrival in enumerate(coming):
        while leaving and leaving[0][0] <= arrival.at:
            _, _, where, profile = heapq.heappop(leaving)
            policy.leave(where, profile)  # type: ignore[arg-type]
        where = policy.arrive(arrival.profile)
        counts = arrival.profile.size if arrival.at > warm else 0
        offered += counts
        if where is None:
            refused += counts
        else:
            heapq.heappush(leaving, (arrival.until, number, where, arrival.profile))
    return refused, offered
