"""The GPUNode's status, written when what is there has changed.

The kubelet tells nobody when it gives a device to a Pod, takes it back, or learns of one. So it is asked: when we have
reason to think that something changed, and a few times after that, until what we advertise is what it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from msgspec import DecodeError
from msgspec.json import encode

from nos.kube import gpunode
from nos.kube.client import MERGE, Client, pause
from nos.kube.errors import ApiError, Unreachable

from .gpus import Gpus, Holders
from .kubelet import KubeletError
from .report import report
from .wanted import WantedSink

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.003, 1.0  # while the kubelet does not know all that we advertise
_PATIENCE_S = 0.5  # it has a limit on calls, and refuses what is above it
_AGAIN_S = (0.3, 1.0, 3.0)  # after a Pod came or went: the kubelet takes its time to let go of devices
_log = logging.getLogger(__name__)


class Publisher:
    """`wake` when something may have changed, `run` writes."""

    def __init__(self, client: Client, gpus: Gpus, wanted: WantedSink, node: str) -> None:
        self._client = client
        self._gpus = gpus
        self._wanted = wanted
        self._node = node
        self._news = asyncio.Event()
        self._holders: Holders | None = None  # as the kubelet last told
        self._written: gpunode.Status | None = None
        self._written_to = ""  # the GPUNode's uid
        self._trouble = ""  # why the kubelet does not answer, when that has lasted
        self._silent_since: float | None = None
        self._again: list[asyncio.TimerHandle] = []

    def wake(self, *, again: bool = False) -> None:
        """Look, and write what is new. again: and a few times later."""
        self._news.set()
        if again:
            for timer in self._again:
                timer.cancel()
            loop = asyncio.get_running_loop()
            self._again = [loop.call_later(seconds, self._news.set) for seconds in _AGAIN_S]

    async def run(self) -> None:
        """Write until cancelled."""
        failures, look = 0, _FIRST_LOOK_S
        wait: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()
            self._news.clear()
            wait = None
            await self._ask_kubelet()
            # Until it has answered once, nobody knows who holds what, and nothing may be said to be free.
            if self._holders is not None:
                try:
                    await self._write(self._holders)
                    failures = 0
                except (ApiError, Unreachable, DecodeError) as error:
                    failures += 1
                    level = logging.INFO if failures < 4 else logging.WARNING
                    _log.log(level, "the status of GPUNode %s was not written: %s", self._node, error)
                    wait = pause(failures)
            if self._silent_since or self._holders is None or not self._advertised() <= self._holders.known:
                wait = look if wait is None else min(wait, look)
                look = min(2 * look, _LONGEST_LOOK_S)
            else:
                look = _FIRST_LOOK_S

    async def _ask_kubelet(self) -> None:
        """While it does not answer, who held what is taken to hold it still."""
        now = time.monotonic()
        try:
            self._holders = await self._gpus.holders()
        except KubeletError as error:
            self._silent_since = self._silent_since or now
            if now - self._silent_since < _PATIENCE_S:
                return
            if not self._trouble:
                _log.warning("the kubelet does not answer: %s", error)
            self._trouble = str(error)
            if self._holders is not None:
                self._holders = Holders(frozenset(), self._holders.held)
        else:
            if self._trouble:
                _log.info("the kubelet answers again")
            self._trouble, self._silent_since = "", None

    def _advertised(self) -> set[str]:
        return set().union(*self._gpus.plugins.advertised().values())

    async def _write(self, holders: Holders) -> None:
        if self._wanted.missing:
            await self._create()
        status = report(
            self._gpus,
            holders,
            self._wanted.problems,
            generation=self._wanted.observed,
            trouble=self._trouble,
            before=self._written,
        )
        if status == self._written and self._wanted.uid in ("", self._written_to):
            return
        began = time.perf_counter()
        path = f"{gpunode.gpu_node_path(self._node)}/status"
        try:
            body = encode({"status": status})
            answer = await self._client.request("PATCH", path, body=body, content_type=MERGE, attempts=1)
        except ApiError as error:
            if error.status == 404:
                self._wanted.missing = True
            raise
        self._written, self._written_to = status, gpunode.decode_gpu_node(answer).metadata.uid
        _log.debug("reported %s, %.1f ms", status.cut, (time.perf_counter() - began) * 1e3)

    async def _create(self) -> None:
        """Our GPUNode, which goes when the Node does."""
        body = gpunode.creation(self._node, await self._client.request("GET", f"/api/v1/nodes/{self._node}"))
        try:
            await self._client.request("POST", gpunode.GPU_NODES, body=body)
        except ApiError as error:
            if error.status != 409:
                raise
        self._written = None
        self._wanted.missing = False
