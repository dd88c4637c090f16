"""The dashboard over HTTP: the page, the cluster as JSON, and what changes as server-sent events.

Everything is read-only. The page itself holds nothing of the cluster, so it needs no token; it asks for one where the
API wants it. What the browser may do with the page is as little as it needs: nothing from elsewhere, no inline script.
"""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from nos.observe.access import HOLDS_S, Door
from nos.observe.dashboard.feed import Feed
from nos.observe.listening import listening
from nos.record.codec import last_line

_STATIC = Path(__file__).with_name("static")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_MOST_WATCHERS = 64
_MOST_RECORDERS = 4
_CLOSE_S = 2.0
_PATIENCE_S = 30.0  # with one who reads nothing


class Recording(NamedTuple):
    """What is on record from now on, as whole lines, and who may have it."""

    record: Callable[[], AsyncGenerator[bytes, None]]
    door: Door


@asynccontextmanager
async def serve(
    address: str, feed: Feed, door: Door, tls: ssl.SSLContext | None = None, recording: Recording | None = None
) -> AsyncIterator[str]:
    """Serve on host:port; yields the address that it got (for port 0). Raises ConfigError where it cannot be had."""
    application = web.Application(middlewares=[_guarded(door, recording.door if recording else door)])
    for path, handler in _pages().items():
        application.router.add_get(path, handler)
    application.router.add_get("/api/state", _state(feed))
    watchers: set[asyncio.Task[object]] = set()
    application.router.add_get("/api/events", _events(feed, door, watchers))
    if recording:
        application.router.add_get("/api/record", _record(recording, watchers))
    application.on_shutdown.append(_ending(watchers))
    named = f"dashboard.address {address}", "--dashboard-address"
    async with listening(application, address, named, tls, patience=_CLOSE_S) as got:
        yield got


def _guarded(door: Door, recording: Door) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path == "/api/record":
                await recording(request)
            elif request.path.startswith("/api/"):
                await door(request)
            return await handler(request)
        except web.HTTPException as refusal:
            refusal.headers.update(_HEADERS | {"Cache-Control": "no-store"})
            raise

    return guard


def _pages() -> dict[str, Handler]:
    """By path, the files that make the page."""
    pages = {f"/{file.name}": _page(file) for file in sorted(_STATIC.iterdir()) if file.suffix in _TYPES}
    return pages | {"/": pages.pop("/index.html")}


def _page(file: Path) -> Handler:
    body = file.read_bytes()
    tag = _tag(body)
    # A browser asks each time whether it still has the right one: a controller that was upgraded serves another.
    headers = _HEADERS | {"Content-Type": _TYPES[file.suffix], "Cache-Control": "no-cache", "ETag": f'"{tag}"'}

    async def page(request: web.Request) -> web.Response:
        if any(one.value == tag for one in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    return page


def _tag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _state(feed: Feed) -> Handler:
    async def state(_: web.Request) -> web.Response:
        headers = _HEADERS | {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return web.Response(body=await feed.state(), headers=headers)

    return state


def _ending(watchers: set[asyncio.Task[object]]) -> Callable[[web.Application], Awaitable[None]]:
    async def end(_: web.Application) -> None:
        for watcher in watchers:  # else they would be waited for
            watcher.cancel()

    return end


def _events(feed: Feed, door: Door, watchers: set[asyncio.Task[object]]) -> Handler:
    tag = _tag(b"".join(file.read_bytes() for file in sorted(_STATIC.iterdir())))  # a page of another is told by it

    async def events(request: web.Request) -> web.StreamResponse:
        if len(watchers) >= _MOST_WATCHERS:
            raise web.HTTPServiceUnavailable(text=f"{len(watchers)} watch already\n", headers={"Retry-After": "10"})
        headers = _HEADERS | {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Nos-Page": tag}
        response = web.StreamResponse(headers=headers)
        clock = asyncio.get_running_loop().time
        watcher = asyncio.current_task()
        assert watcher is not None
        watchers.add(watcher)
        try:
            await response.prepare(request)
            judge_at = clock() + HOLDS_S
            async with aclosing(feed.watch()) as stream:
                async for event in stream:
                    if clock() >= judge_at:
                        await door(request)  # he may have lost the right to it
                        judge_at = clock() + HOLDS_S
                    async with asyncio.timeout(_PATIENCE_S):
                        await response.write(event)
        except (ConnectionResetError, TimeoutError, web.HTTPException):
            pass  # he has gone, or has to
        finally:
            watchers.discard(watcher)
        return response

    return events


def _record(recording: Recording, watchers: set[asyncio.Task[object]]) -> Handler:
    recorders: set[asyncio.Task[object]] = set()

    async def record(request: web.Request) -> web.StreamResponse:
        if len(recorders) >= _MOST_RECORDERS:
            raise web.HTTPServiceUnavailable(text=f"{len(recorders)} record already\n", headers={"Retry-After": "10"})
        response = web.StreamResponse(
            headers=_HEADERS | {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
        )
        clock = asyncio.get_running_loop().time
        task = asyncio.current_task()
        assert task is not None
        recorders.add(task)
        watchers.add(task)
        try:
            await response.prepare(request)
            judge_at = clock() + HOLDS_S
            async with aclosing(recording.record()) as stream:
                async for lines in stream:
                    if clock() >= judge_at:
                        await recording.door(request)  # he may have lost the right to it
                        judge_at = clock() + HOLDS_S
                    async with asyncio.timeout(_PATIENCE_S):
                        await response.write(lines)
        except ConnectionResetError:
            pass  # he has gone
        except TimeoutError:
            await _last(response, f"the reader was too slow: nothing was read for {_PATIENCE_S:g} s")
        except web.HTTPException as refusal:
            await _last(response, f"the right to it was lost: {(refusal.text or refusal.reason).strip()}")
        except asyncio.CancelledError:
            await _last(response, "the controller stops, or leads no more")
            raise
        finally:
            recorders.discard(task)
            watchers.discard(task)
        return response

    return record


async def _last(response: web.StreamResponse, why: str) -> None:
    with suppress(ConnectionResetError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S / 2):
            await response.write(last_line(why))
