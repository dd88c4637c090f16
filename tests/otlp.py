"""A collector of spans: an OTLP/HTTP server that keeps what it is sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Span(NamedTuple):
    """As it was sent; ids in hexadecimal, times in nanoseconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str  # empty: it is the first of its trace
    start: int
    end: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]  # traces and spans
    failed: bool
    message: str
    kind: int
    resource: dict[str, Any]


class Collector:
    """A context manager. hangs: it takes what is sent and never answers, until it ends."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.spans: list[Span] = []
        self.asked = threading.Event()
        self._hangs = hangs
        self._end = threading.Event()

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = collector._take(self.path, self.headers, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def named(self, name: str, **attributes: Any) -> list[Span]:
        """Those of that name with these attributes; in a name of one `_` stands for the dot."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return [span for span in self.spans if span.name == name and wanted.items() <= span.attributes.items()]

    def _take(self, path: str, headers: Any, body: bytes) -> int:
        self.asked.set()
        if self._hangs:
            self._end.wait()
        if path != "/v1/traces" or headers["Content-Type"] != "application/x-protobuf":
            return 404
        text = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        for group in ExportTraceServiceRequest.FromString(text).resource_spans:
            resource = _values(group.resource.attributes)
            self.spans += [_span(sent, resource) for scope in group.scope_spans for sent in scope.spans]
        return 200


def _span(sent: Sent, resource: dict[str, Any]) -> Span:
    return Span(
        sent.name,
        sent.trace_id.hex(),
        sent.span_id.hex(),
        sent.parent_span_id.hex(),
        sent.start_time_unix_nano,
        sent.end_time_unix_nano,
        _values(sent.attributes),
        [(link.trace_id.hex(), link.span_id.hex()) for link in sent.links],
        sent.status.code == Status.STATUS_CODE_ERROR,
        sent.status.message,
        sent.kind,
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    def value(pair: KeyValue) -> Any:
        kind = pair.value.WhichOneof("value")
        return getattr(pair.value, kind) if kind else None

    return {pair.key: value(pair) for pair in attributes}
