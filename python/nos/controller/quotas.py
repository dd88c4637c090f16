"""Quotas of both kinds from their watches, into the core.

What a quota counts for depends on all the others (`quota_claims`), so an edit is resolved together with those that came
with it, and what has changed by it goes to the core. It acts at once: the next cycle goes by it.

The core knows each namespace under one quota and no circle of parents, after every single edit. So where a namespace or
a parent moves from one quota to another it is first taken away, then given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from nos import _core
from nos.controller.quota_claims import Counted, Verdict, resolve
from nos.controller.store import Store
from nos.kube.quota import COMPOSITE, Quota, decode_composite, decode_elastic

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger


class Quotas:
    """Both kinds as they are now, and what became of each."""

    def __init__(self, ledger: Ledger) -> None:
        self.elastic = Store[Quota](self._told)
        self.composite = Store[Quota](self._told)
        self.verdicts: dict[str, Verdict] = {}  # by the core's names of the quotas
        # Told when they may have changed, and of the namespaces that are under another quota now, or none.
        self.resolved: Callable[[Collection[str]], None] = lambda _: None
        self._ledger = ledger
        self._counted: dict[str, Counted] = {}  # what the core has when it has made all edits
        self._quota_of: dict[str, str] = {}  # by namespace
        self._is_due = False

    @property
    def sinks(self) -> tuple[Store[Quota], Store[Quota]]:
        """See nos.kube.watch.Sink."""
        return self.elastic, self.composite

    @property
    def counted(self) -> Collection[str]:
        """The core's names of those that count."""
        return self._counted.keys()

    def find(self, name: str) -> Quota | None:
        """The quota that the core knows by that name."""
        kind, _, key = name.partition(" ")
        return (self.composite if kind == COMPOSITE else self.elastic).known.get(key)

    def written(self, quota: Quota, answer: bytes) -> None:
        """The API server took our report on a quota, and answered with the object."""
        if quota.kind == COMPOSITE:
            self.composite.changed(decode_composite(answer))
        else:
            self.elastic.changed(decode_elastic(answer))

    def of(self, namespace: str) -> str:
        """The core's name of the quota that Pods of the namespace count under; empty where there is none."""
        return self._quota_of.get(namespace, "")

    def _told(self, before: Quota | None, now: Quota | None) -> None:
        if before and now and before.spec == now.spec and before.metadata.uid == now.metadata.uid:
            return  # our own report, for one
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._resolve)

    def _resolve(self) -> None:
        self._is_due = False
        self.verdicts = resolve([quota for store in self.sinks for quota in store.known.values()])
        wanted = {name: verdict.counted for name, verdict in self.verdicts.items() if verdict.counted}
        quota_of = {namespace: name for name, counted in wanted.items() for namespace in counted.namespaces}
        moved = {namespace for namespace, _ in quota_of.items() ^ self._quota_of.items()}
        self._quota_of = quota_of
        changed = {name: counted for name, counted in wanted.items() if self._counted.get(name) != counted}
        cluster, edit = self._ledger.cluster, self._ledger.edit
        for name in self._counted.keys() - wanted.keys():
            edit(partial(cluster.remove_quota, name))
        for name, counted in changed.items():
            if (before := self._counted.get(name)) and (kept := _kept(before, counted)) != before:
                edit(partial(self._upsert, name, kept))
        for name, counted in changed.items():
            edit(partial(self._upsert, name, counted))
        if changed or self._counted.keys() != wanted.keys():
            self._ledger.wake()
        self._counted = wanted
        self.resolved(moved)

    def _upsert(self, name: str, counted: Counted) -> None:
        spec = _core.QuotaSpec(counted.namespaces, min=counted.min, max=counted.max, parent=counted.parent)
        self._ledger.cluster.upsert_quota(name, spec)


def _kept(before: Counted, after: Counted) -> Counted:
    """What of it stays."""
    namespaces = tuple(n for n in before.namespaces if n in after.namespaces)
    return Counted(namespaces, before.min, before.max, before.parent if before.parent == after.parent else "")
