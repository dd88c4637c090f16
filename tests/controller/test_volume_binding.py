"""What is written for a Pod's claims when the world moves while a write is on its way. The API server is a double, for
that moment is a test's to choose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.volume_binding import VolumeBinder
from nos.controller.waiting import State, Waiting
from nos.kube.client import Client
from nos.kube.errors import ApiError
from tests.controller.in_loop import in_loop, settled
from tests.controller.test_ledger import node
from tests.controller.test_storage import SINKS, pod, put, synced
from tests.kube.stored import claim, decoded, storage_class, volume

DISK, LARGE = volume("disk"), volume("large", size="2Gi")
RIVAL = {"namespace": "ml", "name": "rival", "uid": "uid-of-rival"}
ONE, TWO = claim("one"), claim("two", size="2Gi")


class Server:
    """Does what a merge patch asks of an object that it has, in a moment in which `meanwhile` happens."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.patched: list[str] = []
        self._meanwhile = meanwhile
        self._objects = {"disk": DISK, "large": LARGE, "made": claim("made", "fast")}

    async def request(self, _: str, path: str, *, body: bytes, **__: Any) -> bytes:
        name, patch = path.partition("?")[0].rpartition("/")[2], json.loads(body)
        if name not in self._objects:
            raise ApiError(404, "NotFound", f"{name} not found")
        made = {key: value | patch.get(key, {}) for key, value in self._objects[name].items()}
        made["metadata"]["resourceVersion"] = "100"
        self.patched.append(name)
        self._meanwhile()
        return json.dumps(made).encode()


async def bind(ledger: Ledger, server: Server, *claims: str) -> tuple[Waiting, VolumeBinder]:
    """Decide on a Pod with these claims, and do all that can be done for it."""
    ledger.nodes.changed(node("n"))
    ledger.pods.changed(pod("p", *claims))
    binder = VolumeBinder(
        cast(Client, server),
        ledger,
        patience=600.0,
        may_write=lambda: True,
        bind=lambda *_: None,
        on_binding=lambda *_: None,
        on_failed=lambda *_: None,
    )
    with ledger.scheduling():
        (decided,) = _core.Scheduler(ledger.cluster).schedule().binds
    waiting = ledger.decided(decided.uid)
    assert waiting
    assert binder.reserve(waiting, decided)
    binder.submit(waiting, decided)
    running = asyncio.create_task(binder.run())
    for _ in range(20):
        await settled()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return waiting, binder


def world() -> Ledger:
    ledger = synced(Ledger("nos-scheduler"))
    put(ledger, "classes", storage_class("local"), storage_class("fast", "csi.example.com"))
    return ledger


@in_loop
async def test_both_volumes_are_written() -> None:
    ledger = world()
    put(ledger, "volumes", DISK, LARGE)
    put(ledger, "claims", ONE, TWO)
    server = Server(lambda: None)
    waiting, _ = await bind(ledger, server, "one", "two")
    assert server.patched == ["disk", "large"]
    assert waiting.state is State.BINDING


@in_loop
async def test_a_volume_that_became_anothers_meanwhile_is_not_written() -> None:
    ledger = world()
    put(ledger, "volumes", DISK, LARGE)
    put(ledger, "claims", ONE, TWO)
    taken = volume("large", size="2Gi", claimRef=RIVAL, resourceVersion="50")
    server = Server(lambda: put(ledger, "volumes", taken))
    waiting, binder = await bind(ledger, server, "one", "two")
    assert server.patched == ["disk"]
    assert (waiting.state, binder.failed) == (State.DEFERRED, 1)


@in_loop
async def test_nor_where_its_claim_was_given_another_by_hand() -> None:
    """The claim names one that is of use, but it is the first that would be written."""
    ledger = world()
    put(ledger, "volumes", DISK, LARGE, volume("by-hand", size="3Gi"))
    put(ledger, "claims", ONE, TWO)

    def meanwhile() -> None:
        put(ledger, "volumes", volume("large", size="2Gi", claimRef=RIVAL, resourceVersion="50"))
        put(ledger, "claims", claim("two", size="2Gi", volumeName="by-hand", resourceVersion="51"))

    server = Server(meanwhile)
    waiting, _ = await bind(ledger, server, "one", "two")
    assert server.patched == ["disk"]
    assert waiting.state is State.DEFERRED


@in_loop
async def test_the_answer_to_a_write_brings_back_nothing_that_is_gone() -> None:
    ledger = world()
    made = claim("made", "fast")
    put(ledger, "claims", made)
    server = Server(lambda: ledger.storage.sinks[SINKS["claims"]].deleted(decoded("claims", made)))
    waiting, _ = await bind(ledger, server, "made")
    assert server.patched == ["made"]
    assert ledger.storage.index.claim("ml/made") is None
    assert waiting.state is State.DEFERRED
