"""How long it takes to find which of 1,000 nodes are not needed, with 10,000 Pods on them.

Nodes of three prices, each with some ten Pods of sixty kinds: whole GPUs and CPU only, or MIG instances on nodes that
nos cuts. They are filled to a given part, as after a busy day: what ran there has ended here and there. The answers are
checked: replayed in plain sums, every Pod that moves has CPU, memory and GPUs where it goes, and nobody else moves. In
the report's extra_info: nodes removed and what that saves; and how many could go at most, and what that would save, if
each Pod could be split.

    pytest benchmarks/test_scale_down.py
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from random import Random

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nos._core import Cluster, GpuSpec, NodeSpec, PodSpec, Removable, ScaleDown, scale_down
from nos.mig import core_model, find

GPU, GIB = "nvidia.com/gpu", 1 << 30
NODES, PODS = 1_000, 10_000
PRICES = (2_000_000, 3_000_000, 4_000_000)
NODE = {"cpu": 128_000, "memory": 1024 * GIB, "pods": 110, GPU: 8}
SLICES = {"nvidia.com/mig-1g.10gb": 1, "nvidia.com/mig-2g.20gb": 2, "nvidia.com/mig-3g.40gb": 4}  # units of 8


@dataclass
class Fleet:
    """What runs, and how much each asks for."""

    cluster: Cluster
    names: list[str] = field(default_factory=list)
    asks: dict[str, dict[str, int]] = field(default_factory=dict)  # by uid
    where: dict[str, str] = field(default_factory=dict)  # likewise


def _kinds(cut: bool) -> list[dict[str, int]]:
    kinds = [{"cpu": 1000 * cpus, "memory": gib * GIB} for cpus in (1, 2, 4, 8) for gib in (4, 8, 16)]
    for cpus in (2, 4, 8, 12):
        for gib in (16, 32, 64):
            if cut:
                kinds += [{"cpu": 1000 * cpus, "memory": gib * GIB, name: 1} for name in SLICES]
            else:
                kinds += [{"cpu": 1000 * cpus, "memory": gib * GIB, GPU: gpus} for gpus in (1, 2)]
    return kinds


def _fill(cut: bool, seed: int) -> Fleet:
    """Ten Pods to each node, where they fit by the sums; more than that fits nowhere."""
    random, fleet = Random(seed), Fleet(Cluster())
    kinds = [(ask, PodSpec(ask)) for ask in _kinds(cut)]
    h100 = find("h100-80gb")
    assert h100
    model = core_model(h100)
    for number in range(NODES):
        name = f"n{number}"
        gpus = [GpuSpec(model, ready=True)] * 8 if cut else []
        fleet.cluster.upsert_node(name, NodeSpec(NODE, gpus=gpus))
        fleet.names.append(name)
        free, units = Counter(NODE), 64
        for pod in range(random.choice([2, 6, 10, 14, 18] if cut else [4, 12, 20, 28, 36])):
            ask, spec = random.choice(kinds)
            taken = sum(size for slice_, size in SLICES.items() if slice_ in ask)
            if any(free[name] < ask[name] for name in ask.keys() & NODE.keys()) or taken > units // 2:
                continue
            free.subtract({name: amount for name, amount in ask.items() if name in NODE})
            units -= taken
            uid = f"{name}-{pod}"
            fleet.cluster.upsert_pod(uid, spec, node=name)
            fleet.asks[uid], fleet.where[uid] = ask, name
    return fleet


def node_price(number: int) -> int:
    """Of the node with that number."""
    return PRICES[number % 3]


def _check(fleet: Fleet, found: ScaleDown) -> None:
    """Whoever moves does so once, from a node that goes to one that stays, where there is room at every step."""
    used: dict[str, Counter[str]] = {name: Counter() for name in fleet.names}
    on: dict[str, set[str]] = {name: set() for name in fleet.names}
    for uid, node in fleet.where.items():
        used[node].update(fleet.asks[uid])
        on[node].add(uid)
    gone = {node for step in found.steps for node in step.nodes}
    assert len(gone) == sum(len(step.nodes) for step in found.steps)
    for step in found.steps:
        assert {uid for uid, _ in step.moves} == {uid for node in step.nodes for uid in on[node]}
        for uid, node in step.moves:
            assert node not in gone
            used[node].update(fleet.asks[uid])
            assert all(used[node][name] <= most for name, most in NODE.items())
            assert sum(size * used[node][name] for name, size in SLICES.items()) <= 64
    fleet.cluster.check()


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "mig"])
def test_scale_down(benchmark: BenchmarkFixture, cut: bool) -> None:
    fleet = _fill(cut, 7)
    removable = [Removable(name, price=node_price(number)) for number, name in enumerate(fleet.names)]

    def once(cluster: Cluster) -> ScaleDown:
        return scale_down(cluster, removable, movable=fleet.asks.keys(), move_price=10_000)

    def copy() -> tuple[tuple[Cluster], dict[str, object]]:
        return (fleet.cluster.copy(),), {}

    found = benchmark.pedantic(once, setup=copy, rounds=3)
    _check(fleet, found)
    asked: Counter[str] = Counter()
    for ask in fleet.asks.values():
        asked.update(ask)
    asked[GPU] += ceil(sum(size * asked[name] for name, size in SLICES.items()) / 8)
    most = NODES - max(ceil(asked[name] / most) for name, most in NODE.items())
    benchmark.extra_info |= {
        "pods": len(fleet.asks),
        "removed": sum(len(step.nodes) for step in found.steps),
        "moves": sum(len(step.moves) for step in found.steps),
        "saved_dollars_per_hour": found.saved / 1e6,
        "could_go_at_most": most,
        "could_save_at_most": sum(sorted((node_price(n) for n in range(NODES)), reverse=True)[:most]) / 1e6,
    }
