"""Leader election on a coordination.k8s.io Lease: of several controllers, one may bind.

Arrives: what the Lease says. Leaves: `acquire` returns when we hold it, `hold` renews and raises LeaseLost when we no
longer do, `held` tells at any instant. Held means: less than `renew_deadline` seconds ago we *began* a renewal that the
API server accepted; others may take over `lease_duration` after they saw it. So for the difference of the two (5 s of
15 and 10) nobody holds it, and that is the time a request that was already sent has to come to its end.

Guaranteed, as far as local clocks run at the same speed: two processes do not hold it at once. Only durations on our
own clock count, one that goes on while the machine is suspended; nobody's wall clock is believed.
"""

import asyncio
import logging
import random
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from nos.kube.client import Client
from nos.kube.errors import ApiError, Unreachable

_log = logging.getLogger(__name__)


class LeaseLost(Exception):  # noqa: N818
    """We may not act any more."""


class Lease:
    """Our claim on one Lease."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
    ) -> None:
        if not lease_duration > renew_deadline > 2 * retry_period > 0:
            raise ValueError("a lease needs lease_duration > renew_deadline > 2 x retry_period > 0")
        self._client = client
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._namespace, self._name, self._identity = namespace, name, identity
        self._duration, self._deadline, self._retry = lease_duration, renew_deadline, retry_period
        self._lease: dict[str, Any] = {}  # as the API server has it, all fields kept
        self._observed_at = -float("inf")  # when its spec last changed, on our clock
        self._until = -float("inf")  # we hold it until then, on our clock

    @property
    def held(self) -> bool:
        """True while we may act. Ask right before each act."""
        return _now() < self._until

    @property
    def remaining(self) -> float:
        """Seconds until it is not held any more, should it not be renewed; 0 where it is not held."""
        return max(0.0, self._until - _now())

    async def acquire(self) -> None:
        """Wait until we hold the Lease."""
        told = ""
        while True:
            try:
                if await self._claim(timeout=self._deadline / 2):
                    _log.info("leading as %s", self._identity)
                    return
                news = f"waiting: {self._spec.get('holderIdentity') or 'nobody'} leads"
            except ApiError as error:
                missing = f"; does the namespace {self._namespace} exist?" if error.status == 404 else ""
                news = f"cannot take the lease {self._namespace}/{self._name}: {error}{missing}"
            except Unreachable as error:
                news = f"cannot reach the API server: {error}"
            if news != told:
                _log.info(news)
                told = news
            await asyncio.sleep(self._retry * random.uniform(1.0, 1.2))

    async def hold(self) -> None:
        """Renew until cancelled; LeaseLost at the latest when the renew deadline has passed."""
        while True:
            until = self._until
            await asyncio.sleep(min(self._retry, max(0.0, until - _now())))
            try:
                # Not past the deadline: a renewal that is accepted later counts from its beginning anyway.
                await self._claim(timeout=max(0.1, min(self._deadline / 2, self._until - _now())))
            except (ApiError, Unreachable) as error:
                _log.warning("the lease was not renewed, trying again: %s", error)
            holder = self._spec.get("holderIdentity")
            if holder != self._identity:
                self._until = -float("inf")
                raise LeaseLost(f"the lease {self._namespace}/{self._name} was taken by {holder or 'nobody'}")
            if _now() >= until:  # also where it is renewed by now: who asked in between has given up
                self._until = -float("inf")
                raise LeaseLost(f"the lease {self._namespace}/{self._name} could not be renewed in time")

    async def release(self) -> None:
        """Let go, so that the next need not wait. Call it when nothing of ours is in flight any more."""
        if not self.held:
            return
        self._until = -float("inf")
        try:
            if not await self._lets_go():  # a renewal that was cancelled half way got through all the same
                await self._read(self._deadline / 2)
                if self._spec.get("holderIdentity") == self._identity:
                    await self._lets_go()
        except (ApiError, Unreachable) as error:
            _log.info("the lease was not released, it runs out by itself: %s", error)

    async def _lets_go(self) -> bool:
        return await self._put_if_unchanged({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _wall()})

    @property
    def _spec(self) -> dict[str, Any]:
        spec = self._lease.get("spec")
        return spec if isinstance(spec, dict) else {}

    async def _claim(self, *, timeout: float) -> bool:
        """One try to take or renew the Lease."""
        began = _now()
        try:
            async with asyncio.timeout(timeout * 2):
                ours = self._spec.get("holderIdentity") == self._identity
                if not ours or not await self._put_if_unchanged({"renewTime": _wall()}, timeout):
                    await self._read(timeout)
                    if not self._is_free() or not await self._take(timeout):
                        return False
        except TimeoutError:
            raise Unreachable("no answer in time") from None
        self._until = began + self._deadline
        return True

    async def _put_if_unchanged(self, changes: dict[str, Any], timeout: float | None = None) -> bool:
        """False where somebody else wrote the Lease since we last saw it, or deleted it."""
        try:
            await self._put(self._spec | changes, timeout or self._deadline / 2)
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    async def _take(self, timeout: float) -> bool:
        spec, ours = self._spec, self._spec.get("holderIdentity") == self._identity
        transitions = int(spec.get("leaseTransitions") or 0)
        claim = spec | {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._duration),
            "acquireTime": spec.get("acquireTime") if ours else _wall(),
            "renewTime": _wall(),
            "leaseTransitions": transitions if ours or not self._lease else transitions + 1,
        }
        try:
            if self._lease:
                await self._put(claim, timeout)
            else:
                await self._create(claim, timeout)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _is_free(self) -> bool:
        holder = self._spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        duration = float(self._spec.get("leaseDurationSeconds") or self._duration)
        return _now() >= self._observed_at + duration

    async def _read(self, timeout: float) -> None:
        before = self._spec
        try:
            body = await self._client.request("GET", f"{self._collection}/{self._name}", timeout=timeout, attempts=1)
        except ApiError as error:
            if error.status != 404:
                raise
            self._lease = {}
            return
        self._lease = _decode(body)
        if self._spec != before:
            self._observed_at = _now()

    async def _put(self, spec: dict[str, Any], timeout: float) -> None:
        body = msgspec.json.encode(self._lease | {"spec": spec})
        path = f"{self._collection}/{self._name}"
        self._lease = _decode(await self._client.request("PUT", path, body=body, timeout=timeout, attempts=1))

    async def _create(self, spec: dict[str, Any], timeout: float) -> None:
        metadata = {"name": self._name, "namespace": self._namespace}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        body = msgspec.json.encode(lease)
        answer = await self._client.request("POST", self._collection, body=body, timeout=timeout, attempts=1)
        self._lease = _decode(answer)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Unreachable(f"an answer that makes no sense: {error}") from None


def _now() -> float:
    """Seconds that nothing sets back, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _wall() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
