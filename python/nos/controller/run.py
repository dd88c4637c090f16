"""The controller's life: wait for the Lease, learn the cluster, schedule until told to stop or the Lease is lost.

The watches start only when we lead. Their first list is a consistent read that comes after the Lease, so it holds every
Binding that the former leader got through; a standby that watched along could not know that. Learning 10,000 Pods takes
about a second.

Ends: on SIGTERM or SIGINT with 0, after what is in flight has its answer and the Lease is released; with 1 when the
Lease is lost or a part fails, at once and without a further write, so that the kubelet starts us afresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING

from nos import _core
from nos.controller import dashboard, leader_label, loop
from nos.controller.binder import Binder, Place
from nos.controller.capacity import Capacities
from nos.controller.census import Census
from nos.controller.cutting import Cutter
from nos.controller.evictor import Evictor
from nos.controller.habits import Habits
from nos.controller.ledger import Ledger
from nos.controller.measures import Measures
from nos.controller.nominations import Nominations
from nos.controller.pace import Pace
from nos.controller.quota_report import QuotaReporter
from nos.controller.rejections import Rejections
from nos.controller.releases import Releases
from nos.controller.report import Reporter
from nos.controller.scaling.backends import backends
from nos.controller.scaling.stage import Stage
from nos.controller.settings import Settings
from nos.controller.volume_binding import VolumeBinder
from nos.controller.waiting import Waiting
from nos.controller.watches import Watches
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.errors import ConfigError
from nos.kube.lease import Lease, LeaseLost
from nos.observe import health, tracing
from nos.observe.dashboard.moments import Moments
from nos.observe.metrics.controller import ControllerMetrics
from nos.observe.metrics.server import serve as serve_metrics
from nos.observe.view import Moment
from nos.record.recorder import Recorders

if TYPE_CHECKING:
    from nos.observe.spans import Spans

_log = logging.getLogger(__name__)
_DRAIN_S = 8.0
_HARD_EXIT_S = 3.0


def main(settings: Settings) -> int:
    """Run to the end; the exit code. Raises ConfigError for what the user must correct."""
    access = Access.load(settings.kubeconfig, settings.context)
    with tracing.start() as spans:
        return asyncio.run(_main(settings, access, spans))


async def _main(settings: Settings, access: Access, spans: Spans | None) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Client(access) as client:
        controller = Controller(settings, client, spans)
        secure, scrape = settings.metrics, controller.metrics.book.scrape
        async with contextlib.AsyncExitStack() as served:
            if secure.address:
                files = secure.cert_file, secure.key_file
                await served.enter_async_context(serve_metrics(secure.address, *files, client, scrape))
            serve = health.serve(
                settings.health_address, lambda: controller.not_ready, None if secure.address else scrape
            )
            address = await served.enter_async_context(serve)
            _log.info("API server %s, health on %s", access.server, address)
            life = asyncio.create_task(controller.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({life, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                return _failed(life.exception())
            _log.info("stopping")
            await controller.drain()
            life.cancel()
            await asyncio.wait({life})
            await controller.release()
            return 0


class Controller:
    """The parts, put together for one API server."""

    def __init__(self, settings: Settings, client: Client, spans: Spans | None) -> None:
        self.not_ready = "starting"  # empty when ready
        self.metrics = ControllerMetrics()
        self._measures = Measures(self.metrics, spans)
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"
        election = settings.leader_election
        self._settings = settings
        self._client = client
        self._lease = Lease(
            client,
            election.namespace,
            election.name,
            identity,
            lease_duration=election.lease_duration_seconds,
            renew_deadline=election.renew_deadline_seconds,
            retry_period=election.retry_period_seconds,
        )
        self._ledger = Ledger(settings.scheduler_name)
        may_write = self._may_write
        capacities = Capacities(client, self._ledger)
        self._binder = Binder(
            client,
            self._ledger,
            in_flight=settings.binding.in_flight,
            may_bind=may_write,
            capacity_of=lambda waiting: capacities.of(waiting.uid, waiting.namespace),
            on_bound=self._bound,
            on_refused=self._refused,
        )
        pace = Pace(
            busy=lambda: self._binder.busy or self._evictor.busy,
            rate=settings.reporting.rate,
            busy_rate=settings.reporting.rate_while_binding,
        )
        self._reporter = Reporter(
            client, self._ledger, identity, pace=pace, word=lambda *reason: self._stage.word(*reason)
        )
        self._quota_reporter = QuotaReporter(client, self._ledger, capacities, may_write=may_write, pace=pace)
        self._habits = Habits(
            self._ledger, half_life=settings.usage_half_life_seconds, uses=lambda: self._quota_reporter.uses
        )
        self._cutter = Cutter(
            client,
            self._ledger,
            may_write=may_write,
            bind=lambda waiting, pod: self._volumes.submit(waiting, pod),
            on_cut=self._cut,
            on_failed=self._not_cut,
        )
        self._volumes = VolumeBinder(
            client,
            self._ledger,
            patience=settings.volume_binding_seconds,
            may_write=may_write,
            bind=self._bind,
            on_binding=self._binding_volumes,
            on_failed=self._volumes_not_bound,
        )
        self._evictor = Evictor(
            client,
            self._ledger,
            may_write=may_write,
            on_wanted=self._reporter.making_room,
            on_evicted=self._reporter.evicted,
        )
        self._releases = Releases(
            client,
            self._ledger,
            grace=settings.gang_grace_seconds,
            may_write=may_write,
            evict=partial(self._evictor.evict, cause="gang"),
        )
        self._ledger.gangs.lost = self._releases.lost
        self._stage = Stage(
            client,
            self._ledger,
            settings.scaling,
            backends(settings.scaling, client),
            score=settings.score,
            may_write=may_write,
            evict=partial(self._evictor.evict, cause="drain"),
            on_change=self._reporter.look_again,
            on_ordered=self._reporter.node_ordered,
            on_failed=self._reporter.node_not_made,
        )
        self._nominations = Nominations(client, self._ledger, may_write=may_write)
        self._rejections = Rejections(client, self._ledger, on_rejected=self._reporter.rejected)
        self._ledger.pods.left_unrun = self._rejections.left_unrun
        self._watches = Watches(client, self._ledger)
        self._measure(client)
        self._moments = Moments()
        self._recorders = Recorders(self._ledger.cluster, self._ledger.edit, settings.score)
        self._reporter.happened = self._moments.add
        self._stage.orders.happened = self._stage.drains.happened = self._scaled

    async def run(self) -> None:
        """Never returns; raises what ended it."""
        elect = self._settings.leader_election.enabled
        if elect:
            self.not_ready = ""  # a standby is ready to stand by
            await self._lease.acquire()
        self.not_ready = "learning the cluster"
        scheduler = _core.Scheduler(self._ledger.cluster, _core.Policy(self._settings.score))
        async with asyncio.TaskGroup() as parts:
            if elect:
                parts.create_task(self._lease.hold())
            await self._watches.start(parts)
            await self._ledger.wait_synced()
            await self._stage.restore(parts, self._watches)
            _settle_memory()
            self.not_ready = ""
            _log.info(
                "scheduling: %d nodes, %d Pods, %d wait",
                len(self._ledger.nodes.known),
                self._ledger.cluster.pod_count,
                len(self._ledger.waiting),
            )
            parts.create_task(self._binder.run())
            parts.create_task(self._cutter.run())
            parts.create_task(self._volumes.run())
            parts.create_task(self._reporter.run())
            parts.create_task(self._habits.run())
            parts.create_task(self._rejections.run())
            parts.create_task(self._evictor.run())
            parts.create_task(self._releases.run())
            parts.create_task(self._nominations.run())
            parts.create_task(self._quota_reporter.run())
            self._stage.start(parts)
            settings, of = self._settings.dashboard, scheduler.fragmentation_ratio
            parts.create_task(dashboard.show(settings, self._client, self._ledger, of, self._moments, self._recorders))
            if pod := self._settings.leader_election.pod:
                parts.create_task(leader_label.keep(self._client, pod, self._may_write))
            window = self._settings.batch_window_seconds
            parts.create_task(
                loop.run(
                    self._ledger,
                    scheduler,
                    self._cutter,
                    self._volumes,
                    self._evictor,
                    self._nominations,
                    self._quota_reporter,
                    self._stage,
                    self._reporter,
                    self._measures,
                    self._recorders,
                    window,
                )
            )

    def _measure(self, client: Client) -> None:
        """Have the parts tell what is measured as it happens, and a census taken of the rest."""
        metrics = self.metrics
        client.answered = self._measures.answered
        self._ledger.echoed = self._measures.echoed
        self._stage.orders.on_up = metrics.scaling.ready_seconds.observe
        self._stage.down.on_removal = metrics.scaling.payback_seconds.observe
        metrics.book.read = Census(
            metrics,
            self._ledger,
            binder=self._binder,
            reporter=self._reporter,
            cutter=self._cutter,
            evictor=self._evictor,
            rejections=self._rejections,
            stage=self._stage,
            watches=self._watches,
            lease=self._lease,
        ).read

    def _bound(self, waiting: Waiting, place: Place) -> None:
        self._measures.bound(waiting)
        self._reporter.bound(waiting, place)

    def _scaled(self, moment: Moment) -> None:
        self._moments.add(moment)
        self._recorders.happened(moment.kind, moment.object, moment.text)

    def _may_write(self) -> bool:
        return self._lease.held or not self._settings.leader_election.enabled

    def _refused(self, waiting: Waiting, why: str) -> None:
        self._reporter.refused(waiting, why)
        self._releases.refused(waiting, why)

    def _cut(self, waiting: Waiting, node: str) -> None:
        self._measures.begin(waiting, "cut GPUs")
        self._reporter.cut(waiting, node)

    def _not_cut(self, waiting: Waiting, why: str) -> None:
        self._measures.over(waiting, why)
        self._reporter.not_cut(waiting, why)

    def _binding_volumes(self, waiting: Waiting, message: str) -> None:
        self._measures.begin(waiting, "bind volumes")
        self._reporter.binding_volumes(waiting, message)

    def _volumes_not_bound(self, waiting: Waiting, why: str) -> None:
        self._measures.over(waiting, why)
        self._reporter.volumes_not_bound(waiting, why)

    def _bind(self, waiting: Waiting, place: Place) -> None:
        """Its volumes are bound. That may have taken so long that its GPU has to be cut once more."""
        self._measures.over(waiting)
        if place.ready:
            self._binder.submit(waiting, place)
        else:
            self._cutter.submit(waiting, place)

    async def drain(self) -> None:
        """Begin no Binding any more, and wait for the answers to those that are out."""
        self.not_ready = "stopping"
        await self._binder.drain(_DRAIN_S)

    async def release(self) -> None:
        """Let the next one lead; only after `run` has ended."""
        led, pod = self._may_write(), self._settings.leader_election.pod
        await self._lease.release()
        if led and pod:
            await leader_label.give_back(self._client, pod)


def _failed(error: BaseException | None) -> int:
    # The event loop ends in good order below; should that take long, the process ends anyway.
    guard = threading.Timer(_HARD_EXIT_S, partial(os._exit, 1))
    guard.daemon = True
    guard.start()
    causes = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else [error]
    for cause in causes:
        if isinstance(cause, LeaseLost):
            _log.error("not leading any more: %s", cause)
        elif isinstance(cause, ConfigError):
            _log.error("%s", cause)
        else:
            _log.error("stopped by a fault of nos: %s: %s", type(cause).__name__, cause, exc_info=cause)
    return 1


def _settle_memory() -> None:
    """What the first list built lives as long as we do: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
