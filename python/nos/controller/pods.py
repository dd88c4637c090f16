"""Pods from their watch: those that wait are offered to the scheduler, those that have a node count there.

Counted are all Pods that have a node and are not Succeeded or Failed, whoever placed them; ours to place are those
without a node that name our scheduler, have no scheduling gate and are not being deleted. Per bound Pod only its uid,
name and node are kept in Python, and what its Binding gave it of the node's GPUs; the rest is in the core.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from nos import _core
from nos.controller.waiting import State, Waiting
from nos.kube.cut import Holding
from nos.kube.decode import bound_spec, created, gpus, instances, spec_of, template
from nos.kube.pod import Pod
from nos.kube.volumes import unread

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger

_log = logging.getLogger(__name__)
_SAME_SECOND = 20  # bits of an arrival for the order within a second, in which creationTimestamp counts


class PodSink:
    """Pods from their watch into the Ledger.

    What a listing says of bound Pods is applied when it is complete, after the removal of what is gone: a Pod that took
    over the GPU of one that vanished unseen would else be at odds with it.
    """

    def __init__(self, ledger: Ledger, scheduler_name: str) -> None:
        self.synced_once = asyncio.Event()
        self._ledger = ledger
        self._scheduler_name = scheduler_name
        self.holdings: dict[str, dict[str, Holding]] = {}  # of bound Pods, by node and uid
        self._known: dict[str, tuple[str, str]] = {}  # namespace/name and node, empty while it waits, by uid
        self._bound_uids: dict[str, str] = {}  # by namespace/name
        self._listed: set[str] | None = None  # since `restart`, until `synced`
        self._pending: list[Callable[[], object]] = []  # edits of the listing
        self._sequence = 0

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._listed = set()
        self._pending.clear()  # of a listing that was cut; the next one says it again

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        listed, self._listed = self._listed, None
        if listed is not None:
            for uid in self._known.keys() - listed:
                self._remove(uid)
        for edit in self._pending:
            self._ledger.edit(edit)
        self._pending.clear()
        self._ledger.wake()
        self.synced_once.set()

    def changed(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        uid = pod.metadata.uid
        self._known.setdefault(uid, (f"{pod.metadata.namespace}/{pod.metadata.name}", ""))
        if self._listed is not None:
            self._listed.add(uid)
        if pod.status.phase in ("Succeeded", "Failed"):
            self._remove(uid)
        elif pod.spec.node_name:
            self._bound(pod)
        elif self._is_ours(pod):
            self._waits(pod)
        elif self._ledger.waiting.pop(uid, None) is not None:
            self._edit(lambda: self._ledger.cluster.remove_pod(uid))
            self._ledger.wake()

    def deleted(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(pod.metadata.uid)

    def bound_uid(self, key: str, node: str) -> str:
        """The uid of the Pod of that namespace/name on the node; empty where there is none."""
        uid = self._bound_uids.get(key, "")
        return uid if uid and self._known[uid][1] == node else ""

    def reported(self, node: str) -> None:
        """The node's agent has reported after all of these were bound."""
        holdings = self.holdings.get(node, {})
        holdings.update({uid: holding._replace(new=False) for uid, holding in holdings.items() if holding.new})

    def _is_ours(self, pod: Pod) -> bool:
        return (
            pod.spec.scheduler_name == self._scheduler_name
            and not pod.spec.scheduling_gates
            and pod.metadata.deletion_timestamp is None
        )

    def _bound(self, pod: Pod) -> None:
        uid, spec, node = pod.metadata.uid, bound_spec(pod), pod.spec.node_name
        key, before = self._known[uid]
        given = gpus(pod), instances(pod)
        holding = self.holdings.get(node, {}).get(uid)
        if holding is None or (holding.gpus, holding.instances) != given:
            holding = Holding(key, *given, new=self._listed is None)  # of one that is listed nobody knows
        self._known[uid] = key, node
        self._bound_uids[key] = uid
        if holding.gpus or holding.instances:
            self.holdings.setdefault(node, {})[uid] = holding
        priority, arrival = pod.spec.priority or 0, created(pod.metadata.creation_timestamp) << _SAME_SECOND
        cluster = self._ledger.cluster

        def count() -> None:
            slots, held = given
            try:
                cluster.upsert_pod(uid, spec, priority=priority, arrival=arrival, node=node, gpus=slots, instances=held)
            except ValueError as error:  # whatever the annotation says, the Pod is there and counts
                _log.warning("Pod %s: %s", key, error)
                cluster.upsert_pod(uid, spec, priority=priority, arrival=arrival, node=node, gpus=slots)

        self._edit(count)
        if before != node:
            self._ledger.nodes.refresh(node)  # a report may have named it before we knew it
        ours = self._ledger.waiting.pop(uid, None)
        # The echo of our own Binding frees nothing; another change may (a resize, a Pod bound elsewhere than we meant).
        self._ledger.wake(urgent=ours is not None and ours.state is not State.BINDING)

    def revise(self, waiting: Waiting) -> None:
        """Something that its Pod refers to has changed: look again at what it asks for."""
        self._asks(waiting, spec_of(waiting.template, volumes=waiting.volumes), waiting.priority)

    def _waits(self, pod: Pod) -> None:
        uid, asked, volumes, priority = pod.metadata.uid, template(pod), unread(pod), pod.spec.priority or 0
        waiting = self._ledger.waiting.get(uid)
        if waiting is None:
            waiting = Waiting(
                pod.metadata.namespace,
                pod.metadata.name,
                uid,
                asked,
                volumes,
                spec_of(asked, volumes=volumes),
                priority,
                self._arrival(pod.metadata.creation_timestamp),
            )
            self._ledger.waiting[uid] = waiting
            self._ledger.admit(waiting)
        else:
            waiting.template, waiting.volumes = asked, volumes
            self._asks(waiting, spec_of(asked, volumes=volumes), priority)
        waiting.version = pod.metadata.resource_version
        waiting.message = next(
            (c.message for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"), None
        )

    def _asks(self, waiting: Waiting, spec: _core.PodSpec, priority: int) -> None:
        if waiting.spec != spec or waiting.priority != priority:
            waiting.spec, waiting.priority = spec, priority
            if waiting.state is not State.DEFERRED:
                self._ledger.admit(waiting)

    def _remove(self, uid: str) -> None:
        key, node = self._known.pop(uid, ("", ""))
        if self._bound_uids.get(key) == uid:
            del self._bound_uids[key]
        had = self.holdings.get(node, {}).pop(uid, None)
        self._ledger.waiting.pop(uid, None)
        self._edit(lambda: self._ledger.cluster.remove_pod(uid))
        if had:
            if not self.holdings[node]:
                del self.holdings[node]
            self._ledger.nodes.refresh(node)  # the agent may have reported that it is gone before we knew it
        self._ledger.wake()

    def _edit(self, edit: Callable[[], object]) -> None:
        if self._listed is not None:
            self._pending.append(edit)
        else:
            self._ledger.edit(edit)

    def _arrival(self, timestamp: str | None) -> int:
        """Creation time, and for Pods of one second the order in which we saw them."""
        self._sequence = (self._sequence + 1) % (1 << _SAME_SECOND)
        return (created(timestamp) << _SAME_SECOND) + self._sequence
