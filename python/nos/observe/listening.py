"""An application at an address: host:port, or unix:PATH for those who have the file."""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from nos.kube.errors import ConfigError

UNIX = "unix:"


@asynccontextmanager
async def listening(
    application: web.Application,
    address: str,
    named: tuple[str, str],
    tls: ssl.SSLContext | None = None,
    *,
    patience: float = 60.0,
) -> AsyncIterator[str]:
    """Serve it; yields the address that it got (for port 0). named: what the user calls the address, and the flag for
    another. patience: seconds for requests in flight at the end. Raises ConfigError where the address cannot be had."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=patience)
    await runner.setup()
    try:
        try:
            if address.startswith(UNIX):
                path = address.removeprefix(UNIX)
                await web.UnixSite(runner, path).start()
                os.chmod(path, 0o666)  # its folder says who may have it
                got = address
            else:
                host, _, port = address.rpartition(":")
                await web.TCPSite(runner, host.strip("[]") or None, int(port), ssl_context=tls).start()
                name, number = runner.addresses[0][:2]
                got = f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
        except (OSError, OverflowError, ValueError) as error:
            raise ConfigError(f"{named[0]}: {error}; choose another with {named[1]}") from None
        yield got
    finally:
        await runner.cleanup()
