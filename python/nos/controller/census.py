"""What is counted when somebody asks for the metrics: the state of the ledger and of the parts around it.

All is read at one moment, between two cycles, in one pass over the nodes, the Pods that wait and the quotas. Nothing is
kept for it from one scrape to the next.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from nos import _core
from nos.autoscaler.backend import State as InstanceState
from nos.autoscaler.template import PRODUCT_LABEL
from nos.controller.binder import Binder
from nos.controller.cutting import Cutter
from nos.controller.evictor import Evictor
from nos.controller.ledger import Ledger
from nos.controller.rejections import Rejections
from nos.controller.report import Reporter
from nos.controller.scaling.stage import Stage
from nos.controller.watches import Watches
from nos.kube.lease import Lease
from nos.observe.metrics.book import Entry, Values
from nos.observe.metrics.controller import VERSION, ControllerMetrics

_UNKNOWN = "unknown"
_MILLI, _MICRO = 1000, 1_000_000

_Samples = dict[tuple[str, ...], float]


class Census:
    """`read` takes it."""

    def __init__(
        self,
        metrics: ControllerMetrics,
        ledger: Ledger,
        *,
        binder: Binder,
        reporter: Reporter,
        cutter: Cutter,
        evictor: Evictor,
        rejections: Rejections,
        stage: Stage,
        watches: Watches,
        lease: Lease,
    ) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self._binder = binder
        self._reporter = reporter
        self._cutter = cutter
        self._evictor = evictor
        self._rejections = rejections
        self._stage = stage
        self._watches = watches
        self._lease = lease

    async def read(self) -> Values:
        """The values of all metrics that are read, once no cycle is under way."""
        answer: asyncio.Future[Values] = asyncio.get_running_loop().create_future()

        def count() -> None:
            if answer.done():
                return  # nobody waits any more
            try:
                answer.set_result(self._count())
            except Exception as error:  # for who asked, and not for the ledger
                answer.set_exception(error)

        self._ledger.edit(count)
        return await answer

    def _count(self) -> Values:
        values: dict[Entry, _Samples] = {self._metrics.build: {(VERSION,): 1}}
        values |= self._scheduling()
        values |= self._gpus(_core.gpu_use(self._ledger.cluster))
        values |= self._room()
        values |= self._quotas()
        values |= self._scaling()
        values |= self._api()
        return values

    def _scheduling(self) -> dict[Entry, _Samples]:
        of, ledger = self._metrics.scheduling, self._ledger
        attempts: _Samples = {("waits", code): count for code, count in self._reporter.waits.items()}
        attempts["placed", ""] = of.placed
        waiting = [each for each in ledger.waiting.values() if not each.request]
        queue: Counter[tuple[str, ...]] = Counter(
            (str(each.priority), ledger.quotas.of(each.namespace), each.state.value) for each in waiting
        )
        oldest = min((each.seen for each in waiting), default=None)
        return {
            of.attempts: attempts,
            of.bindings: _each(self._binder.outcomes, ("bound", "refused", "failed")),
            of.rejections: _each(self._rejections.reasons),
            of.queue: dict(queue),
            of.reasons: _each(self._reporter.by_code()),
            of.oldest: {(): time.monotonic() - oldest if oldest is not None else 0.0},
            of.lost: {(): self._reporter.events.lost},
        }

    def _gpus(self, uses: Sequence[_core.GpuUse]) -> dict[Entry, _Samples]:
        of = self._metrics.gpus
        by_node: tuple[_Samples, _Samples] = {}, {}
        everywhere: tuple[_Samples, ...] = tuple(defaultdict(float) for _ in range(5))
        gpus, allocated, free, unavailable, stranded = everywhere
        for use in uses:
            model, taken = self._model(use.node), use.all - use.free - use.withheld
            by_node[0][use.node, model] = use.all / _MILLI
            by_node[1][use.node,] = taken / _MILLI
            for samples, amount in (gpus, use.all), (allocated, taken), (free, use.free), (unavailable, use.withheld):
                samples[model,] += amount / _MILLI
            for cause, amount in use.stranded.items():
                stranded[model, cause] += amount / _MILLI
        lost, left = sum(stranded.values()), sum(free.values())
        return {
            of.nodes: {(): self._ledger.cluster.node_count},
            of.node_gpus: by_node[0],
            of.node_allocated: by_node[1],
            of.gpus: gpus,
            of.allocated: allocated,
            of.free: free,
            of.unavailable: unavailable,
            of.stranded: stranded,
            of.fragmentation: {(): lost / left if left else 0.0},
        }

    def _model(self, name: str) -> str:
        node, reported = self._ledger.nodes.node(name), self._ledger.gpu_nodes.known.get(name)
        label = node.metadata.labels.get(PRODUCT_LABEL, "") if node else ""
        products = [gpu.product for gpu in reported.status.gpus if gpu.product] if reported and not label else []
        return label or (products[0] if products else _UNKNOWN)

    def _room(self) -> dict[Entry, _Samples]:
        of = self._metrics.gpus
        return {
            of.recuts: {(): self._cutter.recuts},
            of.recut_pods: {("served",): self._cutter.served, ("failed",): self._cutter.failed},
            of.evictions: _each(self._evictor.causes, ("priority", "reclaim", "repack", "drain", "gang")),
            of.refused_evictions: {(): self._evictor.refused},
        }

    def _quotas(self) -> dict[Entry, _Samples]:
        of, ledger = self._metrics.quotas, self._ledger
        minima: _Samples = {}
        maxima: _Samples = {}
        used: _Samples = {}
        borrowed: _Samples = {}
        reclaimed: _Samples = {}
        for name in ledger.quotas.counted:
            try:
                state = ledger.cluster.quota(name)
            except KeyError:
                continue
            reclaimed[name,] = self._evictor.reclaimed[name]
            for resource in {*state.min, *state.max}:
                amount = state.used.get(resource, 0)
                least = state.min.get(resource, amount)  # without one nothing of it is lent
                used[name, resource] = _amount(resource, amount)
                borrowed[name, resource] = _amount(resource, max(0, amount - least))
                if resource in state.min:
                    minima[name, resource] = _amount(resource, least)
                if resource in state.max:
                    maxima[name, resource] = _amount(resource, state.max[resource])
        return {of.min: minima, of.max: maxima, of.used: used, of.borrowed: borrowed, of.reclaimed: reclaimed}

    def _scaling(self) -> dict[Entry, _Samples]:
        of, fleet, orders = self._metrics.scaling, self._stage.fleet, self._stage.orders
        if not self._stage.is_on:
            return {}
        nodes: Counter[tuple[str, ...]] = Counter()
        cost: _Samples = defaultdict(float)
        for instance in fleet.instances.values():
            nodes[instance.group, instance.state.value] += 1
            if instance.state in (InstanceState.UP, InstanceState.GOING):
                cost[instance.group,] += fleet.groups[instance.group].price / _MICRO
        states = Counter(
            "broken" if id_ in fleet.problems else "resting" if orders.pause(id_) else "ready" for id_ in fleet.groups
        )
        return {
            of.nodes: dict(nodes),
            of.cost: cost,
            of.groups: _each(states, ("ready", "resting", "broken")),
            of.orders: {(*key,): count for key, count in orders.placed.items()},
            of.failures: _each(orders.failures, fleet.groups),
            of.removed: {(): self._stage.down.removed},
        }

    def _api(self) -> dict[Entry, _Samples]:
        of, now, watches = self._metrics.api, time.monotonic(), self._watches.all
        return {
            of.requests: {(*key,): count for key, count in of.counts.items()},
            of.events: {(watch.resource,): watch.events for watch in watches},
            of.lists: {(watch.resource,): watch.lists for watch in watches},
            of.silence: {(watch.resource,): now - watch.heard for watch in watches},
            of.leading: {(): float(self._lease.held)},
            of.remaining: {(): self._lease.remaining},
        }


def _each(counts: Mapping[str, int], always: Iterable[str] = ()) -> _Samples:
    """always: those that are there before they are counted, so that their increase can be seen."""
    return {(key,): count for key, count in {**dict.fromkeys(always, 0), **counts}.items()}


def _amount(resource: str, amount: int) -> float:
    return amount / _MILLI if resource == "cpu" else amount
