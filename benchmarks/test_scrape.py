"""What a scrape of the controller costs on a full cluster: 1,000 nodes of 8 GPUs, 2,000 Pods that run, 500 that wait.

As fast as a client on the same machine reads it whole, one after the other, in the format that Prometheus asks for; the
controller is idle but for that. Checked: what it says of the cluster is what was put there, and how many series it is.

    pytest benchmarks/test_scrape.py
"""

from __future__ import annotations

import asyncio
import statistics
import time
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

import on_testbed
from nos.testbed import Testbed
from nos.testbed.progress import Progress

NODES, GPUS, PODS, WAITING = 1_000, 8, 2_000, 500
SCRAPES = 50
MOST_MS, MOST_SERIES = 200, 5_000
ACCEPT = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5"


def test_scrape(capsys: pytest.CaptureFixture[str]) -> None:
    with Testbed(
        kwok=False, scheduler=False, users=on_testbed.USERS, lease_seconds=3600, progress=Progress()
    ) as testbed:
        on_testbed.grant(testbed)
        testbed.add_nodes({f"{GPUS}xH100": NODES})
        with on_testbed.controller(testbed):
            asyncio.run(fill(testbed))
            time.sleep(5)  # what it has to write about them is written
            address = address_of(testbed)
            took = []
            for _ in range(SCRAPES):
                began = time.perf_counter()
                body = scrape(address)
                took.append((time.perf_counter() - began) * 1e3)
    samples = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    check(samples)
    with capsys.disabled():
        print(
            f"\nscrape, {NODES:,} nodes, {PODS + WAITING:,} Pods: median {statistics.median(took):.0f} ms, "
            f"longest of {SCRAPES} {max(took):.0f} ms (to reach: {MOST_MS}), {len(samples):,} series, "
            f"{len(body) / 1e3:.0f} kB"
        )
    assert len(samples) < MOST_SERIES


def scrape(address: str) -> str:
    """All of it."""
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        body: bytes = answer.read()
    return body.decode()


def check(samples: list[Sample]) -> None:
    """Every node is there, every Pod is counted once, and so is every series."""

    def total(name: str) -> float:
        return sum(sample.value for sample in samples if sample.name == name)

    def count(name: str) -> int:
        return sum(sample.name == name for sample in samples)

    assert (total("nos_nodes"), count("nos_node_gpus"), count("nos_node_gpus_allocated")) == (NODES, NODES, NODES)
    assert (total("nos_gpus"), total("nos_node_gpus")) == (NODES * GPUS, NODES * GPUS)
    assert total("nos_gpus_allocated") == total("nos_node_gpus_allocated") == PODS
    assert total("nos_bindings_total") == total("nos_pod_scheduling_seconds_count") == PODS
    assert total("nos_queue_pods") == total("nos_queue_reason_pods") == WAITING
    assert len({(sample.name, *sorted(sample.labels.items())) for sample in samples}) == len(samples)


def address_of(testbed: Testbed) -> str:
    """Of the controller's health, from its log."""
    log = (testbed.state_dir / "logs" / f"{on_testbed.CONTROLLER}.log").read_text()
    return log.partition("health on ")[2].split()[0]


async def fill(testbed: Testbed) -> None:
    """Pods of one GPU, until all that can have a node have one; the others ask for more GPUs than a node has."""
    fit = [on_testbed.pod(f"pod-{number}") for number in range(PODS)]
    large = [on_testbed.pod(f"large-{number}") for number in range(WAITING)]
    for pod in large:
        for amounts in pod["spec"]["containers"][0]["resources"].values():
            amounts["nvidia.com/gpu"] = str(GPUS + 1)
    async with on_testbed.admin(testbed) as client:
        await on_testbed.create(client, on_testbed.PODS, [*fit, *large])
        deadline = time.monotonic() + 120
        while sum(bool(pod.spec.node_name) for pod in await on_testbed.pods(client)) < PODS:
            assert time.monotonic() < deadline, "not all Pods were bound within 2 minutes"
            await asyncio.sleep(1)
