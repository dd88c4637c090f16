"""What traces cost: with them off, with every tenth Pod sampled, and with all.

First what the controller tells of a Pod from its decision to the echo of its Binding, in cycles of 100 Pods, beside
the same with the metrics told alone, as if there were no traces at all. All CPU of the process counts, the thread that
sends the spans included. Then 4,000 Pods bound on a real API server, as in test_bind_rate.py. The collector is a
process of its own that throws away what it gets. Checked: each Pod is counted once, and bound as test_bind_rate.py
wants it.

    pytest benchmarks/test_tracing.py
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

import on_testbed
from nos.controller.measures import Measures, asked_for
from nos.observe import tracing
from nos.observe.metrics.controller import ControllerMetrics
from nos.testbed import Testbed
from test_bind_rate import PODS, Run, describe, one_run, testbed  # noqa: F401  # a fixture

BATCH, BATCHES, ROUNDS = 100, 40, 5
ENDPOINT, SAMPLER, ARGUMENT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"


def modes(endpoint: str) -> dict[str, dict[str, str]]:
    """The environment of each."""
    on = {ENDPOINT: endpoint}
    return {"off": {}, "a tenth": on | {SAMPLER: "parentbased_traceidratio", ARGUMENT: "0.1"}, "all": on}


def test_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    took: dict[str, list[float]] = {}
    with collector() as endpoint:
        for _ in range(ROUNDS):
            took.setdefault("metrics alone", []).append(metrics_alone())
            for name, environment in modes(endpoint).items():
                with monkeypatch.context() as patch:
                    for variable, value in environment.items():
                        patch.setenv(variable, value)
                    took.setdefault(name, []).append(told())
    least = statistics.median(took["metrics alone"])
    with capsys.disabled():
        print(f"\ntold of a Pod, from its decision to its echo, medians of {ROUNDS} rounds")
        for name, each in took.items():
            median = statistics.median(each)
            print(f"  {name:14} {median:6.1f} µs  {median / least:5.2f} times the metrics alone")


def metrics_alone() -> float:
    """Microseconds of CPU per Pod."""
    metrics = ControllerMetrics()
    began = time.process_time()
    for _ in range(BATCHES):
        metrics.scheduling.cycle(0.001, BATCH, None)
        for _ in range(BATCH):
            metrics.api.request("POST", "pods/binding", "201", 0.01, None)
            metrics.scheduling.bound("", 0.1, None)
            metrics.api.echo_seconds.observe(0.001)
    return check(metrics, time.process_time() - began)


def told() -> float:
    """Likewise, with traces as the environment says."""
    metrics = ControllerMetrics()
    pods = [[decided(batch * BATCH + pod) for pod in range(BATCH)] for batch in range(BATCHES)]
    with tracing.start() as spans:
        measures = Measures(metrics, spans)
        began = time.process_time()
        for batch in pods:
            measures.cycle(time.monotonic(), 0.001, batch, 0)
            for waiting, _ in batch:
                asked_for.set(waiting)
                measures.answered("POST", "pods/binding", "201", 0.01)
                measures.bound(waiting)
                measures.echoed(waiting, 0.001)
    return check(metrics, time.process_time() - began)


def check(metrics: ControllerMetrics, seconds: float) -> float:
    """Each Pod was counted once."""
    assert metrics.scheduling.placed == metrics.api.counts["POST", "pods/binding", "201"] == BATCHES * BATCH
    return seconds * 1e6 / (BATCHES * BATCH)


def decided(number: int) -> Any:
    """What is looked at of a Pod, and of the decision."""
    name = f"pod-{number}"
    waiting = SimpleNamespace(namespace="default", name=name, uid=name, seen=time.monotonic(), code="", journey=None)
    return waiting, SimpleNamespace(node="node")


def test_bind_rate(testbed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    runs: dict[str, list[Run]] = {}
    with collector() as endpoint:
        for number in range(3):
            each_mode = list(modes(endpoint).items())
            for name, environment in each_mode[number:] + each_mode[:number]:
                start = partial(on_testbed.controller, testbed, environment=environment)
                run = asyncio.run(one_run(testbed, f"nos-{name.replace(' ', '-')}-{number}", start))
                runs.setdefault(name, []).append(run)
                with capsys.disabled():
                    print(f"  round {number} {name:8} {describe([run])}")
    off = statistics.median(run.own_cpu for run in runs["off"])
    with capsys.disabled():
        print(f"\n{PODS:,} Pods bound, medians of 3 rounds")
        for name, each in runs.items():
            times = statistics.median(run.own_cpu for run in each) / off
            print(f"  {name:8} {describe(each)}; {times:.2f} times its own CPU without traces")


@contextmanager
def collector() -> Iterator[str]:
    """This file as a program of its own; its endpoint."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
