"""What recording costs the event loop: Pods that come, are placed, are seen where they are bound, and go.

Three ledgers live through the same, in turns: one that cannot be recorded, one that nobody records, and one that is
recorded. All edits count, and what is told of each cycle; deciding, which is in a thread of its own, does not. Checked:
all three place each Pod alike, and the record is decided again alike. No time is asserted.

    pytest benchmarks/test_record.py
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, Scheduler
from nos.record.cluster import Recorded
from nos.record.codec import last_line
from nos.record.recorder import Recorders
from nos.record.replay import replay

GPU, GIB = "nvidia.com/gpu", 1 << 30
NODES, GPUS = 1_000, 8
PODS, BATCH = 20_000, 100
STAY = 3_000  # Pods, before the oldest go


class Ledger:
    """One of the three."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.recorders = Recorders(cluster, lambda edit: edit(), "nos") if isinstance(cluster, Recorded) else None
        self.seconds = 0.0
        self.nodes: list[str] = []
        for number in range(NODES):
            amounts = {"cpu": 128_000, "memory": 2048 * GIB, "pods": 110, GPU: GPUS}
            cluster.upsert_node(f"node-{number}", NodeSpec(amounts, labels={"zone": "abc"[number % 3]}))
        self.scheduler = Scheduler(cluster)

    def live(self, first: int) -> None:
        """A batch of Pods. As in the controller, each has a spec and labels of its own."""
        arrived = {f"pod-{number}": pod(number) for number in range(first, first + BATCH)}
        upsert, remove = self.cluster.upsert_pod, self.cluster.remove_pod
        began = perf_counter()
        for number, (uid, (spec, labels)) in enumerate(arrived.items(), first):
            upsert(uid, spec, labels=labels, arrival=number)
        self.seconds += perf_counter() - began
        outcome = self.scheduler.schedule()
        began = perf_counter()
        if self.recorders:
            self.recorders.cycle(outcome)
        for bind in outcome.binds:
            spec, labels = arrived[bind.uid]
            upsert(bind.uid, spec, labels=labels, node=bind.node, gpus=bind.gpus)
        for gone in range(first - STAY, first - STAY + BATCH):
            remove(f"pod-{gone}")
        self.seconds += perf_counter() - began
        self.nodes += [bind.node for bind in outcome.binds]

    @property
    def microseconds(self) -> float:
        """Per Pod."""
        return self.seconds / PODS * 1e6


def pod(number: int) -> tuple[PodSpec, PodLabels]:
    gpus, cpus = (1, 1, 2, 4)[number % 4], 1 + number % 15
    spec = PodSpec({"cpu": 1000 * cpus * gpus, "memory": 16 * GIB * gpus, GPU: gpus}, images=[f"train:{number % 20}"])
    return spec, PodLabels(f"team-{number % 50}", {"app": f"train-{number % 500}"})


async def live() -> tuple[dict[str, Ledger], bytes]:
    """The ledgers afterwards, and the record."""
    ledgers = {"plain": Ledger(Cluster()), "not recorded": Ledger(Recorded()), "recorded": Ledger(Recorded())}
    recorders = ledgers["recorded"].recorders
    assert recorders
    text = bytearray()
    async with aclosing(recorders.record()) as lines:
        while b'{"checkpoint"' not in text:
            text += await anext(lines)
        for first in range(0, PODS, BATCH):
            turn = first // BATCH % 3
            for ledger in [*ledgers.values()][turn:] + [*ledgers.values()][:turn]:
                ledger.live(first)
            text += await anext(lines)
        ledgers["recorded"].cluster.upsert_namespace("the-last", {})
        while b"the-last" not in text[-1000:]:
            text += await anext(lines)
    return ledgers, bytes(text) + last_line("the benchmark is over")


def test_what_recording_costs(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> None:
    ledgers, record = benchmark.pedantic(lambda: asyncio.run(live()), rounds=1)
    plain, idle, recorded = ledgers.values()
    assert len(plain.nodes) == PODS
    assert idle.nodes == recorded.nodes == plain.nodes
    began = perf_counter()
    done = replay(record.splitlines())
    again = perf_counter() - began
    assert (done.different, done.cycles, done.decisions) == (0, PODS // BATCH, PODS)
    ratio, cost = idle.microseconds / plain.microseconds, recorded.microseconds - plain.microseconds
    benchmark.extra_info |= {"ratio": ratio, "us": cost, "bytes": len(record) / PODS}
    with capsys.disabled():
        print(
            f"\n  a Pod's edits take {plain.microseconds:.1f} µs; {ratio:.3f} times as long where nobody records; while"
            f" somebody does {cost:.0f} µs more and {len(record) / PODS:,.0f} bytes\n"
            f"  {done.edits:,} edits and {done.cycles} cycles are done again in {again:.1f} s"
        )
