"""The agent's front to the network: a process that may nothing beside it, so that the privileged one listens to nobody.

Kubelets ask here how the agent is, and Prometheus for its metrics; both are fetched from the agent's socket, which is a
file that the two share. What goes to the agent are the requests that we make, never those that came.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from nos.kube.access import Access
from nos.kube.client import Client
from nos.observe.listening import UNIX, listening
from nos.observe.metrics.server import answering
from nos.observe.metrics.server import serve as serve_metrics

_PATIENCE_S = 4.0  # kubelets wait for 5
_AT_ONCE = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the command line says. agent: its health address, unix:PATH. metrics_address: host:port for TLS and tokens;
    empty: metrics are at the health address, for whoever reaches it."""

    agent: str
    health_address: str
    metrics_address: str = ""
    cert_file: str = ""
    key_file: str = ""
    kubeconfig: str | None = None
    context: str | None = None


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises ConfigError for what the user must correct."""
    return asyncio.run(_main(settings))


async def _main(settings: Settings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings) as served:
        _log.info("health on %s", served.health)
        await stop.wait()
    return 0


class Served(NamedTuple):
    """The addresses that were had (for port 0). metrics: empty where they are at the health address."""

    health: str
    metrics: str


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Served]:
    """Serve, until the context is left. Raises ConfigError."""
    connector = aiohttp.UnixConnector(settings.agent.removeprefix(UNIX), limit=_AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        contextlib.AsyncExitStack() as up,
    ):
        application = web.Application()
        application.router.add_get("/livez", _alive)
        for path in ("/livez", "/readyz"):
            application.router.add_get(f"/agent{path}", _of_agent(session, path))
        metrics = ""
        if settings.metrics_address:
            client = await up.enter_async_context(Client(Access.load(settings.kubeconfig, settings.context)))
            files = settings.cert_file, settings.key_file
            scrape = partial(_scraped, session)
            metrics = await up.enter_async_context(serve_metrics(settings.metrics_address, *files, client, scrape))
        else:
            application.router.add_get("/metrics", answering(partial(_scraped, session)))
        named = f"health address {settings.health_address}", "--health-address"
        health = await up.enter_async_context(listening(application, settings.health_address, named))
        yield Served(health, metrics)


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _of_agent(session: aiohttp.ClientSession, path: str) -> Handler:
    async def ask(_: web.Request) -> web.Response:
        async with _asked(session, path) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    return ask


async def _scraped(session: aiohttp.ClientSession, accept: str) -> tuple[bytes, str]:
    async with _asked(session, "/metrics", accept) as answer:
        answer.raise_for_status()
        return await answer.read(), answer.headers["Content-Type"]


@contextlib.asynccontextmanager
async def _asked(session: aiohttp.ClientSession, path: str, accept: str = "") -> AsyncIterator[aiohttp.ClientResponse]:
    """What the agent answers. Raises 503 where it does not."""
    try:
        async with session.get(f"http://agent{path}", headers={"Accept": accept} if accept else {}) as answer:
            yield answer
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.warning("the agent does not answer %s: %r", path, error)
        raise web.HTTPServiceUnavailable(text="the agent does not answer; the log of its front has why\n") from None
