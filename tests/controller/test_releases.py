"""Gangs that are released, and those that take their names."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from nos.controller import releases
from nos.controller.releases import Releases
from nos.kube.client import Client
from tests.controller.in_loop import in_loop
from tests.controller.test_gang_facts import pod, synced


class NobodyHasEnded:
    """In place of the API server."""

    async def request(self, *_: Any, **__: Any) -> bytes:
        return b'{"items": [], "metadata": {}}'


@in_loop
async def test_a_gang_with_the_name_of_a_released_one_is_another() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(releases, "_TICK_S", 0.01)
        patch.setattr(releases, "_AGAIN_S", 0.05)
        ledger, evicted = synced(), set[str]()
        of_three = {name: pod(name, on="n", least="3") for name in "abcde"}
        for name in "ab":
            ledger.pods.changed(of_three[name])
        parts = Releases(
            cast(Client, NobodyHasEnded()),
            ledger,
            grace=0.02,
            may_write=lambda: True,
            evict=lambda _namespace, _name, uid, _why: evicted.add(uid),
        )
        running = asyncio.create_task(parts.run())
        async with asyncio.timeout(20):
            while evicted != {"u-a", "u-b"}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for name in "ab":
            ledger.pods.deleted(of_three[name])
        for name in "cde":  # at once: nobody has looked in between
            ledger.pods.changed(of_three[name])
        await asyncio.sleep(0.2)  # many looks, and long enough for asking again
        assert evicted == {"u-a", "u-b"}
        running.cancel()
