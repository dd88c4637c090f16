"""How long gangs take end to end, on a real API server: 512 nodes of 8 GPUs, simulated by nobody (no kubelet answers).

- A gang of 512 Pods of 8 GPUs: from the moment that its last Pod is there to the last that a watch shows with a node.
- Then every GPU is taken, and a gang of 80 Pods of one GPU comes: from its last Pod to the first and the last condition
  that says why it waits.

The answers are checked: each of the 512 is alone on its node, each of the 80 is told the same. No time is asserted.

    pytest benchmarks/test_gangs_on_testbed.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

import on_testbed
from nos.kube.pod import Pod, decode_pod
from nos.kube.podgroup import MIN_AVAILABLE, POD_GROUP
from nos.kube.watch import Watch
from nos.testbed import Testbed
from nos.testbed.progress import Progress

NODES, GPUS, REFUSED = 512, 8, 80


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    with Testbed(
        kwok=False, scheduler=False, users=on_testbed.USERS, lease_seconds=3600, progress=Progress()
    ) as running:
        running.install_crds()
        on_testbed.grant(running)
        running.add_nodes({f"{GPUS}xH100": NODES})
        yield running


class Told:
    """The Sink of a watch on Pods: sees each of them be told why it waits."""

    def __init__(self, expected: int) -> None:
        self.first = self.last = 0.0
        self.messages: dict[str, str] = {}
        self.all = asyncio.Event()
        self._expected = expected

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""

    def changed(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink. Before the last Pod is there the others are told that they are too few."""
        for condition in pod.status.conditions:
            if condition.type == "PodScheduled" and " fit. " in condition.message:
                self.last = time.monotonic()
                self.first = self.first or self.last
                self.messages[pod.metadata.uid] = condition.message
        if len(self.messages) == self._expected:
            self.all.set()

    def deleted(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""


def members(group: str, count: int, gpus: int) -> list[dict[str, Any]]:
    pods = [on_testbed.pod(f"{group}-{number}") for number in range(count)]
    for pod in pods:
        pod["metadata"]["annotations"] = {POD_GROUP: group, MIN_AVAILABLE: str(count)}
        amounts = pod["spec"]["containers"][0]["resources"]["limits"]
        amounts["nvidia.com/gpu"] = str(gpus)
    return pods


def test_gangs_end_to_end(testbed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    lines = asyncio.run(both(testbed))
    with capsys.disabled():
        print("\n".join(["", *lines]))


async def both(testbed: Testbed) -> list[str]:
    lines = []
    async with on_testbed.admin(testbed) as client:
        with on_testbed.controller(testbed):
            for group, count, gpus, sink in (
                ("large", NODES, GPUS, on_testbed.Bound(NODES)),
                ("refused", REFUSED, 1, Told(REFUSED)),
            ):
                *most, last = members(group, count, gpus)
                watching = asyncio.create_task(Watch[Pod](client, on_testbed.PODS, decode_pod, sink).run())
                await on_testbed.create(client, on_testbed.PODS, most)
                await asyncio.sleep(10)  # the others are told that they are too few
                complete = time.monotonic()
                await on_testbed.create(client, on_testbed.PODS, [last])
                await asyncio.wait_for(sink.all.wait(), 120)
                watching.cancel()
                what = f"{count} Pods of {gpus} GPU"
                lines.append(f"  {what:20} first {sink.first - complete:.2f} s, last {sink.last - complete:.2f} s")
                if isinstance(sink, Told):
                    assert {message.split(". ")[0] for message in sink.messages.values()} == {
                        f"0 of {REFUSED} Pods of pod group default/refused fit"
                    }
                else:
                    assert len(set(sink.nodes.values())) == NODES
    return lines
