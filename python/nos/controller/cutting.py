"""Decisions that need a GPU cut first: the GPUNode is written, and the Pod is bound when its agent says that it can be.

Arrives: Pods that the scheduler has assumed on nodes whose GPUs nos cuts. Leaves: specs of GPUNodes, Pods to the
binder, and Pods back to the queue. A Pod that what it was given is ready for goes to the binder at once. For the
others the entries of their GPUs are written, by compare-and-swap and by nobody's wish but theirs: a GPU that no Pod
waits for keeps its entry, so that free instances stay until someone needs the room.

In flight is kept per node: one that does not answer holds back only what is to run on it. A Pod goes back to the queue
when its node is gone or not ours any more, when its place is taken by something that we did not know of, when the
agent says that it cannot do what the spec wants, or when nothing has happened for PATIENCE_S. What failed is taken out
of the spec, and not tried again before the report shows something else or a while has passed, each time a longer one.

What a Pod is bound to is read from the ledger at that moment, not from the decision: a report may have moved it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import DecodeError

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.waiting import Waiting
from nos.kube.client import MERGE, Client, pause
from nos.kube.errors import ApiError, Unreachable
from nos.kube.gpunode import (
    Gpu,
    GPUNode,
    Spec,
    WantedGpu,
    decode_gpu_node,
    gpu_node_path,
    spec_patch,
    wanted_gpu,
)

PATIENCE_S = 30.0  # since the agent was asked, or has last reported something new
_LOOK_S = 1.0  # how often patience is looked at
_LONGEST_WAIT = 4  # times PATIENCE_S, whatever the agent reports
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 300.0  # before a GPU that failed is recut
_SILENCE_S = 60.0  # before a node that did not answer is asked again
_AGAIN_S = 0.1  # until a Pod is placed anew
_WRITES_IN_FLIGHT = 32
_SERVER_DEADLINE_S = 4  # asked of the server as ?timeout=; a write that is older is not alive any more

_log = logging.getLogger(__name__)
_Shape = tuple[object, ...]


@dataclass(slots=True)
class _Held:
    waiting: Waiting
    amounts: tuple[int, int]  # whole GPUs and instances
    shapes: dict[int, _Shape | None]  # its GPUs as they were reported when it was decided
    asked: float | None = None  # when the spec was found to ask for it
    heard: float = 0.0  # when the node reported something new, or it was asked


class Cutter:
    """`submit` decisions, `run` sees to them."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        may_write: Callable[[], bool],
        bind: Callable[[Waiting, _core.PodState], None],
        on_cut: Callable[[Waiting, str], None],
        on_failed: Callable[[Waiting, str], None],
    ) -> None:
        self.recuts = 0  # GPUs that were asked to become another
        self.served = 0  # Pods that were bound after a recut
        self.failed = 0  # Pods that went back to the queue
        self._client = client
        self._ledger = ledger
        self._may_write = may_write
        self._bind = bind
        self._on_cut = on_cut
        self._on_failed = on_failed
        self._nodes: dict[str, dict[str, _Held]] = {}  # those that wait, by node and uid
        self._failed_writes: dict[str, int] = {}  # in a row
        self._failures: dict[tuple[str, int], int] = {}  # in a row, by node and GPU; -1 for the node's silence
        self._withdrawn: dict[str, set[int]] = {}  # GPUs whose entries failed, by node
        self._dirty: dict[str, None] = {}  # nodes whose spec may have to be written, in order
        self._writing: set[str] = set()
        self._work = asyncio.Event()
        ledger.nodes.changed_cut = lambda name: self._touch(name, news=True)

    def submit(self, waiting: Waiting, decided: _core.Bind | _core.PodState) -> None:
        """Bind this one when what it is to hold is there; at once when it is."""
        pod = self._ledger.cluster.pod(waiting.uid)
        node = pod.node
        if self._is_cut(node) and pod.ready:
            self._bind(waiting, pod)
            return
        shapes = {gpu: self._shape(node, gpu) for gpu in _gpus(pod)}
        self._nodes.setdefault(node, {})[waiting.uid] = _Held(waiting, _amounts(decided), shapes)
        self._on_cut(waiting, node)
        self._touch(node, news=False)

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as writes:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._work.wait()
                self._work.clear()
                self._ledger.edit(lambda: self._lose_patience(loop.time()))
                for node in [node for node in self._dirty if node not in self._writing]:
                    if len(self._writing) == _WRITES_IN_FLIGHT:
                        break
                    del self._dirty[node]
                    self._writing.add(node)
                    writes.create_task(self._write(node))

    # What becomes of those that wait.

    def _touch(self, name: str, *, news: bool) -> None:
        """Look at the node again. news: the node, its GPUs or their report changed."""
        if name in self._nodes or name in self._withdrawn or self._ledger.gpu_nodes.layout(name):
            self._ledger.edit(lambda: self._look(name, news))
            self._dirty[name] = None
            self._work.set()

    def _look(self, name: str, news: bool) -> None:
        now = asyncio.get_running_loop().time()
        for held in self._held(name):
            held.heard = now if news else held.heard
            if self._nodes.get(name, {}).get(held.waiting.uid) is not held:
                continue  # what was done for another one has made us look before
            if not self._ledger.awaits(held.waiting):
                self._drop(name, held)
                continue
            if not self._is_cut(name):
                self._give_back(name, held, f"node {name} is gone or has no GPUs that nos may cut")
                continue
            pod = self._ledger.cluster.pod(held.waiting.uid)
            if pod.ready:
                self._serve(name, held, pod)
            elif len(_gpus(pod)) == 0 or _amounts(pod) != held.amounts:
                self._give_back(name, held, f"node {name} has no place for it any more")
            elif any(self._ledger.gpu_nodes.frozen(name, gpu) for gpu in _gpus(pod)):
                self._give_back(name, held, f"node {name} is not recut now")
            else:
                self._ask_for_failure(name, held, pod)

    def _ask_for_failure(self, name: str, held: _Held, pod: _core.PodState) -> None:
        gpu_node = self._ledger.gpu_nodes.known[name]
        if not _asks_for(gpu_node.spec, pod):
            held.asked = None
            return
        for gpu in _gpus(pod):
            if why := gpu_node.failure(gpu):
                self._give_back(name, held, f"node {name} could not recut GPU {gpu}: {why}")
                self._withdrawn.setdefault(name, set()).add(gpu)
                self._freeze_failed(name, gpu, held)
                self._touch(name, news=False)
                return

    def _freeze_failed(self, name: str, gpu: int, held: _Held) -> None:
        failures = self._failures[name, gpu] = self._failures.get((name, gpu), 0) + 1
        if failures == 1 and self._shape(name, gpu) != held.shapes.get(gpu):
            return  # the report shows something that the plan did not know: another plan may work
        seconds = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20))
        self._ledger.gpu_nodes.freeze(name, [gpu], seconds, thaws_on_news=False)

    def _lose_patience(self, now: float) -> None:
        for name in list(self._nodes):
            late = [
                held
                for held in self._held(name)
                if held.asked is not None
                and (now - held.heard >= PATIENCE_S or now - held.asked >= PATIENCE_S * _LONGEST_WAIT)
            ]
            if not late:
                continue
            failures = self._failures[name, -1] = self._failures.get((name, -1), 0) + 1
            seconds = min(_LONGEST_PAUSE_S, _SILENCE_S * 2.0 ** min(failures - 1, 20))
            _log.warning("node %s does not do what its GPUNode asks; it is not asked again for %.0f s", name, seconds)
            for held in late:
                self._give_back(name, held, f"node {name} was not recut in time")
            if gpu_node := self._ledger.gpu_nodes.known.get(name):
                gpus = [gpu.index for gpu in gpu_node.status.gpus]
                self._ledger.gpu_nodes.freeze(name, gpus, seconds, thaws_on_news=True)

    def _serve(self, name: str, held: _Held, pod: _core.PodState) -> None:
        self._drop(name, held)
        self.served += 1
        for gpu in (*_gpus(pod), -1):
            self._failures.pop((name, gpu), None)
        _log.debug("node %s is ready for %s/%s", name, held.waiting.namespace, held.waiting.name)
        self._bind(held.waiting, pod)

    def _give_back(self, name: str, held: _Held, why: str) -> None:
        self._drop(name, held)
        self.failed += 1
        _log.info("Pod %s/%s is placed anew: %s", held.waiting.namespace, held.waiting.name, why)
        self._on_failed(held.waiting, why)
        self._ledger.defer(held.waiting, _AGAIN_S)

    def _drop(self, name: str, held: _Held) -> None:
        if (waiting := self._nodes.get(name)) is not None:
            waiting.pop(held.waiting.uid, None)
            if not waiting:
                del self._nodes[name]

    def _is_cut(self, name: str) -> bool:
        """Whether there is a report to go by."""
        return self._ledger.nodes.is_cut(name) and name in self._ledger.gpu_nodes.known

    def _shape(self, name: str, gpu: int) -> _Shape | None:
        gpu_node = self._ledger.gpu_nodes.known.get(name)
        reported = gpu_node.status.gpu(gpu) if gpu_node else None
        return _shape(reported) if reported else None

    # What is written.

    async def _write(self, name: str) -> None:
        try:
            while (planned := await self._plan(name)) and not await self._send(name, *planned):
                pass
        finally:
            self._writing.discard(name)
            self._work.set()

    async def _plan(self, name: str) -> tuple[GPUNode, Spec] | None:
        """What to write, and over what; None where nothing has to be. What it destroys is given to nobody any more."""
        answer: asyncio.Future[tuple[GPUNode, Spec] | None] = asyncio.get_running_loop().create_future()

        def plan() -> None:
            planned = None
            try:
                if not self._is_cut(name):
                    self._withdrawn.pop(name, None)
                elif name in self._nodes or name in self._withdrawn or self._ledger.gpu_nodes.layout(name):
                    known = self._ledger.gpu_nodes.known[name]
                    spec = self._spec(name, known)
                    if spec == known.spec:
                        self._withdrawn.pop(name, None)
                        self._asked(name)
                    else:
                        planned = known, spec
                        self._ledger.gpu_nodes.writing(name, spec)
            finally:
                if not answer.done():  # cancelled
                    answer.set_result(planned)

        self._ledger.edit(plan)
        return await answer

    def _spec(self, name: str, known: GPUNode) -> Spec:
        """The present one, or that which its node was ordered with, without what failed, and with entries for those
        GPUs that a Pod waits for."""
        targets = self._ledger.cluster.targets(name)
        present = self._ledger.gpu_nodes.layout(name) or known.spec.gpus
        entries = {gpu.index: gpu for gpu in present if gpu.index not in self._withdrawn.get(name, ())}
        for held in self._held(name):
            for gpu in _gpus(self._ledger.cluster.pod(held.waiting.uid)) if self._ledger.awaits(held.waiting) else ():
                entries[gpu] = wanted_gpu(gpu, targets[gpu])
        return Spec(tuple(entries[index] for index in sorted(entries)))

    def _held(self, name: str) -> list[_Held]:
        return list(self._nodes.get(name, {}).values())

    def _asked(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        for held in self._held(name):
            if held.asked is None:
                held.asked = held.heard = now

    async def _send(self, name: str, known: GPUNode, spec: Spec) -> bool:
        """True when there is no more to do than to wait for an event."""
        if not self._may_write():
            return True
        path = f"{gpu_node_path(name)}?timeout={_SERVER_DEADLINE_S}s"
        body = spec_patch(spec, known.metadata.resource_version)
        retry_after = None
        try:
            answer = await self._client.request(
                "PATCH", path, body=body, content_type=MERGE, attempts=1, timeout=_SERVER_DEADLINE_S + 0.5
            )
            written = decode_gpu_node(answer)
        except ApiError as error:
            why, retry_after = str(error), error.retry_after
            if not error.may_pass:
                self._ledger.gpu_nodes.not_written(name, spec)
            if error.status not in (404, 409) and not error.may_pass:
                self._refused(name, error)
                return True
            if error.status == 409 and self._ledger.gpu_nodes.known.get(name) is not known:
                return False  # the event that we did not know of is here by now
        except (Unreachable, DecodeError) as error:
            why = str(error)
        else:
            self._failed_writes.pop(name, None)
            recuts = sum(1 for gpu in spec.gpus if _is_recut(gpu, known))
            self.recuts += recuts
            _log.debug(
                "GPUNode %s: %d GPUs recut; %d recuts for %d Pods so far", name, recuts, self.recuts, self.served
            )
            self._ledger.gpu_nodes.written(written)
            return False  # once more, for what has come meanwhile
        failures = self._failed_writes[name] = self._failed_writes.get(name, 0) + 1
        level = logging.WARNING if failures > 3 else logging.INFO
        _log.log(level, "GPUNode %s was not written: %s", name, why)
        await asyncio.sleep(pause(failures, retry_after))
        return False

    def _refused(self, name: str, error: ApiError) -> None:
        """The API server will not take it: its role, a policy, or a rule of the CRD is in the way."""
        _log.error("GPUNode %s: the API server refuses its spec: %s", name, error)

        def give_back() -> None:
            self._withdrawn.pop(name, None)
            for held in self._held(name):
                self._give_back(name, held, f"the API server refuses the spec of GPUNode {name}: {error}")
            if known := self._ledger.gpu_nodes.known.get(name):
                gpus = [gpu.index for gpu in known.status.gpus]
                self._ledger.gpu_nodes.freeze(name, gpus, _SILENCE_S, thaws_on_news=False)

        self._ledger.edit(give_back)


def _gpus(pod: _core.PodState) -> list[int]:
    """The GPUs that it takes something of."""
    return sorted({*pod.gpus, *(gpu for gpu, _, _ in pod.instances)})


def _amounts(pod: _core.PodState | _core.Bind) -> tuple[int, int]:
    return len(pod.gpus), len(pod.instances)


def _asks_for(spec: Spec, pod: _core.PodState) -> bool:
    entries = {gpu.index: gpu for gpu in spec.gpus}
    whole = all(gpu in entries and not entries[gpu].mig for gpu in pod.gpus)
    return whole and all(
        gpu in entries and any((i.profile, i.start) == (profile, start) for i in entries[gpu].instances)
        for gpu, profile, start in pod.instances
    )


def _shape(gpu: Gpu) -> _Shape:
    instances = sorted((instance.start, instance.profile, instance.pod) for instance in gpu.instances)
    return gpu.mig, gpu.pod, *instances


def _is_recut(wanted: WantedGpu, known: GPUNode) -> bool:
    """The entry is new, and the GPU is not like that."""
    reported = known.status.gpu(wanted.index)
    there = {(i.profile, i.start) for i in reported.instances} if reported else set()
    like_that = reported and reported.mig == wanted.mig and {(i.profile, i.start) for i in wanted.instances} == there
    return not like_that and wanted != known.spec.gpu(wanted.index)
