"""The node's GPUs: as the driver shows them, as the kubelet hands them out, and who holds them.

`look` reads the driver and tells the kubelet, `Holders` is what the kubelet answers. Nothing here changes a GPU.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from .kubelet import Device, DevicePlugins, Holder, PodResources
from .nvml import Driver, DriverError, Gpu, Instance, Xid

_log = logging.getLogger(__name__)
_THREADS = 4  # a driver call may take a second, and one GPU's should not hold up another's
WHOLE = "nvidia.com/gpu"

T = TypeVar("T")


def resource_of(profile: str) -> str:
    """What Pods call an instance of the profile."""
    return f"nvidia.com/mig-{profile.replace('+', '.')}"


@dataclass(frozen=True)
class Holders:
    """What the kubelet knows: devices, and who holds them."""

    known: frozenset[str] = frozenset()
    held: dict[str, Holder] = field(default_factory=dict)


class Gpus:
    """All GPUs of one driver, by index."""

    def __init__(self, driver: Driver, plugins: DevicePlugins, kubelet: PodResources) -> None:
        self.driver = driver
        self.plugins = plugins
        self.kubelet = kubelet
        self.known: dict[int, Gpu] = {}
        self.unfit: dict[str, str] = {}  # why, by UUID of what is not to be handed out
        self._threads = ThreadPoolExecutor(_THREADS, "nvml")
        self._telling = asyncio.Lock()

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Do a call of the driver on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """When the calls that are under way have ended, no more are made."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def look(self, index: int) -> Gpu:
        """Read a GPU, and tell the kubelet what is new. DriverError."""
        gpu = await self.call(self.driver.read, index)
        self.known[index] = gpu
        await self.tell()
        return gpu

    async def look_at_all(self) -> None:
        """Read every GPU; one that cannot be read is handed out no more."""
        for index in await self.call(self.driver.indices):
            try:
                self.known[index] = await self.call(self.driver.read, index)
            except DriverError as error:
                _log.error("%s", error)
                if index in self.known:
                    self.unfit[self.known[index].uuid] = str(error)
        await self.tell()

    async def tell(self) -> None:
        """Hand the kubelet what there is."""
        devices: dict[str, list[Device]] = {WHOLE: []}
        present = set()
        for gpu in sorted(self.known.values(), key=lambda gpu: gpu.index):
            present.add(gpu.uuid)
            for instance in gpu.instances:
                present.add(instance.uuid)
                if instance.uuid:
                    device = Device(instance.uuid, healthy=self.is_fit(gpu, instance))
                    devices.setdefault(resource_of(instance.place.profile), []).append(device)
            if not gpu.mig:
                devices[WHOLE].append(Device(gpu.uuid, healthy=self.is_fit(gpu)))
        for gone in self.unfit.keys() - present:
            del self.unfit[gone]
        async with self._telling:
            await self.plugins.set_devices(devices)

    def is_fit(self, gpu: Gpu, instance: Instance | None = None) -> bool:
        """Whether it may be handed out."""
        return not self.why_unfit(gpu) and (instance is None or instance.uuid not in self.unfit)

    def why_unfit(self, gpu: Gpu) -> str:
        """Why nothing of the GPU is handed out; empty where it is."""
        return "the GPU is lost" if gpu.lost else self.unfit.get(gpu.uuid, "")

    async def note(self, xid: Xid) -> None:
        """A GPU reported an error: it, or one of its instances, is handed out no more until it is made anew."""
        gpu = self.known.get(xid.gpu)
        if gpu is None:
            return
        hit = next((one.uuid for one in gpu.instances if one.id == xid.instance), gpu.uuid)
        _log.error("GPU %d: XID %d, %s is handed out no more", xid.gpu, xid.code, hit)
        self.unfit[hit] = f"XID {xid.code}"
        await self.tell()

    async def holders(self) -> Holders:
        """What the kubelet knows now. KubeletError."""
        held = await self.kubelet.held()
        known = await self.kubelet.allocatable()
        return Holders(frozenset().union(*known.values()), held)
