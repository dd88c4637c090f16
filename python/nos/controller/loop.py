"""The loop: events in, schedule, decisions out.

The watches fill the ledger. When something happened that may let a Pod run, the batching window lets what comes with it
come too; then the core decides on all that waits, in a thread and with the GIL released, while the event loop goes on
reading and writing. What it decided is already assumed in the ledger and goes to the binder: first by way of the cutter
on nodes whose GPUs nos cuts, then of the volume binder. Who has to go so that others fit is told to the evictor, who
might run on a node more to the scaling stage, and why others wait to the reporter. A Binding that fails is taken back
by the binder (`Ledger.defer`), which is news, and the loop goes on.
"""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from nos import _core
from nos.controller.cutting import Cutter
from nos.controller.evictor import Evictor
from nos.controller.ledger import Ledger
from nos.controller.measures import Measures
from nos.controller.nominations import Nominations
from nos.controller.quota_report import QuotaReporter
from nos.controller.report import Reporter
from nos.controller.scaling.stage import Stage
from nos.controller.volume_binding import VolumeBinder
from nos.record.recorder import Recorders

_log = logging.getLogger(__name__)
_PATIENCE_S = 5.0  # how long news that is probably an echo may wait for a cycle


async def run(
    ledger: Ledger,
    scheduler: _core.Scheduler,
    cutter: Cutter,
    volumes: VolumeBinder,
    evictor: Evictor,
    nominations: Nominations,
    quotas: QuotaReporter,
    stage: Stage,
    reporter: Reporter,
    measures: Measures,
    recorders: Recorders,
    window: float,
) -> None:
    """Schedule until cancelled. The watches must have synced: deciding on half a cluster would overcommit the rest."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "schedule") as thread:
        while True:
            await ledger.wait_news(_PATIENCE_S)
            await asyncio.sleep(window)
            stage.hand_over()
            began = time.monotonic()
            with ledger.scheduling():
                outcome = await loop.run_in_executor(thread, scheduler.schedule)
                took = time.monotonic() - began
                recorders.cycle(outcome)
                # Before anything that has come meanwhile is applied: a decision is about what the core knew.
                decided = [(waiting, bind) for bind in outcome.binds if (waiting := ledger.decided(bind.uid))]
                decided = [(waiting, bind) for waiting, bind in decided if not waiting.request]
                decided = [(waiting, bind) for waiting, bind in decided if volumes.reserve(waiting, bind)]
                quotas.look()  # so that Bindings say whether their Pods are over their quota
            left = outcome.waiting
            measures.cycle(began, took, decided, len(left))
            for waiting, bind in decided:
                if not bind.ready or bind.instances or (bind.gpus and ledger.nodes.is_cut(bind.node)):
                    cutter.submit(waiting, bind)
                else:
                    volumes.submit(waiting, bind)
            evictor.wanted(outcome.evictions)
            nominations.held(outcome.held)
            stage.waiting(left)
            reporter.waiting(left)
            _log.debug("%d placed, %d wait, %.1f ms", len(decided), len(left), took * 1e3)
