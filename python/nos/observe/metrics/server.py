"""/metrics over TLS, for whoever has a token of the cluster and there the right to `get` /metrics."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from nos.kube.client import Client
from nos.observe.access import ByToken
from nos.observe.certificate import Certificate, self_signed
from nos.observe.listening import listening

# Of an Accept header: the metrics in the format that it prefers, and its content type.
Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serve(address: str, cert_file: str, key_file: str, client: Client, scrape: Scrape) -> AsyncIterator[str]:
    """Serve on host:port; yields the address that it got (for port 0). cert_file, key_file: PEM, read anew when they
    change; empty: nobody has signed the certificate. client: for the API server, which is asked who may. Raises
    ConfigError."""
    door, answer = ByToken(client, "/metrics", "nos-metrics-reader"), answering(scrape)

    async def guarded(request: web.Request) -> web.StreamResponse:
        await door(request)
        return await answer(request)

    application = web.Application()
    application.router.add_get("/metrics", guarded)
    named = f"metrics.address {address}", "--metrics-address"
    async with _tls(cert_file, key_file) as tls, listening(application, address, named, tls) as got:
        _log.info("metrics on https://%s/metrics", got)
        yield got


def answering(scrape: Scrape) -> Handler:
    """What answers with the metrics."""

    async def answer(request: web.Request) -> web.Response:
        body, content_type = await scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer


@asynccontextmanager
async def _tls(cert_file: str, key_file: str) -> AsyncIterator[ssl.SSLContext]:
    if not cert_file:
        yield await asyncio.to_thread(self_signed, "metrics")
        return
    certificate = Certificate("metrics", cert_file, key_file)
    renewing = asyncio.create_task(certificate.renew())
    try:
        yield certificate.context
    finally:
        renewing.cancel()
