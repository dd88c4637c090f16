"""Traces by OpenTelemetry: off, and nothing of it imported, unless its own variables of the environment switch them on.

Which those are says docs/tracing.md; all but the switches the SDK reads itself. What is wrong with them is logged, and
the process goes on without traces: they are never a reason not to schedule.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nos.observe.spans import Spans

_SWITCHES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"
_FLUSH_S = 2.0  # at the end, for what was not sent yet
_QUIET_S = 60.0  # between two complaints of the SDK, which has one for each batch that a collector does not take

_log = logging.getLogger(__name__)


@contextmanager
def start() -> Iterator[Spans | None]:
    """What traces are told; None where they are off. What is not sent yet at the end is sent then, or dropped."""
    spans = _spans()
    try:
        yield spans
    finally:
        if spans:
            # The SDK would wait for a collector that hangs for 30 s.
            flush = threading.Thread(target=spans.close, daemon=True)
            flush.start()
            flush.join(_FLUSH_S)


def _spans() -> Spans | None:
    on = next((name for name in _SWITCHES if os.environ.get(name)), "")
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if not on or exporter == "none" or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if exporter != "otlp":
        _log.error("no traces: OTEL_TRACES_EXPORTER is %s; there are otlp and none", exporter)
        return None
    if protocol not in (None, "", "http/protobuf"):
        remedy = "set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL to http/protobuf, and the endpoint to what takes that"
        _log.error("no traces over %s: %s", protocol, remedy)
        return None
    try:
        from nos.observe.spans import Spans
    except ImportError as error:
        remedy = "pip install 'nos-scheduler[otel]', or unset it"
        _log.error("no traces: %s is set, but OpenTelemetry is not installed (%s): %s", on, error, remedy)
        return None
    sdk = logging.getLogger("opentelemetry")
    sdk.propagate = False
    sdk.addHandler(_Complaints())
    try:
        return Spans()
    except Exception as error:  # whatever the SDK makes of its variables
        _log.error("no traces: OpenTelemetry does not start: %s; correct its OTEL_ variables, or unset %s", error, on)
        return None


class _Complaints(logging.Handler):
    """What the SDK logs, as a line of ours, and not more often than each `_QUIET_S`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _QUIET_S
            _log.warning("traces are lost or late: %s", record.getMessage())
