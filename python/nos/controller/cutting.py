"""Decisions that need a GPU cut first: the GPUNode is written, and the Pod is bound when its agent says that it can be.

Arrives: Pods that the scheduler has assumed on instances, or on a whole GPU, that do not exist yet. Leaves: specs of
GPUNodes, written by compare-and-swap, and Pods to the binder. In flight is kept per node: one that does not answer
holds back only what is to run on it, is given up after a while, and is not cut again until it reports something new.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from nos import _core
from nos.controller.ledger import Ledger, Waiting
from nos.kube.client import MERGE, Client, pause
from nos.kube.errors import ApiError, Unreachable
from nos.kube.gpunode import gpu_node_path, spec_patch, wanted

PATIENCE_S = 30.0  # from the decision until the agent reports that the Pod can run
_LOOK_S = 1.0  # how often patience is looked at

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    waiting: Waiting
    bind: _core.Bind
    until: float


class Cutter:
    """`submit` decisions, `run` sees to them."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        may_write: Callable[[], bool],
        bind: Callable[[Waiting, _core.Bind], None],
        on_cut: Callable[[Waiting, str], None],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._may_write = may_write
        self._bind = bind
        self._on_cut = on_cut
        self._held: dict[str, dict[str, _Held]] = {}  # by node and uid
        self._dirty: dict[str, None] = {}  # nodes whose spec may have to be written, in order
        self._failures: dict[str, int] = {}  # writes that failed in a row
        self._work = asyncio.Event()
        ledger.gpu_nodes.on_report = self._reported

    def submit(self, waiting: Waiting, bind: _core.Bind) -> None:
        """Bind this one when what it is to hold is there."""
        until = asyncio.get_running_loop().time() + PATIENCE_S
        self._held.setdefault(bind.node, {})[waiting.uid] = _Held(waiting, bind, until)
        self._touch(bind.node)
        self._on_cut(waiting, bind.node)

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), _LOOK_S)
            self._give_up(loop.time())
            self._work.clear()
            dirty, self._dirty = self._dirty, {}
            async with asyncio.TaskGroup() as writes:
                for node in dirty:
                    writes.create_task(self._write(node))

    def _touch(self, node: str) -> None:
        self._dirty[node] = None
        self._work.set()

    def _reported(self, node: str) -> None:
        """The node's GPUs or their report changed: who can be bound now?"""

        def look() -> None:
            for uid, held in list(self._held.get(node, {}).items()):
                if not self._ledger.awaits(held.waiting):
                    self._drop(node, uid)
                elif self._ledger.cluster.pod(uid).ready:
                    self._drop(node, uid)
                    self._bind(held.waiting, held.bind)

        if node in self._held:
            self._ledger.edit(look)
            self._touch(node)

    def _drop(self, node: str, uid: str) -> None:
        self._held[node].pop(uid, None)
        if not self._held[node]:
            del self._held[node]

    def _give_up(self, now: float) -> None:
        for node, waiting in list(self._held.items()):
            for uid, held in list(waiting.items()):
                if not self._ledger.awaits(held.waiting):
                    self._drop(node, uid)
                elif now >= held.until:
                    self._drop(node, uid)
                    _log.warning("node %s was not cut within %.0f s; no more is asked of it", node, PATIENCE_S)
                    self._ledger.gpu_nodes.silence(node)
                    self._ledger.defer(held.waiting, 0.5)
                    self._touch(node)

    async def _write(self, node: str) -> None:
        known = self._ledger.gpu_nodes.known.get(node)
        if known is None or not self._may_write():
            return
        targets = await self._targets(node)
        if targets is None or wanted(targets) == known.spec:
            self._failures.pop(node, None)
            return
        spec = wanted(targets)
        body = spec_patch(spec, known.metadata.resource_version)
        try:
            await self._client.request("PATCH", gpu_node_path(node), body=body, content_type=MERGE, attempts=1)
        except (ApiError, Unreachable) as error:
            if isinstance(error, ApiError) and error.status == 404:
                return  # its event comes
            failures = self._failures[node] = self._failures.get(node, 0) + 1
            _log.log(logging.INFO if failures < 4 else logging.WARNING, "GPUNode %s was not written: %s", node, error)
            asyncio.get_running_loop().call_later(pause(failures), self._touch, node)
        else:
            known.spec = spec
            self._failures.pop(node, None)

    async def _targets(self, node: str) -> list[tuple[bool, list[tuple[str, int]]]] | None:
        """None where the node is gone or nos does not cut it."""
        answer: asyncio.Future[list[tuple[bool, list[tuple[str, int]]]] | None] = (
            asyncio.get_running_loop().create_future()
        )

        def read() -> None:
            try:
                answer.set_result(self._ledger.cluster.targets(node) or None)
            except KeyError:
                answer.set_result(None)

        self._ledger.edit(read)
        return await answer
