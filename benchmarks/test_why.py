"""How long it takes to say why one of 10,000 waiting Pods waits, and what would help: the production scheduler on
copies of a cluster of 1,000 nodes. The answer is checked; no time is asserted.

    pytest benchmarks/test_why.py
"""

from __future__ import annotations

import asyncio
from random import Random

from pytest_benchmark.fixture import BenchmarkFixture
from tests.controller.test_ledger import synced
from tests.controller.test_why import GPU, node, pod

from nos import _core
from nos.controller.why import explain
from nos.observe.why import Why


def test_one_of_ten_thousand(benchmark: BenchmarkFixture) -> None:
    """Each node has one GPU and 14 cores left; every Pod asks for more GPUs."""
    rng = Random(1)
    nodes = [node(f"n{number}") for number in range(1_000)]
    there = [pod(f"b{number}", on=f"n{number}", asks={GPU: "7", "cpu": "50"}) for number in range(1_000)]
    asks = [{GPU: str(rng.choice((2, 4, 8))), "cpu": str(rng.choice((4, 8, 16)))} for _ in range(10_000)]
    loop = asyncio.new_event_loop()

    async def known() -> object:
        return synced(*nodes, *there, *(pod(f"w{number}", asks=ask) for number, ask in enumerate(asks)))

    ledger = loop.run_until_complete(known())

    def once() -> Why:
        return loop.run_until_complete(explain(ledger, "ml/w5000", _core.Policy()))  # type: ignore[arg-type]

    found = benchmark.pedantic(once, rounds=5)
    loop.close()
    assert found.code == "InsufficientGpu"
    assert f"with 1 gpu instead of {asks[5000][GPU]}" in [change.text for change in found.changes]
