"""Spans in OpenTelemetry's words, sent from a thread of its SDK; the only module that imports it.

A cycle is a trace of one span. A Pod's journey is a trace: from the moment when it was first seen to that when it was
bound, and in it what was done for it. It begins with the first decision on the Pod, dated back to when it was seen, so
that Pods which only wait cost nothing; that of a Pod which is never bound is not told.

Moments are of time.monotonic().
"""

from __future__ import annotations

import time
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from nos.observe.metrics.book import Exemplar
from nos.observe.metrics.controller import VERSION

_ALONE = Context()


class Cycle(NamedTuple):
    """One that is over, for those that it decided on."""

    link: Link
    exemplar: Exemplar | None


class Spans:
    """Begins them. The environment says where they go, and how many are sampled."""

    def __init__(self) -> None:
        ours = {SERVICE_NAME: "nos-controller", SERVICE_VERSION: VERSION}
        told = OTELResourceDetector().detect().attributes
        self._provider = TracerProvider(resource=Resource.create({**ours, **told}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("nos", VERSION)

    def close(self) -> None:
        """Send what was not sent yet. A collector that hangs can make that half a minute."""
        self._provider.shutdown()

    def cycle(self, began: float, seconds: float, placed: int, waiting: int) -> Cycle:
        """One is over: it took so long, placed so many Pods, and so many still wait."""
        start = _wall_clock(began)
        amounts = {"nos.placed": placed, "nos.waiting": waiting}
        span = self._tracer.start_span("scheduling cycle", _ALONE, attributes=amounts, start_time=start)
        span.end(start + round(seconds * 1e9))
        return Cycle(Link(span.get_span_context()), _exemplar(span))

    def journey(self, namespace: str, name: str, uid: str, seen: float) -> Journey:
        """Of the Pod that was first seen at that moment."""
        pod = {"k8s.namespace.name": namespace, "k8s.pod.name": name, "k8s.pod.uid": uid}
        span = self._tracer.start_span("schedule pod", _ALONE, attributes=pod, start_time=_wall_clock(seen))
        return Journey(self._tracer, span)


class Journey:
    """A Pod's, from its first decision on."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._inside = set_span_in_context(span, _ALONE)
        self._node = ""
        self._cycle: list[Link] = []
        self._part: Span | None = None

    @property
    def exemplar(self) -> Exemplar | None:
        """For a value of this Pod."""
        return _exemplar(self._span)

    def decided(self, node: str, cycle: Cycle) -> None:
        """That cycle gave it the node."""
        self.over()
        self._node = node
        self._cycle = [cycle.link]

    def begin(self, part: str) -> None:
        """That is being done for it now, and what was before is over."""
        self.over()
        self._part = self._tracer.start_span(part, self._inside, attributes={"k8s.node.name": self._node})

    def over(self, why: str = "") -> None:
        """What was being done for it is over. why: it has failed."""
        if self._part is not None:
            if why:
                self._part.set_status(Status(StatusCode.ERROR, why))
            self._part.end()
            self._part = None

    def answered(self, verb: str, resource: str, code: str, seconds: float) -> Exemplar | None:
        """A request for it was answered, or not: then the code is empty. The exemplar of the answer."""
        if not self._span.is_recording():
            return None
        about: dict[str, str | int] = {"http.request.method": verb, "k8s.node.name": self._node}
        if code:
            about["http.response.status_code"] = int(code)
        start = time.time_ns() - round(seconds * 1e9)
        name, kind = f"{verb} {resource}", SpanKind.CLIENT
        span = self._tracer.start_span(name, self._inside, kind, about, links=self._cycle, start_time=start)
        if not code.startswith("2"):
            span.set_attribute("error.type", code or "_OTHER")
            span.set_status(StatusCode.ERROR)
        span.end()
        return _exemplar(span)

    def bound(self, reason: str) -> None:
        """It has its node. reason: the last one that it was told for having to wait; empty: none."""
        self.over()
        self._span.set_attribute("k8s.node.name", self._node)
        if reason:
            self._span.set_attribute("nos.reason", reason)
        self._span.end()


def _exemplar(span: Span) -> Exemplar | None:
    """For a value that the span explains; None where it is not sampled."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _wall_clock(moment: float) -> int:
    """In nanoseconds since 1970."""
    return time.time_ns() - round((time.monotonic() - moment) * 1e9)
