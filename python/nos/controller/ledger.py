"""What the API server says, kept as facts in one Cluster.

Arrives: Pods, Nodes and GPUNodes from their watches, and how our own bindings ended. Leaves: the Cluster for the
scheduler, and `waiting`, the Pods that we are to place. While `schedule` runs in its thread nobody may enter the
Cluster, so what arrives then is queued and applied in order when it is over.

Counted are all Pods that have a node and are not Succeeded or Failed, whoever placed them; ours to place are those
without a node that name our scheduler, have no scheduling gate and are not being deleted. Per bound Pod only its uid,
name and node are kept in Python, and what its Binding gave it of the node's GPUs; the rest is in the core.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from nos import _core
from nos.controller.gpu_nodes import GpuNodeSink
from nos.kube.cut import Holding
from nos.kube.decode import bound_spec, created, gpus, instances, node_spec, waiting_spec
from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL
from nos.kube.node import Node
from nos.kube.pod import Pod

_log = logging.getLogger(__name__)
_SAME_SECOND = 20  # bits of an arrival for the order within a second, in which creationTimestamp counts


class State(Enum):
    """How far a Pod of ours has come."""

    PENDING = "pending"  # the scheduler may place it
    BINDING = "binding"  # decided and assumed; its GPU is being cut, or its Binding is on the way, or its echo
    DEFERRED = "deferred"  # its Binding failed; out of the scheduler's sight for a while


@dataclass(slots=True, eq=False)
class Waiting:
    """A Pod that we are to place."""

    namespace: str
    name: str
    uid: str
    version: str  # resourceVersion
    spec: _core.PodSpec
    priority: int
    arrival: int
    state: State = State.PENDING
    failures: int = 0  # Bindings that failed in a row
    message: str | None = None  # of the PodScheduled=False condition on the Pod; None where there is none
    code: str = ""  # of the Reason behind it; empty when unknown, as after a restart


class Ledger:
    """The Cluster, its sinks (`pods`, `nodes`, `gpu_nodes`) and the Pods that wait."""

    def __init__(self, scheduler_name: str) -> None:
        self.cluster = _core.Cluster()
        self.waiting: dict[str, Waiting] = {}
        self.pods = PodSink(self, scheduler_name)
        self.nodes = NodeSink(self)
        self.gpu_nodes = GpuNodeSink(self)
        self._news = asyncio.Event()  # something that may let a Pod run
        self._stale = False  # something that only may, if it is more than an echo
        self._busy = False
        self._queued: list[Callable[[], object]] = []

    @property
    def synced(self) -> bool:
        """True once the watches have listed what exists."""
        return all(sink.synced_once.is_set() for sink in (self.pods, self.nodes, self.gpu_nodes))

    async def wait_synced(self) -> None:
        """Return when the watches have listed what exists."""
        for sink in (self.pods, self.nodes, self.gpu_nodes):
            await sink.synced_once.wait()

    async def wait_news(self, patience: float) -> None:
        """Return when a cycle is worth while: at once on news, after `patience` seconds on what may be none."""
        while True:
            try:
                # Not wait_for: that of Python 3.11 can swallow a cancellation.
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                if not self._stale:
                    continue
            self._news.clear()
            self._stale = False
            if any(waiting.state is State.PENDING for waiting in self.waiting.values()):
                return

    @contextmanager
    def scheduling(self) -> Iterator[None]:
        """The scheduler has the Cluster to itself; what arrives meanwhile is applied afterwards."""
        self._busy = True
        yield  # an exception here means that the scheduler's thread may still run: leave the Cluster alone
        self._busy = False
        queued, self._queued = self._queued, []
        for edit in queued:
            self._apply(edit)

    def edit(self, edit: Callable[[], object]) -> None:
        """Edit the Cluster, now or when the scheduler is done with it."""
        if self._busy:
            self._queued.append(edit)
        else:
            self._apply(edit)

    def wake(self, *, urgent: bool = True) -> None:
        """A Pod that waits may fit now."""
        if urgent:
            self._news.set()
        else:
            self._stale = True

    def decided(self, uid: str) -> Waiting | None:
        """The scheduler has assumed this Pod; None when it left or was bound while the scheduler thought."""
        waiting = self.waiting.get(uid)
        if waiting is not None:
            waiting.state = State.BINDING
        return waiting

    def awaits(self, waiting: Waiting) -> bool:
        """Whether this decision still stands; no longer when the Pod was deleted, or has got a node."""
        return self.waiting.get(waiting.uid) is waiting and waiting.state is State.BINDING

    def bound(self, waiting: Waiting) -> None:
        """Its Binding succeeded. It stays assumed until the watch says so."""
        waiting.failures = 0

    def defer(self, waiting: Waiting, seconds: float) -> None:
        """Its Binding failed for certain: give its room back, and try it again later."""
        if not self.awaits(waiting):
            return
        waiting.state = State.DEFERRED
        waiting.failures += 1
        self.edit(lambda: self.cluster.remove_pod(waiting.uid))
        asyncio.get_running_loop().call_later(seconds, self._readmit, waiting)

    def _readmit(self, waiting: Waiting) -> None:
        if self.waiting.get(waiting.uid) is waiting and waiting.state is State.DEFERRED:
            waiting.state = State.PENDING
            self.admit(waiting)

    def admit(self, waiting: Waiting) -> None:
        """Let the scheduler see it."""
        uid, spec, priority, arrival = waiting.uid, waiting.spec, waiting.priority, waiting.arrival
        self.edit(lambda: self.cluster.upsert_pod(uid, spec, priority=priority, arrival=arrival))
        self.wake()

    def _apply(self, edit: Callable[[], object]) -> None:
        try:
            edit()
        except (ValueError, KeyError) as error:
            _log.error("the core refuses a fact, which is left out: %s", error)


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

    def _waits(self, pod: Pod) -> None:
        uid, spec = pod.metadata.uid, waiting_spec(pod)
        priority = pod.spec.priority or 0
        waiting = self._ledger.waiting.get(uid)
        if waiting is None:
            waiting = Waiting(
                pod.metadata.namespace,
                pod.metadata.name,
                uid,
                "",
                spec,
                priority,
                self._arrival(pod.metadata.creation_timestamp),
            )
            self._ledger.waiting[uid] = waiting
            self._ledger.admit(waiting)
        elif waiting.spec != spec or waiting.priority != priority:
            waiting.spec, waiting.priority = spec, priority
            if waiting.state is not State.DEFERRED:
                self._ledger.admit(waiting)
        waiting.version = pod.metadata.resource_version
        waiting.message = next(
            (c.message for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"), None
        )

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


class NodeSink:
    """Nodes from their watch into the Ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.synced_once = asyncio.Event()
        self.known: dict[str, _core.NodeSpec] = {}
        self.changed_cut: Callable[[str], None] = lambda _: None  # told of a node whose GPUs or their report changed
        self._cut: dict[str, Node] = {}  # those whose GPUs nos cuts
        self._ledger = ledger
        self._listed: set[str] | None = None

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._listed = set()

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        if self._listed is not None:
            for name in self.known.keys() - self._listed:
                self._remove(name)
        self._listed = None
        self.synced_once.set()

    def changed(self, node: Node) -> None:
        """See nos.kube.watch.Sink."""
        name = node.metadata.name
        if self._listed is not None:
            self._listed.add(name)
        if node.metadata.labels.get(PARTITIONING_LABEL) in CUT_BY_NOS:
            self._cut[name] = node
            self.refresh(name)
        else:
            was_cut = self._cut.pop(name, None)
            self._offers(name, node_spec(node))
            if was_cut:
                self.changed_cut(name)

    def is_cut(self, name: str) -> bool:
        """Whether nos cuts the node's GPUs."""
        return name in self._cut

    def refresh(self, name: str) -> None:
        """Look again at how a node's GPUs are cut."""
        if node := self._cut.get(name):
            self._offers(name, node_spec(node, self._ledger.gpu_nodes.gpus(name)))

    def _offers(self, name: str, spec: _core.NodeSpec) -> None:
        if self.known.get(name) != spec:  # most events are heartbeats
            self.known[name] = spec
            self._ledger.edit(lambda: self._ledger.cluster.upsert_node(name, spec))
            self._ledger.wake()
            if name in self._cut:
                self.changed_cut(name)

    def deleted(self, node: Node) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(node.metadata.name)

    def _remove(self, name: str) -> None:
        self.known.pop(name, None)
        was_cut = self._cut.pop(name, None)
        self._ledger.edit(lambda: self._ledger.cluster.remove_node(name))
        if was_cut:
            self.changed_cut(name)
