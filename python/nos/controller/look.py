"""The cluster as a controller sees it, for those who only look: same watches, same ledger, and room that is booked is
taken. Nothing is written."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nos.controller.ledger import Ledger
from nos.controller.report import by_code
from nos.controller.scaling.provisioning import Answerer
from nos.controller.watches import Watches
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.errors import ApiError, ConfigError, Unreachable

_PATIENCE_S = 60.0
_LOOK_S = 1.0  # between two at what is booked


@asynccontextmanager
async def watched(access: Access, scheduler_name: str) -> AsyncIterator[tuple[Client, Ledger]]:
    """A ledger that knows the cluster, and is kept up to date. Raises ConfigError where it cannot be learnt."""
    async with Client(access) as client:
        try:
            await client.request("GET", "/version", attempts=2)
        except (ApiError, Unreachable) as error:
            raise ConfigError(f"{access.server}: {error}; see whether it answers, and who you are to it") from None
        ledger = Ledger(scheduler_name)
        ledger.pods.any_may_move = True
        is_known = asyncio.Event()
        watching, syncing = asyncio.create_task(_watch(client, ledger, is_known)), asyncio.create_task(is_known.wait())
        try:
            await asyncio.wait({watching, syncing}, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            if not syncing.done():
                raise ConfigError(
                    f"{access.server} has not shown the cluster within {_PATIENCE_S:.0f} s; see whether it answers, "
                    "and whether you may list and watch what the ClusterRole nos-scheduler may"
                )
            yield client, ledger
        finally:
            watching.cancel()
            syncing.cancel()
            await asyncio.wait({watching, syncing})


async def _watch(client: Client, ledger: Ledger, is_known: asyncio.Event) -> None:
    # Before the Pods come: it has to see who uses what is booked. A booking ends when the controller says so.
    answerer = Answerer(client, ledger, booking_seconds=math.inf, may_write=lambda: False, word=by_code)
    watches = Watches(client, ledger)
    async with asyncio.TaskGroup() as parts:
        await watches.start(parts)
        await ledger.wait_synced()
        has_requests = await answerer.watch(parts, watches, may_lack=True)
        while has_requests:
            await answerer.look()
            is_known.set()
            await asyncio.sleep(_LOOK_S)
        is_known.set()
