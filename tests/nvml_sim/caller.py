"""Calls the simulated driver through nvidia-ml-py, as an agent would: in this process or in one of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml as nvml

from nos.testbed.nvml_sim import NvmlSim

PREAMBLE = "from pynvml import *; from ctypes import *; from tests.nvml_sim.caller import *; nvmlInit();"


def machine(folder: Path, models: Sequence[str], *, reset_needs_reboot: bool = False) -> NvmlSim:
    """A machine of its own, with the build of the driver that is to be tested."""
    build = os.environ.get("NOS_NVML_LIBRARY")
    library = Path(build) if build else None
    return NvmlSim(folder / "machine", models, reset_needs_reboot=reset_needs_reboot, library=library)


@contextmanager
def driven(sim: NvmlSim) -> Iterator[NvmlSim]:
    """This process uses the machine. Loaded by its path, the library is there already when nvidia-ml-py wants it."""
    ctypes.CDLL(str(sim.library))
    os.environ["NOS_NVML_SIM"] = str(sim.path)
    nvml.nvmlInit()
    try:
        yield sim
    finally:
        nvml.nvmlShutdown()
        del os.environ["NOS_NVML_SIM"]


def start(sim: NvmlSim, code: str) -> subprocess.Popen[str]:
    """A process that uses the machine."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{PREAMBLE}\n{code}"],
        env={**os.environ, **sim.environment},
        cwd=Path(__file__).parents[2],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(sim: NvmlSim, code: str) -> int:
    """How a process that used the machine ended: its exit code, or minus the signal that killed it."""
    with start(sim, code) as process:
        process.communicate()
        return process.returncode


def mig_on(index: int) -> Any:
    """The GPU, with MIG mode on. What was held of it before is stale."""
    assert nvml.nvmlDeviceSetMigMode(nvml.nvmlDeviceGetHandleByIndex(index), 1) == nvml.NVML_SUCCESS
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    assert nvml.nvmlDeviceGetMigMode(device) == [1, 1]
    return device


def profiles(device: Any) -> dict[str, Any]:
    """Every profile by name, found as one has to."""
    found = {}
    for enum in range(nvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            info = nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, enum, version=2)
        except nvml.NVMLError_NotSupported:
            continue
        found[info.name.removeprefix("MIG ")] = info
    return found


def create(device: Any, name: str, start: int | None = None) -> Any:
    """A GPU instance there, or where the driver likes."""
    profile = profiles(device)[name]
    if start is None:
        return nvml.nvmlDeviceCreateGpuInstance(device, profile.id)
    return create_at(device, profile.id, start, placements(device, profile.id)[0][1])


def create_at(device: Any, profile_id: int, start: int, size: int) -> Any:
    """A GPU instance at an explicit placement."""
    placement = nvml.c_nvmlGpuInstancePlacement_t(start, size)
    return nvml.nvmlDeviceCreateGpuInstanceWithPlacement(device, profile_id, ctypes.byref(placement))


def placements(device: Any, profile_id: int) -> list[tuple[int, int]]:
    """Where instances of a profile may be: the number is asked for first."""
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, None, ctypes.byref(count))
    array = (nvml.c_nvmlGpuInstancePlacement_t * count.value)()
    nvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, array, ctypes.byref(count))
    return [(placement.start, placement.size) for placement in array]


def fill(gpu_instance: Any, enum: int = nvml.NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE) -> Any:
    """A compute instance in it."""
    info = nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(gpu_instance, enum, 0, version=2)
    return nvml.nvmlGpuInstanceCreateComputeInstance(gpu_instance, info.id)


def mig_device(compute_instance: Any) -> Any:
    """The MIG device that a compute instance is."""
    return nvml.nvmlComputeInstanceGetInfo(compute_instance).device


def start_and_id(gpu_instance: Any) -> tuple[int, int]:
    """Where it starts, and its number."""
    info = nvml.nvmlGpuInstanceGetInfo(gpu_instance)
    return info.placement.start, info.id
