"""What switches traces on and off; what a collector gets of cycles and journeys, and what an exemplar says."""

from __future__ import annotations

import itertools
import logging
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from nos.observe import tracing
from nos.observe.metrics.controller import ControllerMetrics
from nos.observe.spans import Journey, Spans
from tests.controller.in_loop import in_loop
from tests.observe.test_book import OPENMETRICS
from tests.otlp import Collector, Span

SCRIPT = """
import sys
import nos.controller.run
from nos.observe import log, tracing
log.configure("text", verbose=False)
with tracing.start() as spans:
    print(spans is not None, any(name.partition(".")[0] == "opentelemetry" for name in sys.modules))
"""
OFF, ON = "False False\n", "True True\n"


def started(path: str = "", **environment: str) -> tuple[str, str]:
    """Whether traces are on and OpenTelemetry is imported, in a process with these variables; what it logged."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "nos", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
    ids=lambda environment: ",".join(environment) or "none",
)
def test_off(environment: dict[str, str]) -> None:
    assert started(**environment) == (OFF, "")


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"]
)
def test_on(variable: str) -> None:
    value = "otlp" if variable == "OTEL_TRACES_EXPORTER" else "http://127.0.0.1:1"
    assert started(**{variable: value}) == (ON, "")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is zipkin; there are otlp and none"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL to http/protobuf"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "correct its OTEL_ variables, or unset OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_one_line_and_no_more(environment: dict[str, str], said: str) -> None:
    on, log = started(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", **environment)
    assert on.startswith("False")
    assert said in log
    assert log.count("\n") == 1


def test_without_the_extra_the_remedy_is_named(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('it is not here')")
    on, log = started(str(tmp_path), OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:1")
    assert on.startswith("False")
    (line,) = log.splitlines()
    assert "ERROR" in line
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set" in line
    assert "pip install 'nos-scheduler[otel]'" in line


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def environment(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traces go to the collector. What `start` does to the SDK's logger is undone."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    collector.spans.clear()
    yield
    logging.getLogger("opentelemetry").handlers.clear()
    logging.getLogger("opentelemetry").propagate = True


@pytest.mark.usefixtures("environment")
def test_who_tells(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a name of its own, unless it is given one, in either variable."""
    for variable, value, name in (
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=prod", "nos-controller"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=prod,service.name=gpus", "gpus"),
        ("OTEL_SERVICE_NAME", "nos-west", "nos-west"),
    ):
        monkeypatch.setenv(variable, value)
        with tracing.start() as spans:
            assert spans
            spans.cycle(time.monotonic() - 2, 1.5, placed=3, waiting=4)
        told = collector.spans.pop()
        assert told.name == "scheduling cycle"
        assert told.attributes == {"nos.placed": 3, "nos.waiting": 4}
        assert told.end - told.start == 1_500_000_000
        assert abs(time.time_ns() - told.start - 2_000_000_000) < 1_000_000_000
        assert told.resource["service.name"] == name
        assert told.resource["k8s.cluster.name"] == "prod"


# What can happen to a Pod between a decision and the next. After the last one it is bound.
STEPS = "cut", "volumes", "over", "fail", "201", "500", ""
JOURNEYS = 100


@pytest.mark.usefixtures("environment")
def test_journeys(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens to Pods, each has one trace, whose parts are as many as were begun, one after the other and
    within the whole; its requests link to the decision before them."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100000")  # so that none is lost
    draw = random.Random(7)  # and not Hypothesis, which seeds that of which the SDK makes its ids
    expected = {}
    with tracing.start() as spans:
        assert spans
        for number in range(JOURNEYS):
            decisions = [draw.choices(STEPS, k=draw.randrange(7)) for _ in range(draw.randint(1, 3))]
            expected[f"uid-{number}"] = walk(spans, f"uid-{number}", decisions)
    for uid, (parts, node, exemplar) in expected.items():
        (whole,) = collector.named("schedule pod", k8s_pod_uid=uid)
        inside = sorted((s for s in collector.spans if s.parent == whole.id), key=lambda span: span.start)
        assert {span.trace for span in inside} <= {whole.trace}
        assert sum(span.trace == whole.trace for span in collector.spans) == 1 + len(inside)
        assert exemplar == whole.trace
        assert sorted(parts) == sorted((s.name, s.failed, s.attributes["k8s.node.name"]) for s in inside)
        assert whole.attributes["k8s.node.name"] == node
        assert all(whole.start <= span.start <= span.end <= whole.end for span in inside)
        done = [span for span in inside if not span.name.startswith("POST")]
        assert all(before.end <= after.start for before, after in itertools.pairwise(done))
        cycles = {(cycle.trace, cycle.id): cycle for cycle in collector.named("scheduling cycle")}
        for asked in (span for span in inside if span.name.startswith("POST")):
            (link,) = asked.links
            assert f"node-{cycles[link].attributes['nos.placed']}" == asked.attributes["k8s.node.name"]
            assert asked.kind == 3  # a client's
            assert asked.failed == ("error.type" in asked.attributes) == (status(asked) != 201)


def walk(spans: Spans, uid: str, decisions: list[list[str]]) -> tuple[list[tuple[str, bool, str]], str, str]:
    """Take a Pod through this; the parts that its journey has then, its node, and the trace that its exemplar names.
    The n-th decision gives it node-n, and its cycle says that it placed n."""
    journey: Journey | None = None
    parts: list[tuple[str, bool, str]] = []
    name = ""  # of what is begun
    for number, steps in enumerate(decisions):
        node = f"node-{number}"
        cycle = spans.cycle(time.monotonic() - 0.25, 0.125, placed=number, waiting=0)
        journey = journey or spans.journey("default", uid, uid, time.monotonic() - 0.5)
        journey.decided(node, cycle)
        for step in steps:
            if step in ("cut", "volumes"):
                parts += [(name, False, node)] if name else []
                name = step
                journey.begin(step)
            elif step in ("over", "fail"):
                parts += [(name, step == "fail", node)] if name else []
                name = ""
                journey.over("it went wrong" if step == "fail" else "")
            else:
                parts.append(("POST pods/binding", step != "201", node))
                assert journey.answered("POST", "pods/binding", step, 0.001)
        parts += [(name, False, node)] if name else []  # which the next decision ends, or the Binding
        name = ""
    assert journey
    journey.bound("InsufficientGpu")
    assert journey.exemplar
    return parts, node, journey.exemplar["trace_id"]


def status(span: Span) -> int:
    answer: int = span.attributes.get("http.response.status_code", 0)
    return answer


@pytest.mark.usefixtures("environment")
def test_what_is_not_sampled_has_no_exemplar(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with tracing.start() as spans:
        assert spans
        cycle = spans.cycle(time.monotonic(), 0.1, placed=1, waiting=0)
        journey = spans.journey("default", "one", "uid", time.monotonic())
        journey.decided("node", cycle)
        assert (cycle.exemplar, journey.exemplar) == (None, None)
        assert journey.answered("POST", "pods/binding", "201", 0.1) is None
        journey.begin("cut GPUs")
        journey.bound("")
    assert collector.spans == []


@in_loop
async def test_exemplars_are_in_openmetrics_alone() -> None:
    """A value of 0.03 s is in the bucket up to 0.05, and its exemplar there and nowhere else."""
    metrics = ControllerMetrics()
    exemplar = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
    metrics.scheduling.cycle(0.03, 1, exemplar)
    metrics.scheduling.cycle(0.003, 1, None)
    body, _ = await metrics.book.scrape(OPENMETRICS)
    found = [
        (sample.name, sample.labels["le"], sample.exemplar.labels, sample.exemplar.value)
        for family in parse_openmetrics(body.decode())
        for sample in family.samples
        if sample.exemplar
    ]
    assert found == [("nos_scheduling_cycle_seconds_bucket", "0.05", exemplar, 0.03)]
    assert sum(len(key) + len(value) for key, value in exemplar.items()) <= 128  # as OpenMetrics bids
    body, _ = await metrics.book.scrape("")
    assert exemplar["trace_id"].encode() not in body
