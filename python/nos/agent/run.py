"""The agent's life on its node: what the GPUNode wants is done, what is there is served and reported.

Arrives: the GPUNode of this node and this node's Pods from their watches, GPU errors from the driver, the kubelet's
calls. Leaves: cut GPUs, device lists, and the GPUNode's status. Each GPU is tended by a task of its own, so that one
that is slow or in use holds back none. While the API server is away the kubelet is served all the same, and after a
reboot the GPUs are cut as the journal remembers.

Ends on SIGTERM or SIGINT, and leaves everything as it is: Pods run on, and the next agent begins with a look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from nos.kube import gpunode
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.pod import Pod, decode_pod
from nos.kube.watch import Watch
from nos.observe import health
from nos.observe.metrics.agent import AgentMetrics

from .census import Census
from .driver import Driver, DriverError
from .gpus import Gpus
from .journal import Journal, alone
from .kubelet import DevicePlugins, Hand, PodResources
from .nvml import Nvml
from .pods import PODS, Pods
from .publish import Publisher
from .recut import WHOLE_GPU, RecutError, recut
from .wanted import WantedSink

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
LOOK_S = 30.0  # how often the driver is read without cause, for what others may do to it
SPEC_S = 3.0  # how long the API server has to say what is wanted, before the journal is gone by
_XID_WAIT_MS = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    node: str
    kubelet: Path = Path("/var/lib/kubelet")
    state: Path = Path("/var/lib/nos")
    hand: Hand = Hand.ENVIRONMENT
    kubeconfig: str | None = None
    context: str | None = None
    health_address: str = "127.0.0.1:10270"


def main(settings: Settings) -> int:
    """Run to the end; the exit code. Raises ConfigError, DriverError or OSError for what the user must correct."""
    access = Access.load(settings.kubeconfig, settings.context)
    with alone(settings.state), Nvml() as driver:
        return asyncio.run(_main(settings, access, driver, Journal(settings.state)))


async def _main(settings: Settings, access: Access, driver: Driver, journal: Journal) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        Client(access) as client,
        serving(settings, client, driver, journal) as agent,
        health.serve(settings.health_address, lambda: agent.not_ready, agent.metrics.book.scrape) as address,
    ):
        _log.info("API server %s, health on %s", access.server, address)
        life, stopping = asyncio.create_task(agent.run()), asyncio.create_task(stop.wait())
        await asyncio.wait({life, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if life.done():
            _log.error("stopped by a fault of nos: %r", life.exception(), exc_info=life.exception())
            return 1
        _log.info("stopping; the GPUs stay as they are")
        life.cancel()
        await asyncio.wait({life})
        return 0


@contextlib.asynccontextmanager
async def serving(settings: Settings, client: Client, driver: Driver, journal: Journal) -> AsyncIterator[Agent]:
    """An agent and its sockets, to be run inside."""
    news = _News()
    plugins = DevicePlugins(settings.kubelet / "device-plugins", hand=settings.hand, on_change=news)
    async with plugins, PodResources(settings.kubelet / "pod-resources" / "kubelet.sock") as kubelet:
        gpus = Gpus(driver, plugins, kubelet)
        try:
            agent = Agent(settings, client, gpus, journal)
            news.heard = agent.publisher.wake
            yield agent
        finally:
            await gpus.close()


class _News:
    """What the kubelet's calls set off, once there is somebody to hear of it."""

    heard: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self.heard:
            self.heard()


class Agent:
    """The parts of one node's agent."""

    def __init__(self, settings: Settings, client: Client, gpus: Gpus, journal: Journal) -> None:
        self.not_ready = "reading the GPUs"  # empty when ready
        self.metrics = AgentMetrics()
        self._gpus = gpus
        self._journal = journal
        self._work = {index: asyncio.Event() for index in gpus.indices}  # by GPU: look whether it is as wanted
        self._wanted = WantedSink(settings.node, gpus.indices, journal, self._wake)
        self.publisher = Publisher(client, gpus, self._wanted, settings.node)
        gpus.changed = self.metrics.changed
        self.metrics.book.read = Census(self.metrics, gpus, self._wanted.problems).read
        self._pods = Pods(client, settings.node, self._pods_changed)
        name = f"metadata.name={settings.node}"
        self._watches = (
            Watch(client, gpunode.GPU_NODES, gpunode.decode_gpu_node, self._wanted, field_selector=name),
            Watch[Pod](client, PODS, decode_pod, self._pods, field_selector=self._pods.selector),
        )

    async def run(self) -> None:
        """Never returns; raises what ended it."""
        for step in self._journal.interrupted:
            _log.warning("the last agent ended in the middle of: %s; going on from what the driver shows", step)
        with contextlib.suppress(DriverError):  # that will be said when we listen
            await self._gpus.call(self._gpus.driver.wait_xid, 0)  # from now on no error is missed
        await self._gpus.look_at_all()
        _log.info("%d GPUs: %s", len(self._gpus.known), ", ".join({gpu.product for gpu in self._gpus.known.values()}))
        self.not_ready = ""
        async with asyncio.TaskGroup() as parts:
            for index in self._work:
                parts.create_task(self._tend(index), name=f"GPU {index}")
            parts.create_task(self._listen())
            parts.create_task(self._look_now_and_then())
            parts.create_task(self._go_by_the_journal())
            parts.create_task(self.publisher.run())
            for watch in self._watches:
                parts.create_task(watch.run())

    async def _go_by_the_journal(self) -> None:
        """The API server knows better, if it is there: the spec may have changed while there was no agent."""
        self.publisher.wake()
        await asyncio.sleep(SPEC_S)
        if not self._wanted.generation:
            self._wake()

    def _wake(self) -> None:
        for work in self._work.values():
            work.set()
        self.publisher.wake()

    def _pods_changed(self) -> None:
        """One that came is to get what was planned for it; one that went may have held what is wanted otherwise."""
        devices = []
        for index, place in self._pods.planned():
            gpu = self._gpus.known.get(index)
            if gpu and place == WHOLE_GPU:
                devices.append(gpu.uuid)
            elif gpu and (instance := gpu.at(place)):
                devices.append(instance.uuid)
        self._gpus.plugins.prefer(devices)
        for index in self._wanted.problems:
            self._work[index].set()
        self.publisher.wake(again=True)

    async def _tend(self, index: int) -> None:
        """Make one GPU what it is to be, whenever something changed; what failed is tried again, ever less often until
        there is news."""
        work, failures = self._work[index], 0
        while True:
            longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures - 1, 10))
            try:
                async with asyncio.timeout(random.uniform(0.5, 1.0) * longest if failures else None):
                    await work.wait()
                failures = 0
            except TimeoutError:
                pass
            work.clear()
            generation, want = self._wanted.generation, self._wanted.of(index)
            try:
                if want is not None:
                    await recut(self._gpus, self._journal, want, self._pods)
            except RecutError as error:
                failures += 1
                if self._wanted.problems.get(index) != str(error):
                    _log.warning("GPU %d is not as wanted: %s", index, error)
                self._wanted.problems[index] = str(error)
            else:
                failures = 0
                self._wanted.problems.pop(index, None)
            self._wanted.tried(index, generation)
            self.publisher.wake()

    async def _listen(self) -> None:
        """Errors of GPUs, as the driver tells them."""
        failures = 0
        while True:
            try:
                xid = await self._gpus.call(self._gpus.driver.wait_xid, _XID_WAIT_MS)
            except DriverError as error:
                failures += 1
                _log.warning("%s", error)
                await self._gpus.look_at_all()
                self.publisher.wake()
                await asyncio.sleep(random.uniform(0.5, 1.0) * min(LOOK_S, 2 ** min(failures, 10)))
            else:
                failures = 0
                if xid:
                    await self._gpus.note(xid)
                    self.publisher.wake()

    async def _look_now_and_then(self) -> None:
        failures = 0
        while True:
            failures = failures + 1 if self._gpus.unread else 0
            longest = min(LOOK_S, FIRST_RETRY_S * 2 ** min(failures, 10)) if failures else LOOK_S
            await asyncio.sleep(random.uniform(0.5, 1.0) * longest)
            before = dict(self._gpus.known)
            await self._gpus.look_at_all()
            if before != self._gpus.known:
                self._wake()
            else:
                self.publisher.wake()
