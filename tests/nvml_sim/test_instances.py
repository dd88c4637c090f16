"""The life of instances on a GPU in MIG mode."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import pynvml as nvml
import pytest

from nos.testbed.nvml_sim import NO_ID, NvmlSim, SimulatedInstance

from .caller import create, create_at, fill, mig_device, mig_on, profiles, run, start_and_id


def test_ids_are_not_in_sequence(sim: NvmlSim) -> None:
    device = mig_on(0)
    # As hardware was seen to number the smallest: 7 + start. Larger ones are above them, as in a tree.
    assert [start_and_id(create(device, "1g.5gb", start)) for start in (5, 0)] == [(5, 12), (0, 7)]
    assert start_and_id(create(device, "2g.10gb", 2)) == (2, 4)
    assert [instance.id for instance in sim.instances(0)] == [7, 4, 12]


# The sequences of the MIG user guide on an A100, and the starts that it shows: None is "Insufficient Resources".
SEQUENCES = [
    (["3g.20gb", "1g.5gb", "2g.10gb", "1g.5gb"], [4, 0, 2, 1]),
    (["2g.10gb", "1g.5gb", "1g.5gb", "1g.5gb", "1g.5gb", "1g.5gb"], [4, 6, 0, 1, 2, 3]),
    # The instances of the first one, in another order.
    (["1g.5gb", "1g.5gb", "2g.10gb", "3g.20gb"], [6, 4, 0, None]),
]


@pytest.mark.parametrize(("names", "starts"), SEQUENCES)
def test_where_the_driver_chooses_the_order_decides_what_fits(
    sim: NvmlSim, names: list[str], starts: list[int | None]
) -> None:
    del sim
    device = mig_on(0)
    chosen: list[int | None] = []
    for name in names:
        try:
            chosen.append(start_and_id(create(device, name))[0])
        except nvml.NVMLError_InsufficientResources:
            chosen.append(None)
    assert chosen == starts


def test_no_room_and_there_already_look_alike(sim: NvmlSim) -> None:
    device = mig_on(0)
    create(device, "3g.20gb", 4)
    for name, start in (("3g.20gb", 4), ("1g.5gb", 5), ("7g.40gb", 0)):
        with pytest.raises(nvml.NVMLError_InsufficientResources):
            create(device, name, start)
    # A place where there is none of that profile is another error.
    number = profiles(device)["2g.10gb"].id
    for start, size in ((1, 2), (6, 2), (0, 1)):
        with pytest.raises(nvml.NVMLError_InvalidArgument):
            create_at(device, number, start, size)
    assert [(instance.profile, instance.start) for instance in sim.instances(0)] == [("3g.20gb", 4)]


def test_a_placement_is_passed_by_reference(sim: NvmlSim) -> None:
    mig_on(0)
    code = "h = nvmlDeviceGetHandleByIndex(0); nvmlDeviceCreateGpuInstanceWithPlacement(h, 9, {})"
    placement = "c_nvmlGpuInstancePlacement_t(4, 4)"
    # By value it arrives as a pointer to nowhere: the process dies, or the sanitizer ends it.
    assert run(sim, code.format(placement)) in (-signal.SIGSEGV, 1)
    assert sim.instances(0) == ()
    assert run(sim, code.format(f"byref({placement})")) == 0
    assert len(sim.instances(0)) == 1


def listed(device: Any, profile: Any) -> list[Any]:
    array = (nvml.c_nvmlGpuInstance_t * profile.instanceCount)()
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetGpuInstances(device, profile.id, array, ctypes.byref(count))
    return [start_and_id(array[index]) for index in range(count.value)]


def test_instances_are_listed_by_profile(sim: NvmlSim) -> None:
    device = mig_on(0)
    for name, start in (("1g.5gb", 6), ("1g.5gb", 4), ("2g.10gb", 0)):
        create(device, name, start)
    found = {name: listed(device, profile) for name, profile in profiles(device).items()}
    assert {name: found for name, found in found.items() if found} == {
        "1g.5gb": [(6, 13), (4, 11)],
        "2g.10gb": [(0, 3)],
    }
    assert start_and_id(nvml.nvmlDeviceGetGpuInstanceById(device, 13)) == (6, 13)
    with pytest.raises(nvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetGpuInstanceById(device, 12)
    assert [instance.start for instance in sim.instances(0)] == [0, 4, 6]


def test_a_gpu_instance_alone_is_no_device(sim: NvmlSim) -> None:
    device = mig_on(0)
    gpu_instance = create(device, "2g.10gb", 2)
    assert sim.instances(0) == (SimulatedInstance("2g.10gb", 2, 4, ()),)
    assert indices(device) == []
    uuid = nvml.nvmlDeviceGetUUID(mig_device(fill(gpu_instance, 1)))
    assert sim.instances(0) == (SimulatedInstance("2g.10gb", 2, 4, (uuid,)),)
    assert indices(device) == [0]


def indices(device: Any) -> list[int]:
    found = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(device)):
        try:
            nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, index)
        except nvml.NVMLError_NotFound:
            continue
        found.append(index)
    return found


def test_indices_of_mig_devices_have_holes(sim: NvmlSim) -> None:
    del sim
    device = mig_on(0)
    parts = [(gi, fill(gi)) for gi in (create(device, "1g.5gb", start) for start in range(4))]
    assert indices(device) == [0, 1, 2, 3]
    third = nvml.nvmlDeviceGetUUID(mig_device(parts[2][1]))
    for gi, ci in (parts[0], parts[1], parts[3]):
        nvml.nvmlComputeInstanceDestroy(ci)
        nvml.nvmlGpuInstanceDestroy(gi)
    assert indices(device) == [2]
    assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, 2)) == third
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, 7)
    fill(create(device, "1g.5gb", 5))
    assert indices(device) == [0, 2], "the lowest that is free"


def test_what_a_mig_device_says_of_itself(sim: NvmlSim) -> None:
    device = mig_on(1)
    gpu_instance = create(device, "3g.20gb", 4)
    mig = mig_device(fill(gpu_instance, 1))
    assert bool(nvml.nvmlDeviceIsMigDeviceHandle(mig))
    assert not bool(nvml.nvmlDeviceIsMigDeviceHandle(device))
    assert nvml.nvmlDeviceGetName(mig) == "NVIDIA A100-SXM4-40GB MIG 2c.3g.20gb"
    assert nvml.nvmlDeviceGetGpuInstanceId(mig) == nvml.nvmlGpuInstanceGetInfo(gpu_instance).id == 2
    assert nvml.nvmlDeviceGetComputeInstanceId(mig) == 0
    parent = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)
    assert nvml.nvmlDeviceGetUUID(parent) == sim.gpus[1].uuid
    assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByUUID(nvml.nvmlDeviceGetUUID(mig))).startswith("MIG-")
    attributes = nvml.nvmlDeviceGetAttributes_v2(mig)
    assert (attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount) == (3, 2)
    assert (attributes.multiprocessorCount, attributes.memorySizeMB) == (28, 19968)
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetAttributes_v2(device)
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceSetMigMode(mig, 0)


def test_the_same_cut_again_has_the_same_ids_and_another_uuid(sim: NvmlSim) -> None:
    device = mig_on(0)
    seen = []
    for _ in range(3):
        gi = create(device, "1g.5gb", 0)
        ci = fill(gi)
        seen.append((start_and_id(gi)[1], nvml.nvmlDeviceGetUUID(mig_device(ci))))
        nvml.nvmlComputeInstanceDestroy(ci)
        nvml.nvmlGpuInstanceDestroy(gi)
    assert [number for number, _ in seen] == [7, 7, 7]
    assert len({uuid for _, uuid in seen}) == 3
    assert sim.instances(0) == ()


def test_destroying_can_succeed_for_one_half(sim: NvmlSim) -> None:
    device = mig_on(0)
    gi = create(device, "1g.5gb", 0)
    ci = fill(gi)
    with pytest.raises(nvml.NVMLError_InUse):  # a compute instance is in it
        nvml.nvmlGpuInstanceDestroy(gi)
    sim.fault("nvmlGpuInstanceDestroy", result=nvml.NVML_ERROR_IN_USE)
    nvml.nvmlComputeInstanceDestroy(ci)
    with pytest.raises(nvml.NVMLError_InUse):
        nvml.nvmlGpuInstanceDestroy(gi)
    assert sim.instances(0) == (SimulatedInstance("1g.5gb", 0, 7, ()),)
    # Who tries both again finds the first gone already.
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlComputeInstanceDestroy(ci)
    with pytest.raises(nvml.NVMLError_NotFound):
        nvml.nvmlGpuInstanceGetComputeInstanceById(gi, 0)
    nvml.nvmlGpuInstanceDestroy(gi)
    assert sim.instances(0) == ()


def test_nothing_in_use_is_destroyed_and_the_neighbours_may_be(sim: NvmlSim) -> None:
    device = mig_on(0)
    busy, idle = create(device, "2g.10gb", 0), create(device, "2g.10gb", 2)
    cis = [fill(busy, 1), fill(idle, 1)]
    sim.start_process(0, 4711, 100, gpu_instance=start_and_id(busy)[1])
    with pytest.raises(nvml.NVMLError_InUse):
        nvml.nvmlComputeInstanceDestroy(cis[0])
    nvml.nvmlComputeInstanceDestroy(cis[1])
    nvml.nvmlGpuInstanceDestroy(idle)
    sim.end_process(4711)
    nvml.nvmlComputeInstanceDestroy(cis[0])
    nvml.nvmlGpuInstanceDestroy(busy)
    assert sim.instances(0) == ()


def test_handles_die_with_what_they_stood_for(sim: NvmlSim) -> None:
    device = mig_on(0)
    gi = create(device, "1g.5gb", 0)
    ci = fill(gi)
    mig = mig_device(ci)
    nvml.nvmlComputeInstanceDestroy(ci)
    nvml.nvmlGpuInstanceDestroy(gi)
    again = create(device, "1g.5gb", 0)  # in the same place, with the same id
    fill(again)
    for stale in (
        lambda: nvml.nvmlDeviceGetUUID(mig),
        lambda: nvml.nvmlComputeInstanceGetInfo(ci),
        lambda: nvml.nvmlComputeInstanceDestroy(ci),
        lambda: nvml.nvmlGpuInstanceGetInfo(gi),
        lambda: nvml.nvmlGpuInstanceDestroy(gi),
        lambda: fill(gi),
    ):
        with pytest.raises(nvml.NVMLError_InvalidArgument):
            stale()
    sim.reboot()
    for stale in (lambda: nvml.nvmlDeviceGetUUID(device), lambda: nvml.nvmlGpuInstanceGetInfo(again)):
        with pytest.raises(nvml.NVMLError_InvalidArgument):
            stale()


def test_processes_and_memory_of_a_cut_gpu(sim: NvmlSim) -> None:
    device = mig_on(0)
    gi = create(device, "3g.20gb", 4)
    number = start_and_id(gi)[1]
    migs = [mig_device(fill(gi)), mig_device(fill(gi))]
    sim.start_process(0, 11, 300, gpu_instance=number, compute_instance=0)
    sim.start_process(0, 12, 500, gpu_instance=number, compute_instance=1)
    running = {
        (process.pid, process.usedGpuMemory >> 20, process.gpuInstanceId, process.computeInstanceId)
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(device)
    }
    assert running == {(11, 300, number, 0), (12, 500, number, 1)}
    assert [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(migs[1])] == [12]
    # The memory is the GPU instance's: 19968 MiB, and both compute instances see 300 + 500 of them taken.
    for mig in migs:
        memory = nvml.nvmlDeviceGetMemoryInfo(mig)
        assert (memory.total >> 20, memory.used >> 20, memory.free >> 20) == (19968, 800, 19168)
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetUtilizationRates(migs[0])
    sim.start_process(1, 13, 700)
    assert [
        (process.gpuInstanceId, process.computeInstanceId)
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByIndex(1))
    ] == [(NO_ID, NO_ID)]
