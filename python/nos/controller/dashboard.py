"""The dashboard of a controller that leads."""

import asyncio
import logging
from collections.abc import Callable

from nos.controller.ledger import Ledger
from nos.controller.viewer import Viewer
from nos.kube.client import Client
from nos.kube.errors import ConfigError
from nos.observe.access import ByToken, at_home, is_loopback
from nos.observe.certificate import Certificate
from nos.observe.dashboard.feed import Feed
from nos.observe.dashboard.moments import Moments
from nos.observe.dashboard.server import Recording, serve
from nos.observe.dashboard.settings import USUAL, Dashboard
from nos.record.recorder import Recorders

_log = logging.getLogger(__name__)


async def show(
    settings: Dashboard,
    client: Client,
    ledger: Ledger,
    fragmentation: Callable[[], float],
    moments: Moments,
    recorders: Recorders,
) -> None:
    """Serve until cancelled, where the settings want it. fragmentation: see `Scheduler.fragmentation_ratio`. Raises
    ConfigError where the address that was asked for cannot be had."""
    if settings.address == "":
        return
    address = settings.address or USUAL
    certificate = Certificate("dashboard", settings.cert_file, settings.key_file) if settings.cert_file else None
    here = is_loopback(address.rpartition(":")[0])
    door = at_home if here else ByToken(client, "/dashboard", "nos-dashboard")
    # A record has more than the page: labels, and all that Pods ask for. Who may look may not have it for that alone.
    recording = Recording(recorders.record, at_home if here else ByToken(client, "/record", "nos-record"))
    feed = Feed(Viewer(ledger, fragmentation).look, moments)
    try:
        async with serve(address, feed, door, certificate.context if certificate else None, recording) as got:
            _log.info("dashboard on %s://%s/", "https" if certificate else "http", got)
            async with asyncio.TaskGroup() as parts:
                parts.create_task(feed.run())
                if certificate:
                    parts.create_task(certificate.renew())
    except ConfigError as error:
        if settings.address is not None:
            raise
        _log.warning("there is no dashboard: %s", error)  # nobody has asked for this very address
