"""The node's GPUs: as the driver shows them, as the kubelet hands them out, and who holds them.

`look` reads the driver and tells the kubelet, `Holders` is what the kubelet answers. Of one GPU there is one call at a
time, a read or a change with the read after it: what is known last is what was read last, and nobody reads a GPU that
is half changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from .driver import Driver, DriverError, Gpu, Instance, Xid
from .kubelet import Device, DevicePlugins, Holder, PodResources

_log = logging.getLogger(__name__)
# A call may take seconds, and one GPU's should not hold up another's. No thread is made before it is needed.
_THREADS = 32
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
        """DriverError when the driver does not even say how many there are."""
        self.driver = driver
        self.plugins = plugins
        self.kubelet = kubelet
        self.indices = driver.indices()
        self.known: dict[int, Gpu] = {}
        self.unfit: dict[str, str] = {}  # why, by UUID of what is not to be handed out
        self.unread: dict[int, str] = {}  # why, by index of what could not be read the last time
        self.xids: Counter[tuple[int, int]] = Counter()  # by GPU and code
        # Told of each change that was tried: what, done or failed, and seconds.
        self.changed: Callable[[str, str, float], None] = lambda *_: None
        self._one_at_a_time: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._threads = ThreadPoolExecutor(_THREADS, "nvml")
        self._telling = asyncio.Lock()

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Do a call of the driver on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def close(self) -> None:
        """Wait for the calls that are under way; no more are made."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def look(self, index: int) -> Gpu:
        """Read a GPU, and tell the kubelet what is new. DriverError."""
        async with self._one_at_a_time[index]:
            return await self._read_and_tell(index)

    async def change(self, index: int, work: Callable[..., object], *arguments: object) -> Gpu:
        """Have the driver change a GPU, and look what came of it, for good or ill. DriverError."""
        async with self._one_at_a_time[index]:
            began = time.perf_counter()
            try:
                await self.call(work, index, *arguments)
            except DriverError:
                self.changed(work.__name__, "failed", time.perf_counter() - began)
                with contextlib.suppress(DriverError):
                    await self._read_and_tell(index)
                raise
            self.changed(work.__name__, "done", time.perf_counter() - began)
            return await self._read_and_tell(index)

    async def look_at_all(self) -> None:
        """Read every GPU; one that cannot be read is handed out no more until it can."""
        await asyncio.gather(*(self._read_quietly(index) for index in self.indices))
        await self.tell()

    async def _read_quietly(self, index: int) -> None:
        before = self.unread.get(index)
        async with self._one_at_a_time[index]:
            with contextlib.suppress(DriverError):
                await self._read(index)
        if (now := self.unread.get(index)) and now != before:
            _log.error("%s; it is handed out no more", now)

    async def _read_and_tell(self, index: int) -> Gpu:
        try:
            return await self._read(index)
        finally:
            await self.tell()

    async def _read(self, index: int) -> Gpu:
        try:
            gpu = await self.call(self.driver.read, index)
        except DriverError as error:
            self.unread[index] = str(error)
            raise
        self.unread.pop(index, None)
        if gpu.lost and index in self.known:  # the kubelet is told that all that was there is unhealthy
            gpu = replace(self.known[index], lost=True)
        self.known[index] = gpu
        return gpu

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
        if gpu.lost:
            return "the GPU is lost: reset it, or restart the node"
        return self.unread.get(gpu.index) or self.unfit.get(gpu.uuid, "")

    def ills(self, gpu: Gpu) -> list[str]:
        """What is wrong with single instances of the GPU."""
        return [f"{one.place}: {self.unfit[one.uuid]}" for one in gpu.instances if one.uuid in self.unfit]

    async def note(self, xid: Xid) -> None:
        """A GPU reported an error: it, or one of its instances, is handed out no more until it is made anew."""
        self.xids[xid.gpu, xid.code] += 1
        if xid.instance is not None:
            with contextlib.suppress(DriverError):
                await self.look(xid.gpu)  # the instance may be younger than our last look
        gpu = self.known.get(xid.gpu)
        if gpu is None:
            return
        if xid.instance is None or xid.gpu in self.unread:
            hit = gpu.uuid
        else:
            hit = next((one.uuid for one in gpu.instances if one.id == xid.instance), "")
        if not hit:
            _log.warning("GPU %d: XID %d of an instance that is gone", xid.gpu, xid.code)
            return
        _log.error("GPU %d: XID %d, %s is handed out no more", xid.gpu, xid.code, hit)
        self.unfit[hit] = f"XID {xid.code}"
        await self.tell()

    async def holders(self) -> Holders:
        """What the kubelet knows now. KubeletError."""
        held = await self.kubelet.held()
        known = await self.kubelet.allocatable()
        return Holders(frozenset().union(*known.values()), held)
