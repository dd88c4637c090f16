"""From a Pod's creation to its container, where its slice has to be cut first, on a real kubelet.

Beside it the same Pod without a GPU and already bound: what kubelet and containerd take alone. The driver is simulated
and answers at once, so the difference is nos: decide, write the GPUNode, cut, advertise, report, bind.

    pytest benchmarks/test_slice_latency.py -s
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.e2e.mig_node import PODS, MigNode, install, mig_node
from tests.real_node import require_real_node

from nos.testbed import Testbed
from nos.testbed.realnode import IMAGE

ROUNDS = 15


def timed(node: MigNode, name: str, create: Callable[[], object]) -> tuple[float, float]:
    """Seconds until it was bound, and until it ran."""
    began, bound = time.perf_counter(), 0.0
    create()
    while True:
        pod = json.loads(node.testbed.api.request("GET", f"{PODS}/{name}")[1])
        if pod["spec"].get("nodeName") and not bound:
            bound = time.perf_counter() - began
        if pod["status"]["phase"] == "Running":
            return bound, time.perf_counter() - began
        assert time.perf_counter() - began < 30
        time.sleep(0.005)


def test_from_creation_to_running(tmp_path: Path) -> None:
    require_real_node()
    with Testbed(scheduler=False, kwok=False) as testbed:
        testbed.add_real_node()
        with mig_node(testbed, install(testbed, tmp_path), ["a100-40gb"] * 2) as node:
            alone, cut = [], []
            for number in range(ROUNDS):
                spec = {"nodeName": node.node.name, "containers": [{"name": "main", "image": IMAGE}]}
                spec |= {"terminationGracePeriodSeconds": 0}
                name, body = f"alone-{number}", {"metadata": {"name": f"alone-{number}"}, "spec": spec}
                alone.append(timed(node, name, lambda body=body: testbed.api.create(PODS, body))[1])
                node.delete(name)
                # In turn, so that each time what is there has to go: a mode switch, or another geometry.
                wish = {f"nvidia.com/{('gpu', 'mig-3g.20gb', 'mig-1g.5gb')[number % 3]}": 2}
                name = f"cut-{number}"
                cut.append(timed(node, name, lambda name=name, wish=wish: node.create(name, limits=wish)))
                assert len(node.devices(name)) == 2
                node.delete(name)
    bound, running = median(b for b, _ in cut), median(r for _, r in cut)
    print(
        f"\nseconds, median of {ROUNDS}: kubelet and containerd alone {median(alone):.3f}; with a cut {running:.3f}, "
    )
    print(
        f"of which until bound {bound:.3f} (longest {max(b for b, _ in cut):.3f}); ratio {running / median(alone):.2f}"
    )
    assert running < 2 * median(alone), "nos takes longer than kubelet and containerd"
