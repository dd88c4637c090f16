"""The driver, as the agent uses it: what GPUs there are, what each can be cut into and is cut into, and cutting.

Everything blocks: the agent calls it on threads. Initialised once, never per call. A profile is asked for by its enum
and created by its id, which is another number; the ids of instances are used again, so an instance is known by its UUID
and found by its place. Handles do not outlive a call: a change of mode makes them stale. Traps: reference in the tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from ctypes import byref, c_uint
from typing import Any

import pynvml

from nos.mig import recognize

from .driver import DriverError, Gpu, Instance, Model, Place, Profile, Xid

IN_USE = pynvml.NVML_ERROR_IN_USE
RESET_REQUIRED = pynvml.NVML_ERROR_RESET_REQUIRED
INSUFFICIENT_RESOURCES = pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES
GPU_IS_LOST = pynvml.NVML_ERROR_GPU_IS_LOST
_ENDS = (pynvml.NVML_ERROR_INVALID_ARGUMENT,)
_ABSENT = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NOT_FOUND)

# Errors of a program, not of the GPU that it runs on, which goes on as before.
_HARMLESS_XIDS = frozenset({13, 31, 43, 45, 68, 109})


class Nvml:
    """The driver of this machine, through libnvidia-ml; a context manager."""

    def __init__(self) -> None:
        with _told("nvmlInit"):
            pynvml.nvmlInit()
        self._facts: dict[int, Gpu] = {}
        self._events: Any = None

    def __enter__(self) -> Nvml:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the driver."""
        with contextlib.suppress(pynvml.NVMLError):  # it goes, whatever the driver says to that
            if self._events is not None:
                pynvml.nvmlEventSetFree(self._events)
            pynvml.nvmlShutdown()

    def indices(self) -> range:
        with _told("nvmlDeviceGetCount"):
            return range(pynvml.nvmlDeviceGetCount())

    def read(self, index: int) -> Gpu:
        with _told(f"GPU {index}"):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                gpu = self._facts.get(index) or self._learn(index, handle)
                if gpu.model is None:
                    return gpu
                mode, pending = pynvml.nvmlDeviceGetMigMode(handle)
                instances = tuple(_instances(handle, gpu.model)) if mode else ()
            except pynvml.NVMLError as error:
                if error.value != GPU_IS_LOST:
                    raise
                known = self._facts.get(index) or Gpu(index, f"GPU-unknown-{index}", "unknown", 0)
                return Gpu(index, known.uuid, known.product, known.memory_mib, known.model, lost=True)
            return Gpu(
                index, gpu.uuid, gpu.product, gpu.memory_mib, gpu.model, bool(mode), bool(pending), False, instances
            )

    def _learn(self, index: int, handle: Any) -> Gpu:
        """What does not change."""
        product = _text(pynvml.nvmlDeviceGetName(handle))
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total >> 20
        try:
            pynvml.nvmlDeviceGetMigMode(handle)
            model = _model(handle, product)
        except pynvml.NVMLError as error:
            if error.value not in _ABSENT:
                raise
            model = None
        gpu = self._facts[index] = Gpu(index, _text(pynvml.nvmlDeviceGetUUID(handle)), product, memory, model)
        return gpu

    def set_mig(self, index: int, on: bool) -> None:
        what = f"GPU {index}: switching MIG mode {'on' if on else 'off'}"
        with _told(what):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            # The call may succeed, and say in what it returns that nothing happened.
            status = pynvml.nvmlDeviceSetMigMode(handle, int(on))
            mode, _ = pynvml.nvmlDeviceGetMigMode(pynvml.nvmlDeviceGetHandleByIndex(index))
            if bool(mode) == on:
                return
            with contextlib.suppress(pynvml.NVMLError):  # or a reset some day would surprise everybody
                pynvml.nvmlDeviceSetMigMode(pynvml.nvmlDeviceGetHandleByIndex(index), int(not on))
        raise _refusal(what, status or RESET_REQUIRED)

    def create(self, index: int, place: Place) -> Instance:
        with _told(f"GPU {index}: creating {place}"):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            profile = self._profile(index, handle, place)
            found = next((one for one in _instances_of(handle, profile) if one.place == place), None)
            if found and found.uuid:
                return found
            if found:
                gpu_instance = pynvml.nvmlDeviceGetGpuInstanceById(handle, found.id)
            else:
                where = pynvml.c_nvmlGpuInstancePlacement_t(place.start, profile.size)
                # byref: the binding hands a plain structure on by value.
                gpu_instance = pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(handle, profile.id, byref(where))
            try:
                whole = _compute_profile(gpu_instance, profile)
                compute_instance = pynvml.nvmlGpuInstanceCreateComputeInstance(gpu_instance, whole)
            except pynvml.NVMLError:
                with contextlib.suppress(pynvml.NVMLError):  # half an instance is of no use to anybody
                    pynvml.nvmlGpuInstanceDestroy(gpu_instance)
                raise
            return Instance(place, pynvml.nvmlGpuInstanceGetInfo(gpu_instance).id, _uuid(compute_instance))

    def destroy(self, index: int, instance: Instance) -> None:
        with _told(f"GPU {index}: destroying {instance.place}"):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            profile = self._profile(index, handle, instance.place)
            for found in _instances_of(handle, profile):
                # Its id may be another's by now; its compute instance may be gone already.
                if (found.place, found.id) == (instance.place, instance.id) and found.uuid in ("", instance.uuid):
                    gpu_instance = pynvml.nvmlDeviceGetGpuInstanceById(handle, instance.id)
                    for compute_instance in _compute_instances(gpu_instance):
                        pynvml.nvmlComputeInstanceDestroy(compute_instance)
                    pynvml.nvmlGpuInstanceDestroy(gpu_instance)

    def _profile(self, index: int, handle: Any, place: Place) -> Profile:
        gpu = self._facts.get(index) or self._learn(index, handle)
        profile = gpu.model.profile(place.profile) if gpu.model else None
        if profile is None or place.start not in profile.starts:
            raise _refusal(f"GPU {index} has no place {place}", pynvml.NVML_ERROR_NOT_SUPPORTED)
        return profile

    def wait_xid(self, milliseconds: int) -> Xid | None:
        with _told("waiting for events"):
            if self._events is None:
                self._events = self._listen()
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, milliseconds)
            except pynvml.NVMLError_Timeout:
                return None
            except pynvml.NVMLError:  # a lost GPU spoils the set for all; the next is made of those that are left
                events, self._events = self._events, None
                with contextlib.suppress(pynvml.NVMLError):
                    pynvml.nvmlEventSetFree(events)
                raise
            if event.eventData in _HARMLESS_XIDS:
                return None
            index = pynvml.nvmlDeviceGetIndex(event.device)
            everywhere = event.gpuInstanceId == 0xFFFFFFFF
            return Xid(index, event.eventData, None if everywhere else event.gpuInstanceId)

    def _listen(self) -> Any:
        events = pynvml.nvmlEventSetCreate()
        for index in self.indices():
            with contextlib.suppress(pynvml.NVMLError):  # one that is lost, or cannot tell
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
        return events


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """NVML's errors as ours, with what was being done."""
    try:
        yield
    except pynvml.NVMLError as error:
        raise _refusal(what, error.value) from None


def _refusal(what: str, code: int) -> DriverError:
    return DriverError(f"{what}: {pynvml.NVMLError(code)}", code)


def _model(handle: Any, product: str) -> Model | None:
    """None where the driver knows of no way to cut it, as in some virtual machines."""
    profiles = []
    for enum in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, enum, version=2)
        except pynvml.NVMLError as error:
            if error.value in _ENDS:
                break
            if error.value in _ABSENT:
                continue
            raise
        places = _places(handle, info.id)
        if not places:
            continue
        engines = {
            "copy": info.copyEngineCount,
            "decoder": info.decoderCount,
            "encoder": info.encoderCount,
            "jpeg": info.jpegCount,
            "ofa": info.ofaCount,
        }
        profiles.append(
            Profile(
                name=_text(info.name).removeprefix("MIG "),
                id=info.id,
                size=places[0].size,
                starts=tuple(sorted(place.start for place in places)),
                compute_slices=info.sliceCount,
                memory_mib=info.memorySizeMB,
                max_instances=info.instanceCount,
                engines=engines,
            )
        )
    if not profiles:
        return None
    known = recognize(product)
    whole = max(profiles, key=lambda profile: (profile.size, profile.compute_slices, sum(profile.engines.values())))
    # Of a model that we do not know, the engines of which there are fewest are taken not to be shared.
    totals = known.engine_totals if known else {name: whole.engines[name] for name in ("jpeg", "ofa")}
    return Model(
        product=product,
        units=max(profile.starts[-1] + profile.size for profile in profiles),
        compute_slices=max(profile.compute_slices for profile in profiles),
        engines={name: total for name, total in totals.items() if total},
        profiles=tuple(profiles),
    )


def _listed(fetch: Callable[[Any, Any], Any], kind: Any, most: int) -> list[Any]:
    array, count = (kind * most)(), c_uint(most)
    fetch(array, byref(count))
    return list(array)[: count.value]


def _places(handle: Any, profile_id: int) -> list[Any]:
    """All, not only the free ones."""
    count = c_uint()
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, None, byref(count))
    return _listed(
        lambda array, found: pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, array, found),
        pynvml.c_nvmlGpuInstancePlacement_t,
        count.value,
    )


def _instances(handle: Any, model: Model) -> Iterator[Instance]:
    for profile in model.profiles:
        yield from _instances_of(handle, profile)


def _instances_of(handle: Any, profile: Profile) -> Iterator[Instance]:
    for gpu_instance in _listed(
        lambda array, found: pynvml.nvmlDeviceGetGpuInstances(handle, profile.id, array, found),
        pynvml.c_nvmlGpuInstance_t,
        profile.max_instances,
    ):
        info = pynvml.nvmlGpuInstanceGetInfo(gpu_instance)
        compute = _computing(gpu_instance, _compute_profile(gpu_instance, profile), 1)
        yield Instance(Place(profile.name, info.placement.start), info.id, _uuid(compute[0]) if compute else "")


def _compute_profile(gpu_instance: Any, profile: Profile) -> int:
    """The id of the compute instance that fills the GPU instance."""
    for info in _compute_profiles(gpu_instance):
        if info.sliceCount == profile.compute_slices:
            return int(info.id)
    raise _refusal(f"{profile.name}: no compute instance fills it", pynvml.NVML_ERROR_NOT_SUPPORTED)


def _compute_profiles(gpu_instance: Any) -> Iterator[Any]:
    for enum in range(pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            yield pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(gpu_instance, enum, 0, version=2)
        except pynvml.NVMLError as error:
            if error.value in _ENDS:
                return
            if error.value not in _ABSENT:
                raise


def _computing(gpu_instance: Any, profile_id: int, most: int) -> list[Any]:
    return _listed(
        lambda array, found: pynvml.nvmlGpuInstanceGetComputeInstances(gpu_instance, profile_id, array, found),
        pynvml.c_nvmlComputeInstance_t,
        most,
    )


def _compute_instances(gpu_instance: Any) -> Iterator[Any]:
    """All that are in it, whoever made them."""
    for info in _compute_profiles(gpu_instance):
        yield from _computing(gpu_instance, info.id, info.instanceCount)


def _uuid(compute_instance: Any) -> str:
    return _text(pynvml.nvmlDeviceGetUUID(pynvml.nvmlComputeInstanceGetInfo(compute_instance).device))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
