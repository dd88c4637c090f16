"""A Lease whose renewals are answered late, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from nos.kube.client import Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.lease import Lease, LeaseLost


class Server:
    """An API server with one Lease, that does not answer renewals from when it is told so until `late` is set."""

    def __init__(self) -> None:
        self.silent = False
        self.late = asyncio.Event()

    async def request(self, method: str, _: str, *, body: bytes = b"", timeout: float, **__: Any) -> bytes:
        if method == "GET":
            raise ApiError(404, "NotFound", "no such lease")
        if method == "PUT" and self.silent and not self.late.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self.late.wait()
                return body
            raise Unreachable("no answer in time")
        return body


def test_a_lease_that_was_not_held_for_a_moment_is_lost() -> None:
    """Also when the last renewal is accepted after all: who asked meanwhile was told that we may not act."""

    async def run() -> None:
        server = Server()
        limits = {"lease_duration": 3.0, "renew_deadline": 0.6, "retry_period": 0.1}
        lease = Lease(cast(Client, server), "ns", "lease", "me", **limits)
        await lease.acquire()
        server.silent = True
        holding = asyncio.create_task(lease.hold())
        async with asyncio.timeout(20):
            while lease.held:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        server.late.set()
        with pytest.raises(LeaseLost, match="could not be renewed in time"):
            async with asyncio.timeout(20):
                await holding
        assert not lease.held

    asyncio.run(run())


def test_one_that_is_renewed_in_time_is_kept() -> None:
    async def run() -> None:
        server = Server()
        limits = {"lease_duration": 30.0, "renew_deadline": 20.0, "retry_period": 0.05}
        lease = Lease(cast(Client, server), "ns", "lease", "me", **limits)
        await lease.acquire()
        holding = asyncio.create_task(lease.hold())
        server.silent = True
        await asyncio.sleep(0.2)  # a renewal waits for its answer
        server.late.set()
        await asyncio.sleep(0.2)
        assert lease.held
        assert not holding.done()
        holding.cancel()

    asyncio.run(run())
