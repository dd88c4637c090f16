"""/livez and /readyz for the kubelet, /metrics for Prometheus.

/livez answers 200 as long as the event loop turns. /readyz answers 200 when the controller can do its part: it leads
and knows the cluster, or it stands by; else 503 with the reason in words.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from nos.kube.errors import ConfigError
from nos.observe.metrics import CONTENT_TYPE, Metrics


@asynccontextmanager
async def serve(address: str, not_ready: Callable[[], str], metrics: Metrics | None = None) -> AsyncIterator[str]:
    """Serve on host:port; yields the address that it got (for port 0). not_ready: why not, or an empty string."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        why = not_ready()
        return web.Response(text=f"{why}\n", status=503) if why else web.Response(text="ok\n")

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text() if metrics else b"", headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    if metrics:
        application.router.add_get("/metrics", scrape)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    host, _, port = address.rpartition(":")
    try:
        try:
            await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        except (OSError, OverflowError) as error:
            raise ConfigError(f"healthAddress {address}: {error}; choose another with --health-address") from None
        yield "{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()
