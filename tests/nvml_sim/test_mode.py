"""Turning MIG mode on and off."""

from __future__ import annotations

from pathlib import Path

import pynvml as nvml
import pytest

from nos.testbed.nvml_sim import NvmlSim

from .caller import create, driven, machine, mig_on

BY_RESET, LIVE = 0, 2  # an A100 and an H100 of the machine


def test_a_busy_gpu_answers_success_and_stays_as_it_was(sim: NvmlSim) -> None:
    sim.start_process(BY_RESET, 4711, 1000)
    device = nvml.nvmlDeviceGetHandleByIndex(BY_RESET)
    # No exception: the call succeeds, and says in passing that it had no effect.
    assert nvml.nvmlDeviceSetMigMode(device, 1) == nvml.NVML_ERROR_IN_USE
    assert nvml.nvmlDeviceGetMigMode(device) == [0, 1]
    sim.end_process(4711)
    assert nvml.nvmlDeviceGetMigMode(device) == [0, 1], "nobody tries again"
    assert nvml.nvmlDeviceSetMigMode(device, 1) == nvml.NVML_SUCCESS
    assert nvml.nvmlDeviceGetMigMode(nvml.nvmlDeviceGetHandleByIndex(BY_RESET)) == [1, 1]


def test_what_is_pending_comes_with_the_reboot(sim: NvmlSim) -> None:
    sim.start_process(BY_RESET, 4711, 1000)
    nvml.nvmlDeviceSetMigMode(nvml.nvmlDeviceGetHandleByIndex(BY_RESET), 1)
    assert sim.mig_mode(BY_RESET) == (False, True)
    sim.reboot()
    assert sim.mig_mode(BY_RESET) == (True, True)


def test_a_gpu_that_is_cut_keeps_its_mode(sim: NvmlSim) -> None:
    for index in (BY_RESET, LIVE):
        device = mig_on(index)
        create(device, "7g.40gb" if index == BY_RESET else "7g.80gb")
        assert nvml.nvmlDeviceSetMigMode(device, 0) == nvml.NVML_ERROR_IN_USE
        assert nvml.nvmlDeviceGetMigMode(device) == [1, 0]
        assert len(sim.instances(index)) == 1


def test_in_some_virtual_machines_only_a_reboot_resets(folder: Path) -> None:
    with driven(machine(folder, ["a100-40gb", "h100-80gb"], reset_needs_reboot=True)) as sim:
        device = nvml.nvmlDeviceGetHandleByIndex(0)
        assert nvml.nvmlDeviceSetMigMode(device, 1) == nvml.NVML_ERROR_RESET_REQUIRED
        assert nvml.nvmlDeviceGetMigMode(device) == [0, 1]
        with pytest.raises(nvml.NVMLError_NotSupported):
            create(device, "1g.5gb")
        sim.reboot()
        assert sim.mig_mode(0) == (True, True)
        mig_on(1)  # no reset, no reboot


def test_a_reset_makes_handles_stale_and_a_live_switch_does_not(sim: NvmlSim) -> None:
    del sim
    before = {index: nvml.nvmlDeviceGetHandleByIndex(index) for index in (BY_RESET, LIVE)}
    for index in before:
        mig_on(index)
    assert nvml.nvmlDeviceGetMigMode(before[LIVE]) == [1, 1]
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceGetMigMode(before[BY_RESET])


def test_without_mig_mode_there_are_no_instances(sim: NvmlSim) -> None:
    del sim
    device = nvml.nvmlDeviceGetHandleByIndex(BY_RESET)
    assert nvml.nvmlDeviceGetMaxMigDeviceCount(device) == 0
    with pytest.raises(nvml.NVMLError_NotSupported):
        create(device, "1g.5gb", 0)
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetGpuInstanceById(device, 7)
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceSetMigMode(device, 2)


def test_who_is_not_root_may_look_at_a_gpu_but_not_cut_it(sim: NvmlSim) -> None:
    device = mig_on(0)
    gpu_instance = create(device, "1g.5gb")
    sim.permit(False)
    assert nvml.nvmlDeviceGetMigMode(device) == [1, 1]
    assert nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, 0).id == 19
    for forbidden in (
        lambda: nvml.nvmlDeviceSetMigMode(device, 0),
        lambda: nvml.nvmlDeviceCreateGpuInstance(device, 19),
        lambda: nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device, 19),
        lambda: nvml.nvmlDeviceGetGpuInstanceById(device, 13),
        lambda: nvml.nvmlGpuInstanceCreateComputeInstance(gpu_instance, 16),
        lambda: nvml.nvmlGpuInstanceDestroy(gpu_instance),
        lambda: create(device, "1g.5gb", 0),
    ):
        with pytest.raises(nvml.NVMLError_NoPermission):
            forbidden()
    sim.permit(True)
    nvml.nvmlGpuInstanceDestroy(gpu_instance)
    assert sim.instances(0) == ()


def test_a_reboot_takes_instances_and_on_newer_gpus_the_mode(sim: NvmlSim) -> None:
    for index, name in ((BY_RESET, "3g.20gb"), (LIVE, "3g.40gb")):
        create(mig_on(index), name)
    device = nvml.nvmlDeviceGetHandleByIndex(LIVE)
    sim.reboot()
    assert [sim.instances(gpu.index) for gpu in sim.gpus] == [(), (), (), ()]
    assert nvml.nvmlDeviceGetMigMode(nvml.nvmlDeviceGetHandleByIndex(BY_RESET)) == [1, 1]
    assert nvml.nvmlDeviceGetMigMode(nvml.nvmlDeviceGetHandleByIndex(LIVE)) == [0, 0]
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceGetMigMode(device)
