"""One GPU, cut as the controller plans: destroy, switch the mode, create at named places.

What is wanted comes from the GPUNode, what is there from the driver, and the difference is done step by step, so that
the next look begins where a crash, a reboot or a failure left off. What a Pod holds, or is about to get, is never
touched: a device is first taken from the kubelet, which says who has it. A step that cannot be done does not keep the
others from being done; the GPU then says why it is not as wanted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nos.kube.gpunode import WantedGpu

from .gpus import Gpus
from .journal import Journal
from .kubelet import KubeletError, withdraw
from .nvml import DriverError, Gpu, Instance, Place

WHOLE_GPU = Place("", 0)
PlannedFor = Callable[[int, Place], str | None]  # the Pod that is to get what is there, or the whole GPU


class RecutError(Exception):
    """Why the GPU is not as wanted: one line."""


async def recut(gpus: Gpus, journal: Journal, want: WantedGpu, planned_for: PlannedFor) -> None:
    """Make a GPU what it is to be. RecutError where it is not; all that could be done is done then."""
    problems: list[str] = []
    try:
        gpu = await gpus.look(want.index)
        if gpu.lost:
            raise RecutError("the GPU is lost")
        if gpu.model is None:
            if want.mig:
                raise RecutError(f"{gpu.product} cannot be cut")
            return
        wanted = {Place(each.profile, each.start) for each in want.instances}
        for instance in gpu.instances:
            if instance.place not in wanted:
                await _try(problems, _destroy(gpus, journal, gpu, instance, planned_for))
        if want.mig != gpu.mig and not problems:
            await _switch(gpus, journal, gpu, want.mig, planned_for)
        if want.mig and (gpu.mig or not problems):
            for place in sorted(wanted, key=lambda place: place.start):
                there = gpu.at(place)
                if there is None or not there.uuid:
                    await _try(problems, _create(gpus, journal, gpu, place))
    except (DriverError, KubeletError) as error:
        problems.append(str(error))
    if problems:
        raise RecutError("; ".join(problems))


async def _try(problems: list[str], step: Awaitable[None]) -> None:
    try:
        await step
    except (RecutError, DriverError, KubeletError) as error:
        problems.append(str(error))


async def _destroy(gpus: Gpus, journal: Journal, gpu: Gpu, instance: Instance, planned_for: PlannedFor) -> None:
    if instance.uuid:
        await _take(gpus, gpu, instance.place, instance.uuid, planned_for)
    try:
        with journal.step(f"GPU {gpu.index}: destroy {instance.place}"):
            await gpus.call(gpus.driver.destroy, gpu.index, instance)
    finally:
        # What is still there after all may be handed out again; what is half gone has no device any more.
        await gpus.look(gpu.index)
        _give_back(gpus, instance.uuid)


async def _switch(gpus: Gpus, journal: Journal, gpu: Gpu, on: bool, planned_for: PlannedFor) -> None:
    if on:
        await _take(gpus, gpu, WHOLE_GPU, gpu.uuid, planned_for)
    try:
        with journal.step(f"GPU {gpu.index}: MIG mode {'on' if on else 'off'}"):
            await gpus.call(gpus.driver.set_mig, gpu.index, on)
    finally:
        await gpus.look(gpu.index)
        _give_back(gpus, gpu.uuid)


async def _create(gpus: Gpus, journal: Journal, gpu: Gpu, place: Place) -> None:
    try:
        with journal.step(f"GPU {gpu.index}: create {place}"):
            await gpus.call(gpus.driver.create, gpu.index, place)
    finally:
        await gpus.look(gpu.index)


async def _take(gpus: Gpus, gpu: Gpu, place: Place, device: str, planned_for: PlannedFor) -> None:
    """Take a device from the kubelet. RecutError when a Pod has it, or is to get it."""
    what = f"GPU {gpu.index}" if place == WHOLE_GPU else str(place)
    if pod := planned_for(gpu.index, place):
        raise RecutError(f"{what} is kept: Pod {pod} is to get it")
    plugin = gpus.plugins.of(device)
    holder = await withdraw(plugin, gpus.kubelet, device) if plugin else None
    if holder:
        raise RecutError(f"{what} is kept: Pod {holder.namespace}/{holder.pod} holds it")


def _give_back(gpus: Gpus, device: str) -> None:
    if device and (plugin := gpus.plugins.of(device)):
        plugin.put_back(device)
