"""What is said of quotas: their status, and of their Pods that they are in or over it.

Arrives: what is used under the quotas that changed, from the core, after each cycle and every second; what became of
each quota when all were resolved. Leaves: the status of those where it differs, each at most once a second, and labels
(`Capacities`). These writes trickle while Bindings are sent.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine

from msgspec import DecodeError

from nos.controller.capacity import Capacities
from nos.controller.ledger import Ledger
from nos.controller.pace import Pace
from nos.kube.client import MERGE, Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.quota import Quota, quota_path
from nos.kube.quota_status import NO_USE, Use, differs, status, status_patch

_LOOK_S = 1.0

_log = logging.getLogger(__name__)


class QuotaReporter:
    """`look` takes note, `run` writes."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        capacities: Capacities,
        *,
        may_write: Callable[[], bool],
        pace: Pace,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._capacities = capacities
        self._may_write = may_write
        self._pace = pace
        self.uses: dict[str, Use] = {}  # by the core's names of the quotas
        self._changed: dict[str, None] = {}  # since the last look at the clock, in order
        self._due: dict[str, None] = {}
        ledger.quotas.resolved = self._resolved
        self._resolved(())

    def look(self) -> None:
        """Ask the core what has changed. Nobody else may be in it."""
        cluster = self._ledger.cluster
        for name in cluster.changed_quotas():
            if name not in self._ledger.quotas.counted:  # its removal waits for the end of the cycle
                continue
            try:
                state = cluster.quota(name)
            except KeyError:
                continue
            self.uses[name] = Use(state.used, state.min, state.max)
            self._changed[name] = None
            self._capacities.refresh(name, state.capacities())

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._pace.write(self._next))
            while True:
                self._ledger.edit(self.look)
                self._due |= self._changed
                self._changed.clear()
                await asyncio.sleep(_LOOK_S)

    def _resolved(self, moved: Collection[str]) -> None:
        counted = self._ledger.quotas.counted
        self.uses = {name: use for name, use in self.uses.items() if name in counted}
        self._changed |= dict.fromkeys(self._ledger.quotas.verdicts)
        self._capacities.moved(moved)

    def _next(self) -> Coroutine[None, None, None] | None:
        if not self._may_write():
            return None
        while self._due:
            name = next(iter(self._due))
            del self._due[name]
            quota, verdict = self._ledger.quotas.find(name), self._ledger.quotas.verdicts.get(name)
            if quota and verdict:
                _, ready, reason, message = verdict
                use = self.uses.get(name, NO_USE)
                wanted = status(quota, use, ready=ready, reason=reason, message=message)
                if differs(quota, wanted):
                    return self._write(quota, status_patch(quota, wanted))
        return self._capacities.due()

    async def _write(self, quota: Quota, body: bytes) -> None:
        path = quota_path(quota, "status")
        try:
            answer = await self._client.request("PATCH", path, body=body, content_type=MERGE, attempts=2)
            self._ledger.quotas.written(quota, answer)
        except ApiError as error:
            if error.status == 409 or error.may_pass:  # it has changed; its event tells how
                self._changed[quota.name] = None
            elif error.status != 404:
                _log.warning("the status of %s: %s", quota.name, error)
        except (Unreachable, DecodeError):
            self._changed[quota.name] = None
