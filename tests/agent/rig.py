"""One node's GPUs between a simulated driver and a kubelet, without an API server: what recuts are made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from nos.agent.driver import Place
from nos.agent.gpus import WHOLE, Gpus, resource_of
from nos.agent.journal import Journal
from nos.agent.kubelet import DevicePlugins, KubeletError, PodResources
from nos.agent.nvml import Nvml
from nos.agent.recut import RecutError, UnknownPodsError, recut
from nos.kube.gpunode import WantedGpu, WantedInstance
from nos.testbed.nvml_sim import NvmlSim

from .fake_kubelet import FakeKubelet, eventually


def places(text: str) -> tuple[Place, ...]:
    """`1g.5gb@0 3g.20gb@4`."""
    return tuple(Place(profile, int(start)) for profile, _, start in (one.partition("@") for one in text.split()))


def want(index: int, mig: bool, wanted: Iterable[Place] = ()) -> WantedGpu:
    return WantedGpu(index, mig, tuple(WantedInstance(*place) for place in wanted))


def there(sim: NvmlSim, gpu: int) -> dict[Place, str]:
    """The UUID of what is whole; half an instance has none."""
    return {Place(one.profile, one.start): "".join(one.devices) for one in sim.instances(gpu)}


class Decisions:
    """Which Pods were given what: as the watch has it, and as the API server would answer."""

    def __init__(self) -> None:
        self.heard: dict[tuple[int, Place], str] = {}
        self.written: dict[tuple[int, Place], str] = {}
        self.asked = 0
        self.silent = False

    def planned_for(self, gpu: int, place: Place) -> str | None:
        return self.heard.get((gpu, place))

    async def bound(self) -> Mapping[tuple[int, Place], str]:
        self.asked += 1
        if self.silent:
            raise UnknownPodsError("nobody says who is bound")
        return dict(self.written)


class Rig:
    """Its sockets and its journal lie in `folder`."""

    def __init__(self, folder: Path, sim: NvmlSim) -> None:
        self.sim = sim
        self.decisions = Decisions()
        self._folder = folder

    async def __aenter__(self) -> Self:
        self._open = AsyncExitStack()
        sockets = self._folder / "s"
        sockets.mkdir(exist_ok=True)
        self.kubelet = await self._open.enter_async_context(FakeKubelet(sockets))
        driver = self._open.enter_context(Nvml())
        self.plugins = await self._open.enter_async_context(DevicePlugins(sockets))
        pod_resources = await self._open.enter_async_context(PodResources(self.kubelet.pod_resources))
        self.gpus = Gpus(driver, self.plugins, pod_resources)
        self._open.push_async_callback(self.gpus.close)
        self.journal = Journal(self._folder / "state")
        await self.gpus.look_at_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def recut(self, index: int, mig: bool, wanted: Iterable[Place] = ()) -> str:
        """Why the GPU is not as wanted; empty when it is."""
        try:
            await recut(self.gpus, self.journal, want(index, mig, wanted), self.decisions)
        except RecutError as error:
            return str(error) or "it does not say why"
        return ""

    def usable(self) -> dict[str, str]:
        """What the simulated machine has that a Pod can use: device to resource."""
        found = {}
        for gpu in self.sim.gpus:
            if self.sim.mig_mode(gpu.index)[0]:
                for place, uuid in there(self.sim, gpu.index).items():
                    if uuid:
                        found[uuid] = resource_of(place.profile)
            else:
                found[gpu.uuid] = WHOLE
        return found

    def advertised(self) -> dict[str, str]:
        """What the kubelet may hand out: device to resource."""
        return {device: resource for resource, devices in self.plugins.advertised().items() for device in devices}

    async def heard(self) -> None:
        """Wait until a kubelet that was away answers: the channel to it connects in its own time."""
        deadline = time.monotonic() + 10
        while True:
            try:
                await self.gpus.holders()
                return
            except KubeletError as error:
                assert time.monotonic() < deadline, error  # noqa: PT017
                await asyncio.sleep(0.02)

    async def told(self) -> None:
        """Wait until the kubelet knows what is advertised."""
        devices = self.advertised()
        await eventually(lambda: all(map(self.kubelet.knows, devices)), "the kubelet knows what is advertised")
        await asyncio.sleep(0)


def play(folder: Path, sim: NvmlSim, scene: Callable[[Rig], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with Rig(folder, sim) as rig:
            await rig.told()
            await scene(rig)

    asyncio.run(asyncio.wait_for(all_of_it(), 240))
