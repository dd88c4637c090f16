"""The controller's life: wait for the Lease, learn the cluster, schedule until told to stop or the Lease is lost.

The watches start only when we lead. Their first list is a consistent read that comes after the Lease, so it holds every
Binding that the former leader got through; a standby that watched along could not know that. Learning 10,000 Pods takes
about a second.

Ends: on SIGTERM or SIGINT with 0, after what is in flight has its answer and the Lease is released; with 1 when the
Lease is lost or a part fails, at once and without a further write, so that the kubelet starts us afresh.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import threading
import uuid
from functools import partial

from nos import _core
from nos.controller import loop
from nos.controller.binder import Binder, Place
from nos.controller.capacity import Capacities
from nos.controller.cutting import Cutter
from nos.controller.evictor import Evictor
from nos.controller.habits import Habits
from nos.controller.ledger import Ledger
from nos.controller.nominations import Nominations
from nos.controller.pace import Pace
from nos.controller.quota_report import QuotaReporter
from nos.controller.rejections import Rejections
from nos.controller.releases import Releases
from nos.controller.report import Reporter
from nos.controller.settings import Settings
from nos.controller.volume_binding import VolumeBinder
from nos.controller.waiting import Waiting
from nos.controller.watches import Watches
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.lease import Lease, LeaseLost
from nos.observe import health
from nos.observe.metrics import Metrics

_log = logging.getLogger(__name__)
_DRAIN_S = 8.0
_HARD_EXIT_S = 3.0


def main(settings: Settings) -> int:
    """Run to the end; the exit code. Raises ConfigError for what the user must correct."""
    access = Access.load(settings.kubeconfig, settings.context)
    return asyncio.run(_main(settings, access))


async def _main(settings: Settings, access: Access) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Client(access) as client:
        controller = Controller(settings, client)
        serve = health.serve(settings.health_address, lambda: controller.not_ready, controller.metrics)
        async with serve as address:
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

    def __init__(self, settings: Settings, client: Client) -> None:
        self.not_ready = "starting"  # empty when ready
        self.metrics = Metrics()
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"
        election = settings.leader_election
        self._settings = settings
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
            on_bound=lambda *bound: self._reporter.bound(*bound),
            on_refused=self._refused,
        )
        pace = Pace(
            busy=lambda: self._binder.busy or self._evictor.busy,
            rate=settings.reporting.rate,
            busy_rate=settings.reporting.rate_while_binding,
        )
        self._reporter = Reporter(client, self._ledger, identity, pace=pace)
        self._quota_reporter = QuotaReporter(client, self._ledger, capacities, may_write=may_write, pace=pace)
        self._habits = Habits(
            self._ledger, half_life=settings.usage_half_life_seconds, uses=lambda: self._quota_reporter.uses
        )
        self._cutter = Cutter(
            client,
            self._ledger,
            may_write=may_write,
            bind=lambda waiting, pod: self._volumes.submit(waiting, pod),
            on_cut=lambda *cut: self._reporter.cut(*cut),
            on_failed=lambda *failed: self._reporter.not_cut(*failed),
        )
        self._volumes = VolumeBinder(
            client,
            self._ledger,
            patience=settings.volume_binding_seconds,
            may_write=may_write,
            bind=self._bind,
            on_binding=lambda *binding: self._reporter.binding_volumes(*binding),
            on_failed=lambda *failed: self._reporter.volumes_not_bound(*failed),
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
            evict=self._evictor.evict,
        )
        self._ledger.gangs.lost = self._releases.lost
        self._nominations = Nominations(client, self._ledger, may_write=may_write)
        self._rejections = Rejections(client, self._ledger, self.metrics, on_rejected=self._reporter.rejected)
        self._ledger.pods.left_unrun = self._rejections.left_unrun
        self._watches = Watches(client, self._ledger)

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
                    self._reporter,
                    window,
                )
            )

    def _may_write(self) -> bool:
        return self._lease.held or not self._settings.leader_election.enabled

    def _refused(self, waiting: Waiting, why: str) -> None:
        self._reporter.refused(waiting, why)
        self._releases.refused(waiting, why)

    def _bind(self, waiting: Waiting, place: Place) -> None:
        """Its volumes are bound. That may have taken so long that its GPU has to be cut once more."""
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
        await self._lease.release()


def _failed(error: BaseException | None) -> int:
    # The event loop ends in good order below; should that take long, the process ends anyway.
    guard = threading.Timer(_HARD_EXIT_S, partial(os._exit, 1))
    guard.daemon = True
    guard.start()
    causes = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else [error]
    for cause in causes:
        if isinstance(cause, LeaseLost):
            _log.error("not leading any more: %s", cause)
        else:
            _log.error("stopped by a fault of nos: %s: %s", type(cause).__name__, cause, exc_info=cause)
    return 1


def _settle_memory() -> None:
    """What the first list built lives as long as we do: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
