"""Pods that come and go in the course of a day: a generated mix of MIG slices, and those of a trace."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sin
from pathlib import Path

from nos._core import PodSpec

GPU = "nvidia.com/gpu"
MIG = "nvidia.com/mig-"
HOUR_S, DAY_S = 3600, 86_400
TRACE = Path(__file__).parents[2] / "shared" / "traces" / "alibaba-gpu-v2025" / "disaggregated_DLRM_trace.csv"


@dataclass(frozen=True)
class Arrival:
    """A Pod. requests: millicores of CPU, bytes of memory, and GPUs or slices of them."""

    at: float
    until: float
    requests: dict[str, int]
    units: int  # of GPU, in eighths

    def spec(self) -> PodSpec:
        return PodSpec(self.requests)


def mig_mix(seed: int, load: float) -> Iterator[Arrival]:
    """Slices of all sizes, more by day than by night. load: GPUs wanted at noon, about."""
    chance = random.Random(seed)
    kinds = [
        ("1g.10gb", 1, 6),
        ("1g.20gb", 2, 2),
        ("2g.20gb", 2, 4),
        ("3g.40gb", 4, 4),
        ("4g.40gb", 4, 1),
        ("7g.80gb", 8, 2),
    ]
    mean = sum(units * weight for _, units, weight in kinds) / sum(weight for *_, weight in kinds)
    stay = 1.5 * HOUR_S
    peak = load * 8 / mean / stay  # arrivals a second
    at = 0.0
    while (at := at + chance.expovariate(peak)) < DAY_S:
        if chance.random() < 0.55 - 0.45 * sin(2 * pi * at / DAY_S + pi / 2):
            name, units, _ = chance.choices(kinds, [weight for *_, weight in kinds])[0]
            requests = {"cpu": 2500 * units, "memory": (20 * units) << 30, f"{MIG}{name}": 1}
            yield Arrival(at, at + chance.expovariate(1 / stay), requests, units)


def serving(trace: Path, day: int, every: int) -> Iterator[Arrival]:
    """One in so many of the trace's instances that have a GPU, a whole one each, on one of its days."""
    with trace.open() as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "HN"][::every]
    for row in rows:
        at = float(row["creation_time"] or 0) - day * DAY_S
        until = float(row["deletion_time"] or 32 * DAY_S) - day * DAY_S
        if at < DAY_S and until > 0:
            requests = {
                "cpu": int(float(row["cpu_request"]) * 1000),
                "memory": int(float(row["memory_request"])) << 30,
                GPU: 1,
            }
            yield Arrival(max(at, 0.0), until, requests, 8)
