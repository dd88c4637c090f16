"""The dashboard of a synthetic cluster, served by a thread of its own.

python -m tests.observe.dashboard.served [NODES [PORT]]   to look at it
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from nos.observe.access import Door, at_home
from nos.observe.dashboard.feed import Feed
from nos.observe.dashboard.moments import Moments
from nos.observe.dashboard.server import serve
from nos.observe.view import Moment
from tests.observe.dashboard.synthetic import Synthetic


class Served:
    """One dashboard; `do` changes its cluster."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop, world: Synthetic, moments: Moments) -> None:
        self.url = url
        self.world = world
        self._loop = loop
        self._moments = moments

    def do(self, change: Callable[[Synthetic], Any]) -> None:
        """Change the cluster, in the thread that looks at it; Moments that this yields have happened."""

        async def change_it() -> None:
            for moment in change(self.world) or ():
                self._moments.add(moment)

        asyncio.run_coroutine_threadsafe(change_it(), self._loop).result(10)

    def happened(self, moment: Moment) -> None:
        """Tell of it."""
        self.do(lambda _: (moment,))


@asynccontextmanager
async def dashboard(world: Synthetic, address: str, door: Door = at_home) -> AsyncIterator[tuple[str, Moments]]:
    """Serve it; yields its address."""
    moments = Moments()
    feed = Feed(world.look, moments)
    async with serve(address, feed, door) as got:
        looking = asyncio.create_task(feed.run())
        try:
            yield got, moments
        finally:
            looking.cancel()
            await asyncio.wait({looking})


@contextmanager
def served(world: Synthetic, address: str = "127.0.0.1:0", door: Door = at_home) -> Iterator[Served]:
    """Serve it until left."""
    ready = threading.Event()
    found: list[Served] = []
    ends: list[Callable[[], None]] = []

    async def main() -> None:
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        async with dashboard(world, address, door) as (got, moments):
            found.append(Served(f"http://{got}/", loop, world, moments))
            ends.append(lambda: loop.call_soon_threadsafe(end.set))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10), "the dashboard does not start"
    try:
        yield found[0]
    finally:
        ends[0]()
        thread.join(10)
        assert not thread.is_alive()


async def _show(nodes: int, port: int) -> None:
    world = Synthetic(nodes)
    async with dashboard(world, f"127.0.0.1:{port}") as (address, moments):
        print(f"http://{address}/", flush=True)
        while True:
            await asyncio.sleep(1)
            for moment in world.step(max(1, nodes // 100)):
                moments.add(moment)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_show(*(int(arg) for arg in (*sys.argv[1:], *("100", "10300")[len(sys.argv) - 1 :]))))
