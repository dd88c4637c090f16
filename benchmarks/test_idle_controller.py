"""What `nos controller` costs while nothing happens: 1,000 nodes that only renew their Leases, 1,000 Pods that run.

pytest benchmarks/test_idle_controller.py
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

import on_testbed
from nos.testbed import Testbed
from nos.testbed.progress import Progress

NODES, PODS = 1_000, 1_000
SECONDS = 60
MOST_MB, MOST_OF_A_CORE = 150, 0.02


def test_idle_controller(capsys: pytest.CaptureFixture[str]) -> None:
    with Testbed(scheduler=False, users=on_testbed.USERS, progress=Progress()) as testbed:
        on_testbed.grant(testbed)
        testbed.add_nodes({"8xH100": NODES})
        with on_testbed.controller(testbed) as pid:
            asyncio.run(bind(testbed))
            time.sleep(15)  # events about the Pods, and the last of the garbage, are no part of idleness
            before, since = on_testbed.cpu_seconds(pid), time.monotonic()
            time.sleep(SECONDS)
            share = (on_testbed.cpu_seconds(pid) - before) / (time.monotonic() - since)
            memory = resident_mb(pid)
    with capsys.disabled():
        print(f"\nidle controller, {NODES:,} nodes, {PODS:,} Pods: {memory:.0f} MB, {100 * share:.2f} % of a core")
    assert memory < MOST_MB
    assert share < MOST_OF_A_CORE


async def bind(testbed: Testbed) -> None:
    """Give it Pods, and wait until it has bound them."""
    async with on_testbed.admin(testbed) as client:
        await on_testbed.create(client, on_testbed.PODS, [on_testbed.pod(f"pod-{number}") for number in range(PODS)])
        deadline = time.monotonic() + 120
        while not all(pod.spec.node_name for pod in await on_testbed.pods(client)):
            assert time.monotonic() < deadline, "not all Pods were bound within 2 minutes"
            await asyncio.sleep(1)


def resident_mb(pid: int) -> float:
    """Its resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
