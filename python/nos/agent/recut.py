"""One GPU, cut as the controller plans: destroy, switch the mode, create at named places.

What is wanted comes from the GPUNode, what is there from the driver, and the difference is done step by step, so that
the next look begins where a crash, a reboot or a failure left off. A step that cannot be done does not keep the others
from being done; the GPU then says why it is not as wanted.

What a Pod holds, or is about to get, is never touched. In this order:

1. What the watch or the kubelet says that a Pod has is left alone, and not even taken from the kubelet.
2. The rest is withdrawn: a Pod that the kubelet gave the device meanwhile keeps it, and no other can get it now.
3. The API server is asked who is bound. A Pod bound before the spec was written is in its answer, however far our watch
   and the kubelet lag behind; it keeps its device too. One that is bound later, to a device that the spec takes away,
   is rejected by its kubelet, or gets another such device: it never starts on one that goes.
4. Only then is anything destroyed. What is left of it at the end is handed out again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol

from nos.kube.gpunode import WantedGpu

from .driver import DriverError, Gpu, Instance, Place
from .gpus import Gpus
from .journal import Journal
from .kubelet import KubeletError, withdraw

WHOLE_GPU = Place("", 0)


class Plans(Protocol):
    """Who is to get what is at a place, or the whole GPU."""

    def planned_for(self, gpu: int, place: Place) -> str | None:
        """The Pod, as far as we have heard."""

    async def bound(self) -> Mapping[tuple[int, Place], str]:
        """The Pods, as the API server has them now. UnknownPodsError."""


class UnknownPodsError(Exception):
    """Nobody says who is bound; the message is one line."""


class RecutError(Exception):
    """Why the GPU is not as wanted: one line."""


async def recut(gpus: Gpus, journal: Journal, want: WantedGpu, plans: Plans) -> None:
    """Make a GPU what it is to be. RecutError where it is not; all that could be done is done then."""
    try:
        gpu = await gpus.look(want.index)
    except DriverError as error:
        raise RecutError(str(error)) from None
    if gpu.lost:
        raise RecutError(gpus.why_unfit(gpu))
    if gpu.model is None:
        if want.mig:
            raise RecutError(f"{gpu.product} cannot be cut")
        return
    wanted = {Place(each.profile, each.start) for each in want.instances} if want.mig else set()
    unwanted = [instance for instance in gpu.instances if instance.place not in wanted]
    going = {instance.place: instance.uuid for instance in unwanted if instance.uuid}
    if want.mig and not gpu.mig:
        going[WHOLE_GPU] = gpu.uuid
    try:
        kept = await _take(gpus, gpu, going, plans)
        problems = list(kept.values())
        for instance in unwanted:
            if instance.place not in kept:
                await _try(problems, _destroy(gpus, journal, gpu, instance))
        if want.mig != gpu.mig and not problems:
            await _try(problems, _switch(gpus, journal, gpu, want.mig))
        if want.mig and (gpu.mig or not problems):
            for place in sorted(wanted, key=lambda place: place.start):
                there = gpu.at(place)
                if not (there and there.uuid) and not _blocked(gpus.known[gpu.index], place, wanted):
                    await _try(problems, _create(gpus, journal, gpu, place))
    finally:
        for device in going.values():
            _give_back(gpus, device)
    if not problems and (shown := _shown(gpus.known[gpu.index])) != (want.mig, wanted):
        problems.append(f"the driver shows {', '.join(map(str, sorted(shown[1]))) or 'no instances'} after all")
    if problems:
        raise RecutError("; ".join(problems))


def _shown(gpu: Gpu) -> tuple[bool, set[Place]]:
    return gpu.mig, {instance.place for instance in gpu.instances if instance.uuid}


def _blocked(gpu: Gpu, place: Place, wanted: set[Place]) -> bool:
    """Whether what could not be destroyed is in the way: that has been said already."""

    def units(at: Place) -> set[int]:
        profile = gpu.model.profile(at.profile) if gpu.model else None
        return set(range(at.start, at.start + profile.size)) if profile else set()

    return any(units(place) & units(there.place) for there in gpu.instances if there.place not in wanted)


async def _try(problems: list[str], step: Awaitable[None]) -> None:
    try:
        await step
    except DriverError as error:
        problems.append(str(error))


async def _destroy(gpus: Gpus, journal: Journal, gpu: Gpu, instance: Instance) -> None:
    with journal.step(f"GPU {gpu.index}: destroy {instance.place}"):
        await gpus.change(gpu.index, gpus.driver.destroy, instance)


async def _switch(gpus: Gpus, journal: Journal, gpu: Gpu, on: bool) -> None:
    with journal.step(f"GPU {gpu.index}: MIG mode {'on' if on else 'off'}"):
        await gpus.change(gpu.index, gpus.driver.set_mig, on)


async def _create(gpus: Gpus, journal: Journal, gpu: Gpu, place: Place) -> None:
    with journal.step(f"GPU {gpu.index}: create {place}"):
        await gpus.change(gpu.index, gpus.driver.create, place)


async def _take(gpus: Gpus, gpu: Gpu, going: Mapping[Place, str], plans: Plans) -> dict[Place, str]:
    """Take devices from the kubelet; of those that stay, why. Who calls gives back what was not destroyed."""
    kept: dict[Place, str] = {}

    def keep(place: Place, why: str) -> None:
        what = f"GPU {gpu.index}" if place == WHOLE_GPU else str(place)
        kept[place] = f"{what} is kept: {why}"

    def left() -> list[tuple[Place, str]]:
        return [(place, device) for place, device in going.items() if place not in kept]

    for place, _ in left():
        if pod := plans.planned_for(gpu.index, place):
            keep(place, f"Pod {pod} is to get it")
    if not left():
        return kept
    try:
        held = await gpus.kubelet.held()
    except KubeletError as error:
        for place, _ in left():
            keep(place, str(error))
        return kept
    for place, device in left():
        if holder := held.get(device):
            keep(place, f"Pod {holder.namespace}/{holder.pod} holds it")
    for _, device in left():  # all at once, so that the kubelet has heard of all when we wait for the first
        if plugin := gpus.plugins.of(device):
            plugin.hold_back(device)
    for place, device in left():
        plugin = gpus.plugins.of(device)
        if plugin is None:  # somebody else was here; the next look shows what he did
            keep(place, "it was changed by others meanwhile")
            continue
        try:
            if holder := await withdraw(plugin, gpus.kubelet, device):
                keep(place, f"Pod {holder.namespace}/{holder.pod} holds it")
        except KubeletError as error:
            keep(place, str(error))
    try:
        bound = await plans.bound() if left() else {}
    except UnknownPodsError as error:
        for place, _ in left():
            keep(place, str(error))
        return kept
    for place, _ in left():
        if pod := bound.get((gpu.index, place)) or plans.planned_for(gpu.index, place):
            keep(place, f"Pod {pod} is to get it")
    return kept


def _give_back(gpus: Gpus, device: str) -> None:
    if plugin := gpus.plugins.of(device):
        plugin.put_back(device)
