"""Decisions whose claims have to be bound first: it is written which volume each gets, or on which node it is to be
made, and the Pod is bound when the PV controller says that all of them are.

Arrives: Pods that the scheduler has assumed on a node; `reserve` sets their volumes aside at once, `submit` follows
when nothing else keeps them from being bound: what volumes are bound to cannot be undone, so their GPU is cut first.
Leaves: claimRefs of volumes and selected nodes of claims, each under the resourceVersion that we know; Pods to the
binder; and Pods back to the queue.

A Pod goes back when a volume or claim is gone or someone else's, when what was written is undone (a provisioner that
cannot serve a claim on a node takes the selected node back; that node is then avoided for the claim for a while), when
the volume turns out to be of no use on the node, and when nothing of it all has come true in time. What is written
stays, as with kube-scheduler: a restart finds it, and the Pod is placed where its claims are bound to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import DecodeError

from nos import _core
from nos.controller.binder import Place
from nos.controller.ledger import Ledger
from nos.controller.reserved import Reserved, release, release_one, reserve
from nos.controller.waiting import Waiting
from nos.kube.client import MERGE, Client, pause
from nos.kube.errors import ApiError, Unreachable
from nos.kube.node import Node
from nos.kube.storage import (
    PersistentVolumeClaim,
    claim_path,
    claim_ref_patch,
    decode_claim,
    decode_volume,
    selected_node_patch,
    volume_path,
)
from nos.kube.storage_index import Key, is_for
from nos.kube.volume_terms import of_use, usable_on

_LOOK_S = 1.0  # how often the time is looked at
_AGAIN_S = 0.1  # until a Pod is placed anew whose volume went to another
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0  # before a Pod whose volumes were not bound is placed anew
_FIRST_AVOID_S, _LONGEST_AVOID_S = 10.0, 300.0  # a node that a provisioner has refused
_ATTEMPTS = 5
_WRITES_IN_FLIGHT = 32
_SERVER_DEADLINE_S = 4  # asked of the server as ?timeout=; a write that is older is not alive any more

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Held:
    waiting: Waiting
    reserved: Reserved
    uids: dict[str, str]  # of its claims
    keys: set[Key] = field(default_factory=set)  # what it has to be looked at for
    since: float | None = None  # when it was submitted
    written: set[str] = field(default_factory=set)  # claims for which the API server has what we want
    attempts: int = 0  # writes that failed in a row
    writing: bool = False


class VolumeBinder:
    """`reserve` and `submit` decisions, `run` sees to them."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        patience: float,
        may_write: Callable[[], bool],
        bind: Callable[[Waiting, Place], None],
        on_binding: Callable[[Waiting, str], None],
        on_failed: Callable[[Waiting, str], None],
    ) -> None:
        self.served = 0  # Pods whose volumes were bound
        self.failed = 0  # Pods that went back to the queue
        self._client = client
        self._ledger = ledger
        self._storage = ledger.storage
        self._patience = patience
        self._may_write = may_write
        self._bind = bind
        self._on_binding = on_binding
        self._on_failed = on_failed
        self._held: dict[str, _Held] = {}  # by uid
        self._held_for: dict[Key, set[str]] = {}  # their uids
        self._refusals: dict[tuple[str, str], int] = {}  # of a claim by node, in a row
        self._dirty: dict[str, None] = {}  # uids of those for which something may have to be written
        self._work = asyncio.Event()
        self._writes = 0
        ledger.storage.changed = self._changed
        ledger.gave_back = self._left

    def reserve(self, waiting: Waiting, decided: _core.Bind) -> bool:
        """Set aside what its claims are to get. False: that went to another Pod, and this one goes back."""
        if not decided.volumes:
            return True
        self._left(waiting.uid)
        node = self._ledger.nodes.node(decided.node)
        reserved = reserve(self._storage, node, waiting.offers, decided.volumes) if node else None
        if reserved is None:
            _log.debug("Pod %s/%s: its volume is taken by another", waiting.namespace, waiting.name)
            self._ledger.defer(waiting, _AGAIN_S)
            return False
        claims = ((key, self._storage.index.claim(key)) for key in reserved.volumes)
        held = self._held[waiting.uid] = _Held(waiting, reserved, {k: c.metadata.uid for k, c in claims if c})
        for key, name in reserved.volumes.items():
            self._look_for(held, Key("claim", key), Key("volume", name))
        return True

    def submit(self, waiting: Waiting, place: Place) -> None:
        """Nothing else keeps it from being bound: bind its volumes, then the Pod; at once if it has none to bind."""
        held = self._held.get(waiting.uid)
        if held is None or held.waiting is not waiting:
            self._bind(waiting, place)
            return
        held.since = asyncio.get_running_loop().time()
        claims = ", ".join(key.partition("/")[2] for key in held.reserved.volumes)
        self._on_binding(waiting, f"Binding volumes on node {held.reserved.node}: {claims}")
        self._touch(held)

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as writes:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._work.wait()
                self._work.clear()
                self._lose_patience(loop.time())
                for uid in list(self._dirty):
                    if self._writes >= _WRITES_IN_FLIGHT:
                        break
                    del self._dirty[uid]
                    if (held := self._held.get(uid)) and not held.writing and self._look(held):
                        held.writing = True
                        self._writes += 1
                        writes.create_task(self._write(held))

    # What becomes of those that wait.

    def _changed(self, news: set[Key]) -> None:
        for key in news:
            for uid in sorted(self._held_for.get(key, ())):
                self._touch(self._held[uid])

    def _touch(self, held: _Held) -> None:
        self._dirty[held.waiting.uid] = None
        self._work.set()

    def _look_for(self, held: _Held, *keys: Key) -> None:
        held.keys.update(keys)
        for key in keys:
            self._held_for.setdefault(key, set()).add(held.waiting.uid)

    def _left(self, uid: str) -> None:
        """The Pod is gone, back in the queue, or to be bound."""
        if (held := self._held.pop(uid, None)) is None:
            return
        for key in held.keys:
            uids = self._held_for[key]
            uids.discard(uid)
            if not uids:
                del self._held_for[key]
        release(self._storage, held.reserved)

    def _look(self, held: _Held) -> bool:
        """See how far it has come; whether something has to be written for it."""
        if held.since is None or not self._ledger.awaits(held.waiting):
            return False
        if (node := self._ledger.nodes.node(held.reserved.node)) is None:
            self._give_back(held, f"node {held.reserved.node} is gone")
            return False
        done, todo = 0, False
        for key, name in held.reserved.volumes.items():
            claim = self._claim(held, key)
            if claim is None:
                self._give_back(held, f'persistentvolumeclaim "{key.partition("/")[2]}" not found')
                return False
            if why := self._trouble(held, claim, name, node):
                self._give_back(held, why)
                return False
            if claim.bound:
                done += self._storage.index.volume(claim.spec.volume_name) is not None
                self._look_for(held, Key("volume", claim.spec.volume_name))
            elif key not in held.written:
                todo = True
        if done == len(held.reserved.volumes):
            self._serve(held)
        return todo

    def _claim(self, held: _Held, key: str) -> PersistentVolumeClaim | None:
        """The claim; None where it is gone, or another of that name has come."""
        claim = self._storage.index.claim(key)
        return claim if claim and claim.metadata.uid == held.uids[key] else None

    def _trouble(self, held: _Held, claim: PersistentVolumeClaim, name: str, on: Node) -> str:
        """Why the claim will not get what it was to get; notes whether the API server has that already."""
        index, key, node = self._storage.index, claim.metadata.key, held.reserved.node
        volume = index.volume(claim.spec.volume_name or name)
        if volume and not of_use(usable_on(volume), on):
            return f'pv "{volume.metadata.name}" node affinity doesn\'t match node "{node}"'
        if claim.bound:
            return ""
        if name:
            volume = index.volume(name)  # the one that is written; the claim may name another by now
            if volume is None:
                return f'persistentvolume "{name}" not found'
            reference = volume.spec.claim_ref
            if reference and not is_for(reference, claim):
                return f'persistentvolume "{name}" is bound to another claim'
            if reference and reference.uid:
                held.written.add(key)
            elif key in held.written:
                return f'ClaimRef got reset for pv "{name}"'
            return ""
        selected = claim.metadata.annotations.selected_node
        if selected == node:
            held.written.add(key)
        elif key in held.written:
            self._avoid(key, node)
            return f'provisioning failed for PVC "{claim.metadata.name}" on node {node}'
        elif selected is not None:
            return f'PVC "{claim.metadata.name}" is provisioned on node {selected}'
        return ""

    def _avoid(self, key: str, node: str) -> None:
        refusals = self._refusals[key, node] = self._refusals.get((key, node), 0) + 1
        seconds = min(_LONGEST_AVOID_S, _FIRST_AVOID_S * 2.0 ** min(refusals - 1, 20))
        index = self._storage.index
        self._storage.news(index.avoid(key, index.avoided_nodes(key) | {node}))

        def forgive() -> None:
            self._storage.news(index.avoid(key, index.avoided_nodes(key) - {node}))
            if index.claim(key) is None:
                self._refusals.pop((key, node), None)

        asyncio.get_running_loop().call_later(seconds, forgive)

    def _lose_patience(self, now: float) -> None:
        for held in list(self._held.values()):
            if not self._ledger.awaits(held.waiting):
                self._left(held.waiting.uid)
            elif held.since is not None and now - held.since >= self._patience:
                waits = [k.partition("/")[2] for k in held.reserved.volumes if not self._is_bound(k)]
                self._give_back(held, f"not bound within {self._patience:g} s: {', '.join(waits)}")

    def _is_bound(self, key: str) -> bool:
        claim = self._storage.index.claim(key)
        return claim is not None and claim.bound

    def _serve(self, held: _Held) -> None:
        self._left(held.waiting.uid)
        self.served += 1
        for key in held.reserved.volumes:
            self._refusals.pop((key, held.reserved.node), None)

        def bind() -> None:  # to what it holds now: its GPU may have been cut anew meanwhile
            if self._ledger.awaits(held.waiting):
                self._bind(held.waiting, self._ledger.cluster.pod(held.waiting.uid))

        self._ledger.edit(bind)

    def _give_back(self, held: _Held, why: str) -> None:
        self._left(held.waiting.uid)
        self.failed += 1
        waiting = held.waiting
        _log.info("Pod %s/%s is placed anew: binding volumes: %s", waiting.namespace, waiting.name, why)
        self._on_failed(waiting, f"binding volumes: {why}")
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(waiting.failures, 10))
        self._ledger.defer(waiting, longest * random.uniform(0.5, 1.0))

    # What is written.

    async def _write(self, held: _Held) -> None:
        try:
            for key, name in held.reserved.volumes.items():
                if key not in held.written and not self._is_bound(key):
                    await self._write_one(held, key, name)
        finally:
            held.writing = False
            self._writes -= 1
            self._touch(held)

    async def _write_one(self, held: _Held, key: str, name: str) -> None:
        index = self._storage.index
        claim, volume, node = self._claim(held, key), index.volume(name), self._ledger.nodes.node(held.reserved.node)
        if claim is None or node is None or self._held.get(held.waiting.uid) is not held:
            return
        # What is known may be newer than when it was looked at, and what we write has the newest resourceVersion.
        if self._trouble(held, claim, name, node) or claim.bound or key in held.written:
            return
        if not self._may_write():
            await asyncio.sleep(_LOOK_S)
            return
        if name:
            if volume is None:
                return
            path, body = volume_path(name), claim_ref_patch(volume, claim)
        else:
            path, body = claim_path(key), selected_node_patch(claim, held.reserved.node)
        retry_after = None
        try:
            answer = await self._client.request(
                "PATCH",
                f"{path}?timeout={_SERVER_DEADLINE_S}s",
                body=body,
                content_type=MERGE,
                attempts=1,
                timeout=_SERVER_DEADLINE_S + 0.5,
            )
            written = decode_volume(answer) if name else decode_claim(answer)
        except ApiError as error:
            why, retry_after = str(error), error.retry_after
            if error.status not in (404, 409) and not error.may_pass:
                _log.error("%s: the API server refuses it: %s", path, error)
                held.attempts = _ATTEMPTS
        except (Unreachable, DecodeError) as error:
            why = str(error)
        else:
            held.attempts = 0
            held.written.add(key)
            known = index.volume(name) if name else index.claim(key)
            if known and known.metadata.uid == written.metadata.uid:  # else the watch was quicker: it is gone
                self._storage.news(index.put(written))
            release_one(self._storage, key, name)
            return
        held.attempts += 1
        if held.attempts > _ATTEMPTS and self._held.get(held.waiting.uid) is held:
            self._give_back(held, why)
            return
        _log.info("%s was not written: %s", path, why)
        await asyncio.sleep(pause(held.attempts, retry_after))
