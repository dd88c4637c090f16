"""How a caller learns what a GPU can be cut into."""

from __future__ import annotations

import ctypes
from typing import Any

import pynvml as nvml
import pytest

from nos.mig import Profile, find
from nos.testbed.nvml_sim import NvmlSim

from .caller import create, fill, mig_on, placements, profiles

A100 = find("a100-40gb")
assert A100


def test_the_number_that_creates_is_not_the_number_that_was_asked_for(sim: NvmlSim) -> None:
    device = mig_on(0)
    assert {name: info.id for name, info in profiles(device).items()} == {
        profile.name: profile.gi_profile_id for profile in A100.profiles
    }
    one = nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, nvml.NVML_GPU_INSTANCE_PROFILE_1_SLICE)
    assert one.id == 19
    # 0 is the enum of 1g.5gb, and the id of 7g.40gb.
    nvml.nvmlDeviceCreateGpuInstance(device, nvml.NVML_GPU_INSTANCE_PROFILE_1_SLICE)
    assert [instance.profile for instance in sim.instances(0)] == ["7g.40gb"]
    with pytest.raises(nvml.NVMLError_InvalidArgument):  # 1 is an enum, and the id of nothing
        nvml.nvmlDeviceCreateGpuInstance(device, nvml.NVML_GPU_INSTANCE_PROFILE_2_SLICE)


def test_profiles_have_holes_before_they_end(sim: NvmlSim) -> None:
    del sim
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    answers = {}
    for enum in range(0x20):
        try:
            answers[enum] = nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, enum).name
        except nvml.NVMLError as error:
            answers[enum] = error.value
    names = {profile.gi_profile_enum: f"MIG {profile.name}" for profile in A100.profiles}
    holes = {enum: nvml.NVML_ERROR_NOT_SUPPORTED for enum in range(0x12) if enum not in names}
    assert holes, "5, 6, 8 and others"
    ends = dict.fromkeys(range(0x12, 0x20), nvml.NVML_ERROR_INVALID_ARGUMENT)
    assert answers == {**names, **holes, **ends}


def test_a_gpu_without_mig_has_no_profiles(sim: NvmlSim) -> None:
    del sim
    device = nvml.nvmlDeviceGetHandleByIndex(3)
    assert profiles(device) == {}
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetMigMode(device)


def facts(info: Any) -> tuple[int, ...]:
    return (
        info.sliceCount,
        info.instanceCount,
        info.multiprocessorCount,
        info.copyEngineCount,
        info.decoderCount,
        info.encoderCount,
        info.jpegCount,
        info.ofaCount,
        info.memorySizeMB,
    )


def known(profile: Profile) -> tuple[int | None, ...]:
    return (
        profile.compute_slices,
        profile.max_instances,
        profile.multiprocessors,
        profile.engines.copy,
        profile.engines.decoder,
        profile.engines.encoder,
        profile.engines.jpeg,
        profile.engines.ofa,
        profile.memory_mib,
    )


def test_each_version_says_the_same_and_the_first_has_no_name(sim: NvmlSim) -> None:
    del sim
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    for profile in A100.profiles:
        first = nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, profile.gi_profile_enum, version=1)
        second = nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, profile.gi_profile_enum, version=2)
        by_id = nvml.nvmlDeviceGetGpuInstanceProfileInfoById(device, profile.gi_profile_id)
        assert not hasattr(first, "name")
        assert facts(first) == facts(second) == facts(by_id) == known(profile)
        assert second.name == by_id.name == f"MIG {profile.name}"


class ThirdProfileInfo(ctypes.Structure):
    """nvmlGpuInstanceProfileInfo_v3_t, which nvidia-ml-py does not have."""

    _fields_ = (
        *((name, ctypes.c_uint) for name in ("version", "id", "sliceCount", "instanceCount", "multiprocessorCount")),
        *((f"{name}Count", ctypes.c_uint) for name in ("copyEngine", "decoder", "encoder", "jpeg", "ofa")),
        ("memorySizeMB", ctypes.c_ulonglong),
        ("name", ctypes.c_char * 96),
        ("capabilities", ctypes.c_uint),
    )


def test_the_third_version_and_one_that_is_none(sim: NvmlSim) -> None:
    library = ctypes.CDLL(str(sim.library))
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    info = ThirdProfileInfo(version=ctypes.sizeof(ThirdProfileInfo) | 3 << 24)
    assert library.nvmlDeviceGetGpuInstanceProfileInfoV(device, 0, ctypes.byref(info)) == nvml.NVML_SUCCESS
    assert facts(info) == known(A100.profiles[0])
    assert info.name == b"MIG 1g.5gb"
    info.version = ctypes.sizeof(ThirdProfileInfo) | 4 << 24
    mismatch = nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    assert library.nvmlDeviceGetGpuInstanceProfileInfoV(device, 0, ctypes.byref(info)) == mismatch


def test_placements_are_all_that_there_are_not_only_the_free_ones(sim: NvmlSim) -> None:
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    every = {profile.gi_profile_id: [(start, profile.size) for start in profile.starts] for profile in A100.profiles}
    assert {number: placements(device, number) for number in every} == every, "MIG mode is off"
    device = mig_on(0)
    create(device, "7g.40gb")
    assert {number: placements(device, number) for number in every} == every
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        placements(device, 1)
    assert sim.instances(0)


def test_remaining_capacity(sim: NvmlSim) -> None:
    del sim
    off = nvml.nvmlDeviceGetHandleByIndex(1)
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(off, 19)
    device = mig_on(0)
    create(device, "3g.20gb", 4)
    left = {name: nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device, p.id) for name, p in profiles(device).items()}
    # Units 0 to 3 are free, and 4 of 7 compute slices.
    assert left == {
        "1g.5gb": 4,
        "1g.5gb+me": 1,
        "1g.10gb": 2,
        "2g.10gb": 2,
        "3g.20gb": 1,
        "4g.20gb": 1,
        "7g.40gb": 0,
    }


def test_compute_profiles(sim: NvmlSim) -> None:
    del sim
    gpu_instance = create(mig_on(0), "3g.20gb")
    found = {}
    for enum in range(nvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            second = nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(gpu_instance, enum, 0, version=2)
        except nvml.NVMLError_NotSupported:
            continue
        first = nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(gpu_instance, enum, 0, version=1)
        assert first.id == second.id != enum
        # Three slices have 42 multiprocessors.
        assert first.multiprocessorCount == second.multiprocessorCount == 14 * second.sliceCount
        found[second.name] = (second.sliceCount, second.instanceCount)
    assert found == {"MIG 1c.3g.20gb": (1, 3), "MIG 2c.3g.20gb": (2, 1), "MIG 3g.20gb": (3, 1)}
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(gpu_instance, 0, 1)  # there is one engine profile
    fill(gpu_instance, nvml.NVML_COMPUTE_INSTANCE_PROFILE_2_SLICE)
    one = nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(gpu_instance, 0, 0)
    assert nvml.nvmlGpuInstanceGetComputeInstanceRemainingCapacity(gpu_instance, one.id) == 1
    with pytest.raises(nvml.NVMLError_InsufficientResources):
        fill(gpu_instance, nvml.NVML_COMPUTE_INSTANCE_PROFILE_2_SLICE)
