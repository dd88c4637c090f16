"""Connections that are closed when they are said to be.

aiohttp ends a TLS connection in the middle of an answer politely, and forgets it: a session may be closed, and its loop
end, before such a one is. What is left then is a warning at best.
"""

import asyncio
import contextlib
import socket
from weakref import WeakSet

import aiohttp

_CLOSING_S = 1.0  # how long the other side may take to say goodbye


class Connector(aiohttp.TCPConnector):
    """For one ClientSession. limit: connections at a time; 0: any number."""

    def __init__(self, *, limit: int, keepalive_timeout: float = 75.0) -> None:
        super().__init__(
            limit=limit, keepalive_timeout=keepalive_timeout, ttl_dns_cache=30, socket_factory=self._socket
        )
        self._sockets = WeakSet[socket.socket]()

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all, those that aiohttp has forgotten too, and wait for it a second at most."""
        await super().close(abort_ssl=abort_ssl)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                while any(one.fileno() >= 0 for one in self._sockets):  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(0.001)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made
