"""The loopback server that kube-scheduler asks once per cycle, and so tells which nodes its own filters left."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LET_PASS = {"same-verdicts": "bind"}  # label of Pods that the extender lets through, to be bound for real


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """kube-scheduler is stopped amid a retry; of errors before that it tells itself: reason SchedulerError."""


class Extender:
    """Writes down the nodes that it is told of, and answers that none will do."""

    def __init__(self) -> None:
        self.heard: dict[str, list[set[str]]] = {}  # by Pod name, once per cycle
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each answer waits 40 ms for the kernel's delayed acknowledgement

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                metadata, names = asked["Pod"]["metadata"], asked["NodeNames"]
                heard.setdefault(metadata["name"], []).append(set(names))
                let_pass = LET_PASS.items() <= metadata.get("labels", {}).items()
                answer = (
                    {"NodeNames": names} if let_pass else {"NodeNames": [], "FailedNodes": dict.fromkeys(names, "")}
                )
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL."""
        thread = threading.Thread(target=self.server.serve_forever, name="extender")
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.server.server_port}"
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()
