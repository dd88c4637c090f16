"""Requests to the API server over kept-alive connections.

In comes a method, a path and a body; out comes the body of a 2xx answer as bytes, or ApiError (the server said no) or
Unreachable (nobody said anything). Every body is read to its end, for a connection with an unread one is lost and the
next request pays a TLS handshake. 429, 5xx and lost connections are tried again a bounded number of times, with
jitter, no sooner than Retry-After asks. Every request that nos makes may safely be made twice: reads, writes under a
resourceVersion or uid precondition, creations under a name of ours.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from nos.kube.access import Access
from nos.kube.connector import Connector
from nos.kube.errors import ApiError, Unreachable
from nos.kube.resource import resource_of

JSON = "application/json"
STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_RETRY_AFTER_S = 0.2, 5.0, 30.0


class _Cause(Struct):
    reason: str = ""


class _Details(Struct):
    causes: tuple[_Cause, ...] | None = None


class _Status(Struct):
    reason: str = ""
    message: str = ""
    details: _Details | None = None


_status = Decoder(_Status).decode


class Client:
    """An async context manager; one per process and API server."""

    def __init__(self, access: Access, *, connections: int = 128, timeout: float = 10.0) -> None:
        self._access = access
        self._connections = connections
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        # Told of each answer: verb, resource, status (empty: none came) and seconds.
        self.answered: Callable[[str, str, str, float], None] | None = None

    async def __aenter__(self) -> "Client":
        # Watches hold a connection each for minutes and are few; the limit is there for bursts of writes.
        connector = Connector(limit=self._connections)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"Accept": JSON, "User-Agent": "nos-controller", "Accept-Encoding": "identity"},
            skip_auto_headers=("Content-Type",),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        timeout: float | None = None,
        attempts: int = 4,
    ) -> bytes:
        """The body of the answer. timeout bounds one attempt, in seconds."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(method, path, body, params, content_type, timeout or self._timeout)
            except ApiError as error:
                if error.status == 401 and attempt == 1:
                    await self._access.renew()
                    continue
                if attempt >= attempts or not error.may_pass:
                    raise
                await asyncio.sleep(pause(attempt, error.retry_after))
            except Unreachable:
                if attempt >= attempts:
                    raise
                await asyncio.sleep(pause(attempt))

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], *, idle: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's body in pieces as they come; Unreachable when it is cut or silent for `idle` seconds."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=idle)
        try:
            async with await self._send("GET", path, None, params, JSON, timeout) as response:
                if response.status != 200:
                    error = _refusal(response, await response.read())
                    if error.status == 401:
                        await self._access.renew()
                    raise error
                yield _pieces(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(_describe(error)) from None

    async def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        params: Mapping[str, str] | None,
        content_type: str,
        limit: float,
    ) -> bytes:
        code, began = "", time.perf_counter()
        try:
            async with await self._send(
                method, path, body, params, content_type, aiohttp.ClientTimeout(total=limit)
            ) as response:
                answer = await response.read()
                code = str(response.status)
                if response.status >= 300:
                    raise _refusal(response, answer)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(_describe(error)) from None
        finally:
            if self.answered:
                self.answered(method, resource_of(path), code, time.perf_counter() - began)

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        params: Mapping[str, str] | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        assert self._session is not None, "a Client is used inside its `async with`"
        headers = await self._access.headers()
        if body is not None:
            headers["Content-Type"] = content_type
        return await self._session.request(
            method,
            self._access.server + path,
            data=body,
            params=params,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            **self._access.request_options,
        )


def pause(attempt: int, retry_after: float | None = None) -> float:
    """Seconds to wait after the attempt-th failure: exponential with full jitter, on top of what the server asked."""
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * float(2 ** min(attempt - 1, 10)))
    return random.uniform(0.5, 1.0) * longest + min(retry_after or 0.0, _LONGEST_RETRY_AFTER_S)


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for piece in response.content.iter_any():
        yield piece


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    try:
        status = _status(body)
    except DecodeError:  # a proxy's page, say
        status = _Status(message=body[:200].decode(errors="replace").strip())
    causes = status.details.causes if status.details else None
    return ApiError(
        response.status,
        status.reason,
        status.message or (response.reason or ""),
        _retry_after(response),
        tuple(cause.reason for cause in causes or ()),
    )


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
