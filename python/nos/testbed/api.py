"""Just enough of an HTTP client to set a testbed up: keep-alive connections, JSON in, JSON out.

Blocking, on threads: it is called from tests and commands with and without an event loop of their own. The product's
client is nos.kube; this one must work where that one is what is being tested.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from .errors import TestbedError

IN_FLIGHT = 32  # more does not go faster: kubernetes.md, section 3.3
Item = TypeVar("Item")
Object = dict[str, Any]


class Api:
    """One user's view of one API server."""

    def __init__(self, port: int, token: str, ca_file: Path) -> None:
        self._port = port
        self._token = token
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._idle: list[http.client.HTTPSConnection] = []

    def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body; OSError or HTTPException when there was no answer. Every body is read to its end: an unread
        one would cost the connection."""
        try:
            idle = self._idle.pop()
        except IndexError:  # other threads have them all
            return self._exchange(self._connect(), method, path, body, content_type)
        try:
            return self._exchange(idle, method, path, body, content_type)
        except (ConnectionError, ssl.SSLEOFError, http.client.RemoteDisconnected):
            self.close()  # the server dropped them while they were idle: it restarted
        return self._exchange(self._connect(), method, path, body, content_type)

    def _exchange(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: Object | None, content_type: str
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.status, response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Drops the idle connections. The next request makes a new one."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        # Made late: the API server writes its certificate when it first starts.
        self._context = self._context or ssl.create_default_context(cafile=str(self._ca_file))
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=self._context)

    def get(self, path: str) -> Any:
        """The object at `path`."""
        status, body = self.request("GET", path)
        if status != 200:
            raise TestbedError(f"GET {path}: {status} {_message(body)}")
        return json.loads(body)

    def create(self, path: str, body: Object) -> bool:
        """Creates an object; False when it is there already."""
        status, answer = self.request("POST", path, body)
        if status not in (201, 409):
            raise TestbedError(f"POST {path} {body['metadata'].get('name')}: {status} {_message(answer)}")
        return status == 201

    def merge(self, path: str, patch: Object) -> None:
        """Changes an object by a merge patch."""
        status, answer = self.request("PATCH", path, patch, "application/merge-patch+json")
        if status != 200:
            raise TestbedError(f"PATCH {path}: {status} {_message(answer)}")

    def answers(self, path: str, wanted: int = 200) -> bool:
        """Whether the server is there and says so; for polling."""
        try:
            return self.request("GET", path)[0] == wanted
        except (OSError, http.client.HTTPException):
            return False


def in_parallel(work: Callable[[Item], object], items: Sequence[Item], done: Callable[[int], None]) -> None:
    """Does `work` on each item, `IN_FLIGHT` at a time, and tells `done` how many are."""
    with ThreadPoolExecutor(IN_FLIGHT, "testbed") as pool:
        try:
            for count, _ in enumerate(pool.map(work, items), 1):
                done(count)
        except BaseException:  # Ctrl-C too: what has not begun need not begin
            pool.shutdown(cancel_futures=True)
            raise


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        return body[:200].decode(errors="replace")
