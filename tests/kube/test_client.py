"""What a client leaves behind: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nos.kube.access import Access
from nos.kube.client import Client
from tests.autoscaler.platform_server import Authority


class Watched:
    """Answers each request with the beginning of a watch that never ends, and says goodbye when it is told to."""

    def __init__(self) -> None:
        self.open = 0
        self.asked = asyncio.Event()
        self.hears = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await self.hears.wait()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await reader.read()
        self.open -= 1
        writer.close()


@contextlib.asynccontextmanager
async def client_of(server: Watched, folder: Path) -> AsyncIterator[Client]:
    authority = Authority(folder, "ca")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server"))
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=tls) as listening:
        port = listening.sockets[0].getsockname()[1]
        where = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.file)}
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": where}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        (folder / "kubeconfig").write_text(json.dumps(config))
        async with Client(Access.load(str(folder / "kubeconfig"))) as client:
            yield client


@pytest.mark.parametrize("how", ["stream", "request"])
def test_what_is_cut_in_the_middle_is_closed_when_the_client_is_left(tmp_path: Path, how: str) -> None:
    async def hear(client: Client, begun: asyncio.Event) -> None:
        if how == "request":
            begun.set()
            await client.request("GET", "/", timeout=60)
        async with client.stream("/", {}, idle=60) as pieces:
            async for _ in pieces:
                begun.set()

    async def run() -> None:
        server = Watched()
        async with client_of(server, tmp_path) as client:
            begun = asyncio.Event()
            hearing = asyncio.create_task(hear(client, begun))
            await begun.wait()
            await server.asked.wait()
            hearing.cancel()
            await asyncio.wait({hearing})
            assert server.open == 1
            asyncio.get_running_loop().call_later(0.05, server.hears.set)
            await client.__aexit__(None, None, None)
            assert server.open == 0

    asyncio.run(run())
