"""The GPUNode's status, written when what is there has changed.

The kubelet tells nobody when it gives a device to a Pod, takes it back, or learns of one. So it is asked: when we have
reason to think that something changed, and a few times after that, until what we advertise is what it knows.
"""

from __future__ import annotations

import asyncio
import logging
import time

from msgspec.json import encode

from nos.kube import gpunode
from nos.kube.client import MERGE, Client, pause
from nos.kube.errors import ApiError, Unreachable

from .gpus import Gpus, Holders
from .kubelet import KubeletError
from .report import report
from .wanted import WantedSink

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.003, 1.0  # while the kubelet does not know all that we advertise
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

    def wake(self, *, again: bool = False) -> None:
        """Look, and write what is new. again: and a few times later."""
        self._news.set()
        if again:
            for seconds in _AGAIN_S:
                asyncio.get_running_loop().call_later(seconds, self._news.set)

    async def run(self) -> None:
        """Write until cancelled."""
        failures, look = 0, _FIRST_LOOK_S
        while True:
            await self._news.wait()
            self._news.clear()
            trouble = await self._ask_kubelet()
            if self._holders is None:  # who holds what is not known yet, and nothing may be said to be free
                asyncio.get_running_loop().call_later(look, self._news.set)
                look = min(2 * look, _LONGEST_LOOK_S)
                continue
            try:
                await self._write(trouble)
                failures = 0
            except (ApiError, Unreachable) as error:
                failures += 1
                level = logging.INFO if failures < 4 else logging.WARNING
                _log.log(level, "the status of GPUNode %s was not written: %s", self._node, error)
                asyncio.get_running_loop().call_later(pause(failures), self._news.set)
            if trouble or not self._advertised() <= self._holders.known:
                asyncio.get_running_loop().call_later(look, self._news.set)
                look = min(2 * look, _LONGEST_LOOK_S)
            else:
                look = _FIRST_LOOK_S

    async def _ask_kubelet(self) -> str:
        """Why it does not answer; empty when it did. Who held what is taken to hold it still."""
        try:
            self._holders = await self._gpus.holders()
        except KubeletError as error:
            if self._holders is not None:
                self._holders = Holders(frozenset(), self._holders.held)
            return str(error)
        return ""

    def _advertised(self) -> set[str]:
        return set().union(*self._gpus.plugins.advertised().values())

    async def _write(self, trouble: str) -> None:
        if self._wanted.missing:
            await self._create()
        assert self._holders is not None
        status = report(
            self._gpus,
            self._holders,
            self._wanted.problems,
            generation=self._wanted.observed,
            trouble=trouble,
            before=self._written,
        )
        if status == self._written:
            return
        began = time.perf_counter()
        path = f"{gpunode.gpu_node_path(self._node)}/status"
        try:
            await self._client.request("PATCH", path, body=encode({"status": status}), content_type=MERGE, attempts=1)
        except ApiError as error:
            if error.status == 404:
                self._wanted.missing = True
            raise
        self._written = status
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
