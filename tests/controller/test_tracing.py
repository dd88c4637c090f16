"""A controller at work whose traces a collector gets, and whose exemplars lead Prometheus to them.

Its environment is that of docs/tracing.md, but for the collector's address and what is sampled: all.
"""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from nos.observe.metrics.controller import ControllerMetrics
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.controller.gpu_agent import Agents
from tests.controller.test_cutting import cut_nodes, mig_pod
from tests.controller.test_volumes_and_cuts import volumes  # noqa: F401  # a fixture
from tests.controller.volumes import Provisioner, Volumes, using
from tests.observe.test_book import OPENMETRICS
from tests.otlp import Collector, Span
from tests.prometheus import Prometheus

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
DOC = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Takes the traces of the controllers that are started."""
    (block,) = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    with Collector() as collector:
        for pair in yaml.safe_load(block)["env"]:
            monkeypatch.setenv(pair["name"], pair["value"])
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1.0")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")  # ms
        yield collector


def journey(collector: Collector, name: str) -> Span:
    """The Pod's."""
    (found,) = eventually(lambda: collector.named("schedule pod", k8s_pod_name=name))
    return found


def inside(collector: Collector, whole: Span) -> list[Span]:
    """Its parts, in order."""
    return sorted((span for span in collector.spans if span.parent == whole.id), key=lambda span: span.start)


def test_an_exemplar_leads_to_the_trace_of_its_pod(
    cluster: Cluster, controller: Start, collector: Collector, tmp_path: Path
) -> None:
    """Two Pods: one is bound at once, one first waits for more GPUs than there are."""
    cluster.testbed.add_nodes({"8xH100": 1})
    running = controller().schedules()
    with Prometheus(tmp_path, {"controller": running.address}) as prometheus:
        created = cluster.pod("quick")
        node = cluster.bound("quick")["spec"]["nodeName"]
        cluster.pod("waits", 16)
        cluster.waits("waits", "nvidia.com/gpu")
        quick = journey(collector, "quick")
        assert quick.attributes == {
            "k8s.namespace.name": "default",
            "k8s.pod.name": "quick",
            "k8s.pod.uid": created["metadata"]["uid"],
            "k8s.node.name": node,
        }
        assert (quick.resource["service.name"], quick.resource["k8s.cluster.name"]) == ("nos-controller", "prod")
        (asked,) = inside(collector, quick)
        assert (asked.name, asked.failed) == ("POST pods/binding", False)
        assert asked.attributes["http.response.status_code"] == 201
        cycles = {(span.trace, span.id): span for span in collector.named("scheduling cycle")}
        (decided_by,) = asked.links
        assert cycles[decided_by].attributes == {"nos.placed": 1, "nos.waiting": 0}
        assert quick.start <= cycles[decided_by].start <= asked.start < asked.end <= quick.end

        now = time.time()

        def exemplars(metric: str) -> set[str]:
            found = prometheus.get(
                "query_exemplars", query=f"{metric}_bucket", start=str(now - 600), end=str(now + 600)
            )
            return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}

        whole = {quick.trace}
        eventually(lambda: exemplars("nos_pod_scheduling_seconds") == whole)
        eventually(lambda: exemplars("nos_watch_lag_seconds") == whole)
        eventually(lambda: exemplars("nos_api_request_seconds") == whole)  # of the Binding alone, not of other requests

        def of_cycles() -> bool:
            told = {span.trace for span in collector.named("scheduling cycle")}
            return set() < exemplars("nos_scheduling_cycle_seconds") <= told

        eventually(of_cycles)
    assert not collector.named("schedule pod", k8s_pod_name="waits")
    assert running.stop() == 0


def test_parts_of_a_journey(
    cluster: Cluster,
    controller: Start,
    collector: Collector,
    proxy: FaultProxy,
    volumes: Volumes,  # noqa: F811
) -> None:
    """A GPU is cut, then a volume is made; the first try to bind the Pod is cut off."""
    volumes.storage_class("fast")
    volumes.claim("data", "fast")
    with Agents(cluster.testbed).running() as agents, Provisioner(cluster).running():
        (node,) = cut_nodes(cluster, agents)
        running = controller(proxy.kubeconfig).schedules()
        proxy.fault("POST", "/pods/slice/binding", times=1, status=500)
        mig_pod(cluster, "slice", "3g.40gb", **using("data"))
        cluster.bound("slice")
        whole = journey(collector, "slice")
        cut, filled, failed, asked = inside(collector, whole)
        assert (cut.name, cut.failed, cut.attributes) == ("cut GPUs", False, {"k8s.node.name": node.name})
        assert (filled.name, filled.failed, filled.attributes) == ("bind volumes", False, cut.attributes)
        assert (failed.name, failed.failed, failed.attributes["error.type"]) == ("POST pods/binding", True, "500")
        assert (asked.name, asked.failed) == ("POST pods/binding", False)
        assert failed.links == asked.links
        assert cut.end <= filled.start < filled.end <= failed.start
        assert failed.end <= asked.start
        assert running.stop() == 0


def test_the_histograms_that_are_said_to_have_exemplars_have_them(
    cluster: Cluster, controller: Start, collector: Collector
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    running = controller().schedules()
    cluster.pod("one")
    cluster.bound("one")
    journey(collector, "one")
    said = {entry.name for entry in ControllerMetrics().book.entries if entry.exemplars}

    def found() -> set[str]:
        request = urllib.request.Request(f"http://{running.address}/metrics", headers={"Accept": OPENMETRICS})
        with urllib.request.urlopen(request, timeout=5) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return {family.name for family in families if any(sample.exemplar for sample in family.samples)}

    eventually(lambda: found() == said)


@pytest.mark.parametrize("what", ["is down", "hangs"])
def test_a_collector_that_does_not_answer_holds_nothing_up(
    cluster: Cluster, controller: Start, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Pods are bound, it is said in one line, and SIGTERM ends it in good order well before the SDK would give up."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "120")  # in s: only we end the waiting
    cluster.testbed.add_nodes({"8xH100": 1})
    with Collector(hangs=True) as collector:
        monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1" if what == "is down" else collector.endpoint)
        running = controller().schedules()
        for number in range(8):
            cluster.pod(f"pod-{number}")
        for number in range(8):
            cluster.bound(f"pod-{number}")
        if what == "hangs":
            assert collector.asked.wait(30)
        else:
            eventually(lambda: "traces are lost or late" in running.said())
        assert running.stop() == 0  # within 20 s, of which 2 are for the collector; the SDK would wait for 30
        lost = [line for line in running.said().splitlines() if "trace" in line.lower()]
        assert len(lost) == (1 if what == "is down" else 0), lost


def test_without_the_extra_it_schedules(
    cluster: Cluster, controller: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('it is not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    cluster.testbed.add_nodes({"8xH100": 1})
    running = controller().schedules()
    assert running.said().count("pip install 'nos-scheduler[otel]'") == 1
    cluster.pod("one")
    cluster.bound("one")
