"""Pods from their watch: those that wait are offered to the scheduler, those that have a node count there.

Counted are all Pods that have a node and are not Succeeded or Failed, whoever placed them; ours to place are those
without a node that name our scheduler, have no scheduling gate and are not being deleted. Of the others without a node
those count that were nominated to one: room is kept for them there. Per bound Pod only its uid, name, node and what it
says of its quota are kept in Python, and what its Binding gave it of the node's GPUs; the rest is in the core.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nos import _core
from nos.controller.waiting import Facts, State, Waiting
from nos.kube.cut import Holding
from nos.kube.decode import (
    OVER_QUOTA,
    bound,
    bound_spec_of,
    capacity,
    controller,
    created,
    gpus,
    instances,
    movable,
    moving_spec_of,
    pod_labels,
    spec_of,
    stays,
    template,
)
from nos.kube.encode import UNSCHEDULABLE
from nos.kube.pod import Pod
from nos.kube.volumes import PodVolumes

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger

_log = logging.getLogger(__name__)
SAME_SECOND = 20  # bits of an arrival for the order within a second, in which creationTimestamp counts


class Known(NamedTuple):
    """A Pod that has not ended."""

    key: str  # namespace/name
    node: str = ""  # empty while it waits
    capacity: str = ""  # of one with a node, the label
    leaving: bool = False  # it is being deleted
    arrival: int = 0  # of one with a node, as it was while it waited
    stays: str = ""  # likewise, why it cannot be moved to another one


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
        self.left_unrun: Callable[[Pod], None] = lambda _: None  # told of a Pod that left its node before it ran
        self.seen: Callable[[str], None] = lambda _: None  # told of a Pod on a node that has come or changed
        self.came: Callable[[Pod], None] = lambda _: None  # told of each Pod of ours, as it comes and changes
        self.any_may_move = False  # what Pods on nodes ask for is kept, as if they waited
        self._nominated: set[str] = set()
        self.known: dict[str, Known] = {}  # by uid
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
            for uid in self.known.keys() - listed:
                self._remove(uid)
        for edit in self._pending:
            self._ledger.edit(edit)
        self._pending.clear()
        self._ledger.wake()
        self.synced_once.set()

    def changed(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        uid = pod.metadata.uid
        if uid not in self.known:
            self.known[uid] = Known(f"{pod.metadata.namespace}/{pod.metadata.name}")
        if self._listed is not None:
            self._listed.add(uid)
        if self.is_for_us(pod):
            self.came(pod)
        if pod.status.phase in ("Succeeded", "Failed"):
            self._remove(uid)
        elif pod.spec.node_name:
            self._bound(pod)
        elif self._is_ours(pod):
            self._nominated.discard(uid)  # its gates are gone
            self._waits(pod)
        elif pod.status.nominated_node_name and pod.metadata.deletion_timestamp is None:
            self._is_to_come(pod)
        elif uid in self._ledger.waiting or uid in self._nominated:
            self._withdraw(uid)

    def deleted(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(pod.metadata.uid)
        # One that is not selected any more, as it has ended, is `deleted` in the state before.
        if pod.spec.node_name and pod.status.phase == "Pending" and pod.metadata.deletion_timestamp is None:
            self.left_unrun(pod)

    def bound_uid(self, key: str, node: str) -> str:
        """The uid of the Pod of that namespace/name on the node; empty where there is none."""
        uid = self._bound_uids.get(key, "")
        return uid if uid and self.known[uid].node == node else ""

    def reported(self, node: str) -> None:
        """The node's agent has reported after all of these were bound."""
        holdings = self.holdings.get(node, {})
        holdings.update({uid: holding._replace(new=False) for uid, holding in holdings.items() if holding.new})

    def is_for_us(self, pod: Pod) -> bool:
        """Whether the Pod names our scheduler."""
        return pod.spec.scheduler_name == self._scheduler_name

    def _is_ours(self, pod: Pod) -> bool:
        return self.is_for_us(pod) and not pod.spec.scheduling_gates and pod.metadata.deletion_timestamp is None

    def _withdraw(self, uid: str) -> None:
        """It does not wait for us any more, or is nominated no more."""
        self._ledger.storage.forget(uid)
        self._ledger.waiting.pop(uid, None)
        self._ledger.gangs.leave(uid)
        self._nominated.discard(uid)
        self._ledger.edit(lambda: self._ledger.cluster.remove_pod(uid))
        self._ledger.wake()

    def _is_to_come(self, pod: Pod) -> None:
        """Another scheduler has made room for it."""
        uid, says, labels, node = pod.metadata.uid, bound(pod), pod_labels(pod), pod.status.nominated_node_name
        priority, upsert = pod.spec.priority or 0, self._ledger.cluster.upsert_pod

        def count(volumes: PodVolumes) -> None:
            spec = bound_spec_of(says, volumes=volumes)
            edit = partial(upsert, uid, spec, labels=labels, priority=priority, node=node, nominated=True)
            self._ledger.edit(edit)

        self._ledger.waiting.pop(uid, None)
        self._nominated.add(uid)
        count(self._ledger.storage.held(pod, count))

    def _bound(self, pod: Pod) -> None:
        uid, says, node = pod.metadata.uid, bound(pod), pod.spec.node_name
        labels, terminating = pod_labels(pod), pod.metadata.deletion_timestamp is not None
        key, before, arrival = self.known[uid].key, self.known[uid].node, self.known[uid].arrival
        given = gpus(pod), instances(pod)
        holding = self.holdings.get(node, {}).get(uid)
        if holding is None or (holding.gpus, holding.instances) != given:
            holding = Holding(key, *given, new=self._listed is None)  # of one that is listed nobody knows
        label = capacity(pod)
        if not arrival:  # what came within a second stays in order when it is bound; its label tells after a restart
            waited = self._ledger.waiting.get(uid)
            late = 1 if label == OVER_QUOTA else 0
            arrival = waited.arrival if waited else (created(pod.metadata.creation_timestamp) << SAME_SECOND) + late
        fixed = stays(pod)
        self.known[uid] = Known(key, node, label, terminating, arrival, fixed)
        self._bound_uids[key] = uid
        self.seen(uid)
        if holding.gpus or holding.instances:
            self.holdings.setdefault(node, {})[uid] = holding
        priority, cluster = pod.spec.priority or 0, self._ledger.cluster
        gang = self._ledger.gangs.join(pod) if self.is_for_us(pod) else ""
        can_be_repacked = self.is_for_us(pod) and movable(pod)
        may_move = can_be_repacked or (self.any_may_move and not fixed)
        asked = template(pod) if may_move else None

        def upsert(spec: _core.PodSpec, held: tuple[tuple[int, str, int], ...], *, can_move: bool) -> None:
            cluster.upsert_pod(
                uid,
                spec,
                labels=labels,
                priority=priority,
                arrival=arrival,
                node=node,
                terminating=terminating,
                gang=gang,
                gpus=given[0],
                instances=held,
                movable=can_move,
            )

        def place(spec: _core.PodSpec, *, can_move: bool) -> None:
            try:
                upsert(spec, given[1], can_move=can_move)
            except ValueError as error:  # whatever the annotation says, the Pod is there and counts
                _log.warning("Pod %s: %s", key, error)
                upsert(spec, (), can_move=can_move)

        def count(volumes: PodVolumes) -> None:
            # One that may move is tried elsewhere: there all counts that it asks for.
            moving = moving_spec_of(asked, volumes=volumes) if asked else None
            spec = moving or bound_spec_of(says, volumes=volumes)
            self._edit(lambda: place(spec, can_move=moving is not None and can_be_repacked))

        self._nominated.discard(uid)
        count(self._ledger.storage.held(pod, count))
        if before != node:
            self._ledger.nodes.refresh(node)  # a report may have named it before we knew it
        ours = self._ledger.waiting.pop(uid, None)
        if ours is not None and ours.bound:
            self._ledger.echoed(ours, time.monotonic() - ours.bound)
        # The echo of our own Binding frees nothing; another change may (a resize, a Pod bound elsewhere than we meant).
        self._ledger.wake(urgent=ours is not None and ours.state is not State.BINDING)

    def revise(self, waiting: Waiting) -> None:
        """Something that its Pod refers to has changed: look again at what it asks for."""
        spec = self.spec(waiting.namespace, waiting.facts)
        self._asks(waiting, spec, waiting.labels, waiting.priority, waiting.gang)

    def _waits(self, pod: Pod) -> None:
        uid, namespace, priority = pod.metadata.uid, pod.metadata.namespace, pod.spec.priority or 0
        facts = Facts(template(pod), self._ledger.storage.asked(pod), bytes(pod.metadata.labels), controller(pod))
        spec, labels = self.spec(namespace, facts), pod_labels(pod)
        gang = self._ledger.gangs.join(pod)
        waiting = self._ledger.waiting.get(uid)
        if waiting is None:
            arrival = self._arrival(pod.metadata.creation_timestamp)
            waiting = Waiting(namespace, pod.metadata.name, uid, facts, spec, labels, priority, arrival, gang)
            waiting.preempts = pod.spec.preemption_policy != "Never"
            waiting.nominated = pod.status.nominated_node_name
            self._ledger.waiting[uid] = waiting
            self._ledger.admit(waiting)
        else:
            waiting.facts = facts
            self._asks(waiting, spec, labels, priority, gang)
        waiting.version, waiting.nominated = pod.metadata.resource_version, pod.status.nominated_node_name
        told = next((c for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"), None)
        waiting.message = told.message if told else None
        waiting.wants_node = told is not None and told.reason == UNSCHEDULABLE

    def spec(self, namespace: str, facts: Facts) -> _core.PodSpec:
        """What a Pod of that namespace asks for."""
        default = None
        if not facts.template.has_spread:
            default = self._ledger.spread_defaults.of(namespace, facts.labels, facts.owner)
        return spec_of(facts.template, volumes=facts.asked.volumes, default=default)

    def _asks(self, waiting: Waiting, spec: _core.PodSpec, labels: _core.PodLabels, priority: int, gang: str) -> None:
        if (waiting.spec, waiting.labels, waiting.priority, waiting.gang) != (spec, labels, priority, gang):
            waiting.spec, waiting.labels, waiting.priority, waiting.gang = spec, labels, priority, gang
            if waiting.state is not State.DEFERRED:
                self._ledger.admit(waiting)

    def _remove(self, uid: str) -> None:
        key, node, *_ = self.known.pop(uid, Known(""))
        if self._bound_uids.get(key) == uid:
            del self._bound_uids[key]
        had = self.holdings.get(node, {}).pop(uid, None)
        self._ledger.storage.forget(uid)
        self._ledger.waiting.pop(uid, None)
        self._ledger.gangs.leave(uid)
        self._nominated.discard(uid)
        self._edit(lambda: self._ledger.cluster.remove_pod(uid))
        if had:
            if not self.holdings[node]:
                del self.holdings[node]
            self._ledger.nodes.refresh(node)  # the agent may have reported that it is gone before we knew it
        self._ledger.gone(uid)

    def _edit(self, edit: Callable[[], object]) -> None:
        if self._listed is not None:
            self._pending.append(edit)
        else:
            self._ledger.edit(edit)

    def _arrival(self, timestamp: str | None) -> int:
        """Creation time, and for Pods of one second the order in which we saw them."""
        self._sequence = (self._sequence + 1) % (1 << SAME_SECOND)
        return (created(timestamp) << SAME_SECOND) + self._sequence
