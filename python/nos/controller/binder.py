"""Decisions to Bindings, many in flight.

Arrives: Pods that the scheduler has assumed on a node. Leaves: Bindings, and for each Pod either `Ledger.bound` or
`Ledger.defer`. The API server takes each under the uid as precondition and binds no Pod twice, so a Binding may be sent
again without harm; what needs care is an answer that never came. A Pod keeps its room (stays assumed) until we know
for certain that it was not bound there: the server drops our requests after SERVER_DEADLINE_S, and only after that
a read decides.

Nothing is sent unless `may_bind` says so right before; it is false from the moment that the Lease may be lost.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable

from msgspec import DecodeError

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.measures import asked_for
from nos.controller.waiting import Waiting
from nos.kube.client import Client, pause
from nos.kube.encode import binding, pod_path
from nos.kube.errors import ApiError, Unreachable
from nos.kube.pod import decode_pod

SERVER_DEADLINE_S = 4  # asked of the server as ?timeout=; well below what a Lease leaves between two holders
_CLIENT_DEADLINE_S = SERVER_DEADLINE_S + 0.5
_ATTEMPTS = 4
_FIRST_DEFERRAL_S, _LONGEST_DEFERRAL_S = 0.5, 60.0

_log = logging.getLogger(__name__)
Place = _core.Bind | _core.PodState  # both name the node and what the Pod is to hold of its GPUs


class Binder:
    """`submit` decisions, `run` sends them."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        in_flight: int,
        may_bind: Callable[[], bool],
        capacity_of: Callable[[Waiting], str],
        on_bound: Callable[[Waiting, Place], None],
        on_refused: Callable[[Waiting, str], None],
    ) -> None:
        self.sent = 0
        self.outcomes: Counter[str] = Counter()  # bound, refused or failed
        self._client = client
        self._ledger = ledger
        self._workers = in_flight
        self._may_bind = may_bind
        self._capacity_of = capacity_of
        self._on_bound = on_bound
        self._on_refused = on_refused
        self._queue: asyncio.Queue[tuple[Waiting, Place]] = asyncio.Queue()
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    @property
    def busy(self) -> bool:
        """True while Bindings wait or are in flight; other writes then hold back."""
        return not self._queue.empty() or self._active > 0

    def submit(self, waiting: Waiting, bind: Place) -> None:
        """Send this one too, in its turn."""
        self._queue.put_nowait((waiting, bind))

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._workers):
                workers.create_task(self._work())

    async def drain(self, seconds: float) -> None:
        """Send nothing more; return when what is in flight has its answer, or after `seconds`."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def _work(self) -> None:
        while True:
            waiting, bind = await self._queue.get()
            self._active += 1
            self._idle.clear()
            asked_for.set(waiting)
            try:
                await self._bind(waiting, bind)
            finally:
                self._active -= 1
                if not self._active:
                    self._idle.set()

    async def _bind(self, waiting: Waiting, bind: Place) -> None:
        path = f"{pod_path(waiting.namespace, waiting.name, 'binding')}?timeout={SERVER_DEADLINE_S}s"
        node = bind.node
        capacity = self._capacity_of(waiting)
        body = binding(waiting.name, waiting.uid, node, bind.gpus, bind.instances, capacity=capacity)
        why = f"no Binding to {node} after {_ATTEMPTS} tries"
        in_doubt = False
        refusal: ApiError | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            if not self._may_bind() or self._closing or not self._ledger.awaits(waiting):
                return
            if node not in self._ledger.nodes.known:  # the API server would bind to it all the same
                why = f"node {node} is gone"
                break
            retry_after = None
            self.sent += 1
            try:
                await self._client.request("POST", path, body=body, timeout=_CLIENT_DEADLINE_S, attempts=1)
            except ApiError as error:
                if error.status == 409:
                    in_doubt = False  # it was refused for what the Pod is now, which a read tells
                    if await self._settle(waiting, bind):
                        return
                elif not error.may_pass:
                    if not in_doubt:
                        self._refused(waiting, node, error)
                        return
                    refusal = error  # of this try; one before it may have got through
                    break
                in_doubt = in_doubt or error.status >= 500
                retry_after = error.retry_after
            except Unreachable:
                in_doubt = True
            else:
                self._done(waiting, bind)
                return
            await asyncio.sleep(pause(attempt, retry_after))
        if in_doubt:
            await asyncio.sleep(SERVER_DEADLINE_S + 1)  # by then no request of ours is alive in the server
            if await self._settle(waiting, bind):
                return
        if refusal:
            self._refused(waiting, node, refusal)
        else:
            self._defer(waiting, why)

    async def _settle(self, waiting: Waiting, bind: Place) -> bool:
        """Read what became of the Pod. False: it still waits for a node. Else it is dealt with."""
        attempt = 0
        while self._may_bind() and not self._closing and self._ledger.awaits(waiting):
            attempt += 1
            try:
                answer = await self._client.request("GET", pod_path(waiting.namespace, waiting.name), attempts=1)
                pod = decode_pod(answer)
            except ApiError as error:
                if error.status == 404:
                    self._defer(waiting, "it is gone")
                    return True
                await asyncio.sleep(pause(attempt, error.retry_after))
                continue
            except (Unreachable, DecodeError):
                await asyncio.sleep(pause(attempt))  # not knowing, we keep its room
                continue
            if pod.metadata.uid != waiting.uid:
                self._defer(waiting, "it was deleted, another Pod has its name")
            elif pod.spec.node_name == bind.node:
                self._done(waiting, bind)
            elif pod.spec.node_name:
                self._defer(waiting, f"it was bound to {pod.spec.node_name} by someone else")
            elif pod.metadata.deletion_timestamp or pod.spec.scheduling_gates:
                self._defer(waiting, "it is being deleted or held by a scheduling gate")
            else:
                return False
            return True
        return True

    def _done(self, waiting: Waiting, bind: Place) -> None:
        self.outcomes["bound"] += 1
        self._ledger.bound(waiting)
        self._on_bound(waiting, bind)

    def _refused(self, waiting: Waiting, node: str, error: ApiError) -> None:
        if error.status == 404:
            self._defer(waiting, "it is gone")
        else:
            _log.error("binding Pod %s/%s to %s was refused: %s", waiting.namespace, waiting.name, node, error)
            self._on_refused(waiting, f"The API server refuses the Binding to {node}: {error}")
            self._defer(waiting, "the API server refuses it", "refused")

    def _defer(self, waiting: Waiting, why: str, outcome: str = "failed") -> None:
        """Give its room back. Where it is gone or bound elsewhere, the watch says so before it is tried again."""
        self.outcomes[outcome] += 1
        longest = min(_LONGEST_DEFERRAL_S, _FIRST_DEFERRAL_S * 2 ** min(waiting.failures, 10))
        _log.info("Pod %s/%s was not bound: %s", waiting.namespace, waiting.name, why)
        self._ledger.defer(waiting, longest * random.uniform(0.5, 1.0))
