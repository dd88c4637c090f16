"""What the API server says, kept as facts in one Cluster.

Arrives: Pods, Nodes and GPUNodes from their watches, and how our own bindings ended. Leaves: the Cluster for the
scheduler, and `waiting`, the Pods that we are to place. While `schedule` runs in its thread nobody may enter the
Cluster, so what arrives then is queued and applied in order when it is over.

Counted are all Pods that have a node and are not Succeeded or Failed, whoever placed them; ours to place are those
without a node that name our scheduler, have no scheduling gate and are not being deleted. Per bound Pod only its uid
and name are kept in Python; the rest is in the core.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from nos import _core
from nos.kube.decode import bound_spec, created, gpus, node_spec, waiting_spec
from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL, GPUNode, gpu_specs
from nos.kube.node import Node
from nos.kube.pod import Pod

_log = logging.getLogger(__name__)
_SAME_SECOND = 20  # bits of an arrival for the order within a second, in which creationTimestamp counts


class State(Enum):
    """How far a Pod of ours has come."""

    PENDING = "pending"  # the scheduler may place it
    BINDING = "binding"  # decided and assumed; its Binding is on the way, or its echo
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
                await asyncio.wait_for(self._news.wait(), patience)
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
        self.uids: dict[str, str] = {}  # by namespace/name
        self._known: dict[str, str] = {}  # namespace/name by uid
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
        self._known[uid] = key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        self.uids[key] = uid
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

    def _is_ours(self, pod: Pod) -> bool:
        return (
            pod.spec.scheduler_name == self._scheduler_name
            and not pod.spec.scheduling_gates
            and pod.metadata.deletion_timestamp is None
        )

    def _bound(self, pod: Pod) -> None:
        uid, spec, node, slots = pod.metadata.uid, bound_spec(pod), pod.spec.node_name, gpus(pod)
        priority, arrival = pod.spec.priority or 0, created(pod.metadata.creation_timestamp) << _SAME_SECOND
        cluster = self._ledger.cluster

        def count() -> None:
            try:
                cluster.upsert_pod(uid, spec, priority=priority, arrival=arrival, node=node, gpus=slots)
            except ValueError as error:  # whatever the annotation says, the Pod is there and counts
                _log.warning("Pod %s/%s: %s", pod.metadata.namespace, pod.metadata.name, error)
                cluster.upsert_pod(uid, spec, priority=priority, arrival=arrival, node=node)

        self._edit(count)
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
        key = self._known.pop(uid, "")
        if self.uids.get(key) == uid:
            del self.uids[key]
        self._ledger.waiting.pop(uid, None)
        self._edit(lambda: self._ledger.cluster.remove_pod(uid))
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
            self._cut.pop(name, None)
            self._offers(name, node_spec(node))

    def refresh(self, name: str) -> None:
        """Look again at how a node's GPUs are cut."""
        if node := self._cut.get(name):
            self._offers(name, node_spec(node, self._ledger.gpu_nodes.gpus(name)))

    def _offers(self, name: str, spec: _core.NodeSpec) -> None:
        if self.known.get(name) != spec:  # most events are heartbeats
            self.known[name] = spec
            self._ledger.edit(lambda: self._ledger.cluster.upsert_node(name, spec))
            self._ledger.wake()

    def deleted(self, node: Node) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(node.metadata.name)

    def _remove(self, name: str) -> None:
        self.known.pop(name, None)
        self._cut.pop(name, None)
        self._ledger.edit(lambda: self._ledger.cluster.remove_node(name))


class GpuNodeSink:
    """GPUNodes from their watch: what their agents report makes the nodes' GPUs."""

    def __init__(self, ledger: Ledger) -> None:
        self.synced_once = asyncio.Event()
        self.known: dict[str, GPUNode] = {}
        self.on_report: Callable[[str], None] = lambda _: None  # a node's report, or its spec, is another
        self._ledger = ledger
        self._silent: set[str] = set()
        self._listed: set[str] | None = None

    def gpus(self, name: str) -> list[_core.GpuSpec]:
        """How the node's GPUs are; none before its agent has reported."""
        if (gpu_node := self.known.get(name)) is None:
            return []
        uids = self._ledger.pods.uids
        try:
            specs = gpu_specs(gpu_node.status, lambda pod: uids.get(pod, pod))
        except ValueError as error:
            _log.error("the report of GPUNode %s contradicts itself, none of its GPUs is used: %s", name, error)
            return []
        if name in self._silent:
            by_index = {gpu.index: gpu for gpu in gpu_node.status.gpus}
            return [_core.GpuSpec(None, ready=i in by_index and by_index[i].ready) for i in range(len(specs))]
        return specs

    def silence(self, name: str) -> None:
        """Its agent does not do what it is asked: nothing is cut there until it reports something new."""
        self._silent.add(name)
        self._ledger.nodes.refresh(name)

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

    def changed(self, gpu_node: GPUNode) -> None:
        """See nos.kube.watch.Sink."""
        name = gpu_node.metadata.name
        if self._listed is not None:
            self._listed.add(name)
        before = self.known.get(name)
        self.known[name] = gpu_node
        if before is None or before.status != gpu_node.status:
            self._silent.discard(name)
            self._ledger.nodes.refresh(name)
        self.on_report(name)

    def deleted(self, gpu_node: GPUNode) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(gpu_node.metadata.name)

    def _remove(self, name: str) -> None:
        self.known.pop(name, None)
        self._silent.discard(name)
        self._ledger.nodes.refresh(name)
