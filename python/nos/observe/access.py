"""Who may look.

On a loopback address everybody who is on the machine, but no page from elsewhere: a browser there may be told that an
attacker's name has this address, so the Host must be a name of the machine itself. On any other address whoever has a
token of the cluster and there the right to `get` a path such as /dashboard. What the API server said of a token holds
for a minute.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from nos.kube.client import Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.reviews import may, whose

Door = Callable[[web.Request], Awaitable[None]]  # raises an HTTPException for who may not look

HOLDS_S = 60.0
_MOST_KNOWN, _MOST_ASKING, _AT_ONCE = 1_000, 64, 4

_log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    host = host.strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def at_home(request: web.Request) -> None:
    """Everybody, if it is this machine that he speaks to."""
    try:
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        host = ""
    if not is_loopback(host):
        raise web.HTTPForbidden(text="the Host must be localhost, or an address such as 127.0.0.1\n")


class _Verdict(NamedTuple):
    until: float  # time.monotonic
    refusal: str  # empty: he may look
    is_known: bool  # whose token it is


class ByToken:
    """Whoever has the right to it in the cluster."""

    def __init__(self, client: Client, path: str, role: str) -> None:
        """path: what he has to have the right to `get`. role: the one that has it."""
        self._client = client
        self._path, self._role = path, role
        self._known: OrderedDict[bytes, _Verdict] = OrderedDict()  # by the hash of the token
        self._asking = 0
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, request: web.Request) -> None:
        """Raises 401, 403, or 503 where it cannot be told."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("a Bearer token of the cluster is needed")
        key = hashlib.sha256(token.encode()).digest()
        verdict = self._known.get(key)
        if verdict is None or verdict.until < time.monotonic():
            verdict = await self._judged(token)
            self._known[key] = verdict
            self._known.move_to_end(key)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        if not verdict.is_known:
            raise _unauthorized(verdict.refusal)
        if verdict.refusal:
            raise web.HTTPForbidden(text=f"{verdict.refusal}\n")

    async def _judged(self, token: str) -> _Verdict:
        if self._asking >= _MOST_ASKING:
            raise web.HTTPServiceUnavailable(text="too many ask at once; try again\n", headers={"Retry-After": "1"})
        self._asking += 1
        try:
            async with self._turns:
                user = await whose(self._client, token)
                refusal = "" if user else "this token is not valid in this cluster"
                if user and not await may(self._client, user, "get", self._path):
                    refusal = f"{user.username} may not get {self._path} in this cluster; bind {self._role} to it"
        except (ApiError, Unreachable) as error:
            _log.warning("who may get %s is not known: %s", self._path, error)
            why = "the API server cannot be asked who may look; the log of nos has its answer\n"
            raise web.HTTPServiceUnavailable(text=why, headers={"Retry-After": "5"}) from None
        finally:
            self._asking -= 1
        return _Verdict(time.monotonic() + HOLDS_S, refusal, user is not None)


def _unauthorized(why: str) -> web.HTTPUnauthorized:
    return web.HTTPUnauthorized(text=f"{why}\n", headers={"WWW-Authenticate": 'Bearer realm="nos"'})
