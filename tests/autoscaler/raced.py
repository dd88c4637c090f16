"""A client to whom somebody else gets in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nos.kube.access import Access
from nos.kube.client import Client


class Raced(Client):
    """races: what somebody does right before its first request of a method."""

    def __init__(self, access: Access, races: dict[str, Callable[[], None]]) -> None:
        super().__init__(access)
        self._races = races

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        if race := self._races.pop(method, None):
            await asyncio.to_thread(race)
        return await super().request(method, path, **more)
