"""status.nominatedNodeName of Pods for whom room is made: others keep off it, and a restart finds it again.

Arrives: after each cycle the Pods that are held, and where. Leaves: the name on those, and its absence on those that
are held no more and were not bound. A nomination that somebody else has made is his to take back.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from nos.controller.ledger import Ledger
from nos.controller.waiting import State, Waiting
from nos.kube.client import STRATEGIC_MERGE, Client, pause
from nos.kube.encode import pod_path
from nos.kube.errors import ApiError, Unreachable
from nos.kube.eviction import nomination

_IN_FLIGHT = 8
_log = logging.getLogger(__name__)


class Nominations:
    """`held` takes note, `run` writes."""

    def __init__(self, client: Client, ledger: Ledger, *, may_write: Callable[[], bool]) -> None:
        self._client = client
        self._ledger = ledger
        self._may_write = may_write
        self._wanted: dict[str, str] = {}  # nodes, by uid
        self._made: dict[str, str] | None = None  # likewise, those that are ours; None before the first cycle
        self._due: dict[str, None] = {}  # uids, in order
        self._writing: set[str] = set()
        self._work = asyncio.Event()

    def held(self, held: Iterable[tuple[str, str]]) -> None:
        """Room is made for these, and for nobody else."""
        waiting = self._ledger.waiting
        if self._made is None:  # what we find was made by the one who led before us
            self._made = {uid: pod.nominated for uid, pod in waiting.items() if pod.nominated}
        self._wanted = dict(held)
        self._made = {uid: node for uid, node in self._made.items() if uid in waiting}
        for uid in {**self._made, **self._wanted}:
            if self._is_due(uid):
                self._due[uid] = None
        if self._due:
            self._work.set()

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(_IN_FLIGHT):
                workers.create_task(self._worker())

    def _is_due(self, uid: str) -> bool:
        waiting = self._ledger.waiting.get(uid)
        if waiting is None or waiting.state is State.BINDING:
            return False
        wanted = self._wanted.get(uid, "")
        is_ours = self._made is not None and self._made.get(uid) == waiting.nominated
        return waiting.nominated != wanted and bool(wanted or is_ours)

    async def _worker(self) -> None:
        while True:
            uid = next((uid for uid in self._due if uid not in self._writing), None)
            if uid is None:
                self._work.clear()
                await self._work.wait()
                continue
            del self._due[uid]
            self._writing.add(uid)
            try:
                while self._may_write() and self._is_due(uid):
                    if await self._write(self._ledger.waiting[uid]):
                        break
            finally:
                self._writing.discard(uid)

    async def _write(self, waiting: Waiting) -> bool:
        """Whether that was all there is to do."""
        node = self._wanted.get(waiting.uid, "")
        path = pod_path(waiting.namespace, waiting.name, "status")
        body = nomination(waiting.uid, node)
        try:
            await self._client.request("PATCH", path, body=body, content_type=STRATEGIC_MERGE, attempts=1)
        except ApiError as error:
            if error.may_pass:
                await asyncio.sleep(pause(1, error.retry_after))
                return False
            if error.status not in (404, 409):  # the Pod is gone, then; another may have its name
                _log.warning("Pod %s/%s was not nominated: %s", waiting.namespace, waiting.name, error)
            return True
        except Unreachable:
            await asyncio.sleep(pause(1))
            return False
        waiting.nominated = node
        if self._made is not None:
            self._made[waiting.uid] = node
        return not self._is_due(waiting.uid)
