"""Stands between a controller and the real API server, and misbehaves as told.

Arrives: plain HTTP from the controller. Leaves: the same request over TLS to the API server, and its answer, streamed.
In between a test may have a request answered by us (409, 429, 5xx, with or without Retry-After), refused, delayed, or
carried out with its answer lost; running watches cut in the middle of a line, ended by a 410, or fed garbage; or no
connection accepted at all. It runs on a thread with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from nos.kube.connector import Connector
from nos.testbed.testbed import NOS_USER

_HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "content-encoding", "date"}


@dataclass
class Fault:
    """What happens to the next `times` requests of this method whose path and query contain `path`."""

    method: str
    path: str
    times: int = 1
    status: int = 0  # answered by us with this; 0: not
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)  # beside what every Status has
    carried_out: bool = True  # without a status: does it reach the API server?
    delay: float = 0.0
    held: bool = False  # and then for as long as this is so
    lost: bool = False  # the connection is cut instead of an answer
    hits: int = 0


class FaultProxy:
    """A context manager; `kubeconfig` leads through it."""

    def __init__(self, server: str, ca_file: Path, tokens: Mapping[str, str], directory: Path) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        self._token = tokens[NOS_USER]
        self._directory = directory
        self._faults: list[Fault] = []
        self._ends: set[asyncio.Queue[bytes]] = set()
        self._port = 0
        self.requests: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._open())
        self.accept()
        self.kubeconfig = self._directory / "proxy.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
            "users": [{"name": "nos", "user": {"token": self._token}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nos"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def fault(self, method: str, path: str, **how: Any) -> Fault:
        """From now on, misbehave; see Fault."""
        fault = Fault(method, path, **how)
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """No more faults."""
        self._faults.clear()

    def refuse(self) -> None:
        """Cut all connections and accept none."""
        self._call(self._stop())

    def accept(self) -> None:
        """Accept connections (again)."""
        self._call(self._listen())

    def end_watches(self, last_words: bytes) -> int:
        """Send this to every watch that runs, and cut it; how many there were."""

        async def end() -> int:
            for queue in self._ends:
                queue.put_nowait(last_words)
            return len(self._ends)

        return self._call(end())

    @property
    def watches(self) -> int:
        """How many watches run."""
        return len(self._ends)

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(connector=Connector(limit=0), auto_decompress=False)

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    async def _listen(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        self._socket = socket.create_server(("127.0.0.1", self._port), backlog=128)
        await web.SockSite(self._runner, self._socket).start()
        self._port = self._socket.getsockname()[1]

    async def _stop(self) -> None:
        # A connection that asyncio has accepted, but that is nobody's yet, is never closed if the server goes before it
        # has a protocol. That takes it two turns.
        self._loop.remove_reader(self._socket)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        fault = self._pick(request)
        if fault is not None:
            fault.hits += 1
            await asyncio.sleep(fault.delay)
            while fault.held:  # noqa: ASYNC110  # by the thread of the test
                await asyncio.sleep(0.01)
            if fault.status:
                body = {"kind": "Status", "code": fault.status, "reason": "Injected", "message": "a fault of the test"}
                body |= fault.body
                return web.json_response(body, status=fault.status, headers=dict(fault.headers))
            if fault.lost and not fault.carried_out:
                return self._cut(request)
        try:
            return await self._forward(request, lost=fault is not None and fault.lost)
        except aiohttp.ClientError:
            return self._cut(request)

    def _pick(self, request: web.BaseRequest) -> Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.method == request.method and fault.path in request.path_qs:
                fault.times -= 1
                return fault
        return None

    async def _forward(self, request: web.BaseRequest, *, lost: bool) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
        body = await request.read()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self._session.request(
            request.method, self._server + request.path_qs, headers=headers, data=body, timeout=timeout, ssl=self._tls
        ) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            if "watch=1" not in request.query_string or answer.status != 200:
                content = await answer.read()
                if lost:
                    return self._cut(request)
                return web.Response(status=answer.status, body=content, headers=kept)
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            await self._stream(request, response, answer)
            return response

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, answer: aiohttp.ClientResponse
    ) -> None:
        end: asyncio.Queue[bytes] = asyncio.Queue()
        ending = asyncio.ensure_future(end.get())
        reading = asyncio.ensure_future(answer.content.readany())
        self._ends.add(end)
        try:
            while True:
                await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
                if ending.done():
                    await response.write(ending.result())
                    await asyncio.sleep(0.05)  # let it arrive before the connection is gone
                    self._cut(request)
                    return
                if not reading.result():
                    return
                await response.write(reading.result())
                reading = asyncio.ensure_future(answer.content.readany())
        except (ConnectionError, aiohttp.ClientError):
            self._cut(request)
        finally:
            self._ends.discard(end)
            reading.cancel()
            ending.cancel()
            await asyncio.gather(reading, ending, return_exceptions=True)

    @staticmethod
    def _cut(request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
