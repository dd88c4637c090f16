"""/livez and /readyz for the kubelet.

/livez answers 200 as long as the event loop turns. /readyz answers 200 when the process can do its part, as a
controller that leads and knows the cluster, or stands by; else 503 with the reason in words.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from nos.observe.listening import listening
from nos.observe.metrics.server import Scrape, answering


@asynccontextmanager
async def serve(address: str, not_ready: Callable[[], str], scrape: Scrape | None = None) -> AsyncIterator[str]:
    """Serve on host:port or unix:PATH; yields the address that it got (for port 0). not_ready: why not, or an empty
    string. scrape: if /metrics is to be here too, for whoever asks. Raises ConfigError."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        why = not_ready()
        return web.Response(text=f"{why}\n", status=503) if why else web.Response(text="ok\n")

    application = web.Application()
    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    if scrape:
        application.router.add_get("/metrics", answering(scrape))
    async with listening(application, address, (f"healthAddress {address}", "--health-address")) as got:
        yield got
