"""PodDisruptionBudgets from their watch, into the core."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nos.controller.store import Store
from nos.kube.budget import Budget

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger

_log = logging.getLogger(__name__)


class Budgets:
    """`store` is the sink."""

    def __init__(self, ledger: Ledger) -> None:
        self.store = Store[Budget](self._told)
        self._ledger = ledger

    def _told(self, before: Budget | None, now: Budget | None) -> None:
        cluster = self._ledger.cluster
        if now is None:
            assert before is not None
            key = before.metadata.key
            self._ledger.edit(lambda: cluster.remove_budget(key))
        elif before is None or (before.spec, before.allowed) != (now.spec, now.allowed):
            try:
                key, selector, allowed = now.metadata.key, now.selector(), now.allowed
            except ValueError as error:
                _log.warning("PodDisruptionBudget %s protects nobody: %s", now.metadata.key, error)
                return
            self._ledger.edit(lambda: cluster.upsert_budget(key, selector, allowed))
        else:
            return
        # More may be evicted now, or fewer: whoever waits for that is looked at again.
        self._ledger.wake(urgent=False)
