"""Everything at once, by a seeded dice: faults of every kind while Pods come and go and another scheduler binds too."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("seed", [1])
def test_no_pod_is_forgotten_and_no_gpu_overcommitted(
    cluster: Cluster, controller: Callable[..., Controller], proxy: FaultProxy, seed: int
) -> None:
    dice = random.Random(seed)
    cluster.testbed.add_nodes({"8xH100": 6})  # 48 GPUs
    running = controller(proxy.kubeconfig).schedules()
    faults = [
        lambda: proxy.fault("POST", "/binding", times=3, lost=True),
        lambda: proxy.fault("POST", "/binding", times=3, lost=True, carried_out=False),
        lambda: proxy.fault("POST", "/binding", times=3, status=dice.choice([403, 409, 429, 500, 503])),
        lambda: proxy.fault("POST", "/binding", times=3, delay=0.5),
        lambda: proxy.fault("PATCH", "/status", times=3, status=dice.choice([409, 500])),
        lambda: proxy.fault("GET", "/api/v1/pods/", times=2, status=503),
        lambda: proxy.fault("GET", "/api/v1/pods?", times=1, status=410),
        lambda: proxy.end_watches(b'{"type":"ADD'),
    ]
    alive: list[str] = []
    deadline, number = time.monotonic() + 25, 0
    while time.monotonic() < deadline:
        dice.choice(faults)()
        for _ in range(dice.randint(1, 4)):
            number += 1
            cluster.pod(f"p-{number}", gpus=dice.choice([1, 1, 2, 4, 8]))
            alive.append(f"p-{number}")
        while len(alive) > 20:
            cluster.delete(alive.pop(dice.randrange(len(alive))))
        cluster.assert_sound()
    proxy.heal()
    while sum(int(p["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) for p in cluster.pods()) > 24:
        cluster.delete(alive.pop())
        eventually(lambda: len(cluster.pods()) == len(alive))
    # What is left fits whatever stands where; only large Pods could be kept out by crumbs, so they may wait.
    eventually(
        lambda: all(
            p["spec"].get("nodeName") or p["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"
            for p in cluster.pods()
        ),
        within=90,
        why="all Pods that fit have a node",
    )
    cluster.assert_sound()
    assert running.process.poll() is None
