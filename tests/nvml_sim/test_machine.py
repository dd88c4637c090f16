"""A simulated machine as a whole: what it has, what it does, and what is not accepted as one."""

from __future__ import annotations

from pathlib import Path

import pynvml as nvml
import pytest

from nos.mig import models, recognize
from nos.testbed import TestbedError
from nos.testbed.nodes import MODELS
from nos.testbed.nvml_models import PRODUCTS
from nos.testbed.nvml_sim import NvmlSim

from .caller import driven, machine, mig_on, placements, profiles


def test_every_model_is_what_its_name_says(folder: Path) -> None:
    with driven(machine(folder, [model.id for model in models()])):
        for index, model in enumerate(models()):
            device = mig_on(index)
            name = nvml.nvmlDeviceGetName(device)
            if model.id != "gb200-189gb":  # a GB200 under a driver that cuts it otherwise
                assert recognize(name) == model
            if model.memory_mib is not None:
                assert nvml.nvmlDeviceGetMemoryInfo(device).total == model.memory_mib << 20
            found = profiles(device)
            assert set(found) == {profile.name for profile in model.profiles}
            assert len({info.id for info in found.values()}) == len(found)
            for profile in model.profiles:
                info = found[profile.name]
                assert info.id == profile.gi_profile_id or profile.gi_profile_id is None
                assert info.id != profile.gi_profile_enum
                assert placements(device, info.id) == [(start, profile.size) for start in profile.starts]
                assert 0 < info.memorySizeMB <= nvml.nvmlDeviceGetMemoryInfo(device).total >> 20
    assert set(PRODUCTS) == {model.id for model in models()}


def test_gpus_that_cannot_be_cut(folder: Path) -> None:
    names = [name for name, model in MODELS.items() if not model.mig]
    with driven(machine(folder, names)):
        for index, name in enumerate(names):
            device = nvml.nvmlDeviceGetHandleByIndex(index)
            label = nvml.nvmlDeviceGetName(device).replace(" ", "-")  # as GPU Feature Discovery makes it
            major, minor = nvml.nvmlDeviceGetCudaComputeCapability(device)
            assert (label, f"{major}.{minor}") == (MODELS[name].product, MODELS[name].compute)
            assert nvml.nvmlDeviceGetMemoryInfo(device).total == MODELS[name].memory_mib << 20
            with pytest.raises(nvml.NVMLError_NotSupported):
                nvml.nvmlDeviceSetMigMode(device, 1)


def test_a_gpu_is_found_by_index_uuid_and_address(sim: NvmlSim) -> None:
    assert nvml.nvmlDeviceGetCount() == 4
    for gpu in sim.gpus:
        device = nvml.nvmlDeviceGetHandleByIndex(gpu.index)
        assert nvml.nvmlDeviceGetUUID(device) == gpu.uuid
        assert nvml.nvmlDeviceGetPciInfo(device).busId == gpu.pci_bus_id
        for same in (nvml.nvmlDeviceGetHandleByUUID(gpu.uuid), nvml.nvmlDeviceGetHandleByPciBusId(gpu.pci_bus_id)):
            assert nvml.nvmlDeviceGetIndex(same) == gpu.index
    assert len({gpu.uuid for gpu in sim.gpus}) == len({gpu.pci_bus_id for gpu in sim.gpus}) == 4
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceGetHandleByIndex(4)
    with pytest.raises(nvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetHandleByUUID("GPU-0")


def test_gpus_keep_their_uuids_over_a_reboot_and_machines_differ(folder: Path) -> None:
    for name in ("one", "other"):
        (folder / name).mkdir()
    sim = machine(folder / "one", ["L4"])
    with driven(sim):
        sim.reboot()
        assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(0)) == sim.gpus[0].uuid
    assert machine(folder / "other", ["L4"]).gpus[0].uuid != sim.gpus[0].uuid


def test_processes_memory_and_utilization(sim: NvmlSim) -> None:
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    assert nvml.nvmlDeviceGetComputeRunningProcesses(device) == []
    for pid, mib in ((11, 1000), (12, 2000)):
        sim.start_process(0, pid, mib)
    sim.set_utilization(0, compute=70, memory=30)
    assert {p.pid: p.usedGpuMemory >> 20 for p in nvml.nvmlDeviceGetComputeRunningProcesses(device)} == {
        11: 1000,
        12: 2000,
    }
    plain = nvml.nvmlDeviceGetMemoryInfo(device)
    second = nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2)
    assert (plain.total >> 20, plain.used >> 20, plain.free >> 20) == (40960, 3000, 37960)
    assert (second.total, second.used, second.free) == (plain.total, plain.used, plain.free)
    with pytest.raises(nvml.NVMLError_ArgumentVersionMismatch):
        nvml.nvmlDeviceGetMemoryInfo(device, version=1)
    rates = nvml.nvmlDeviceGetUtilizationRates(device)
    assert (rates.gpu, rates.memory) == (70, 30)
    sim.end_process(11)
    assert [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(device)] == [12]
    mig = mig_on(1)
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetUtilizationRates(mig)


def test_each_field_has_a_result_of_its_own(sim: NvmlSim) -> None:
    del sim
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    fields = [nvml.NVML_FI_DEV_POWER_INSTANT, (nvml.NVML_FI_DEV_ECC_CURRENT, 0), 100_000]
    values = nvml.nvmlDeviceGetFieldValues(device, fields)
    assert [value.nvmlReturn for value in values] == [
        nvml.NVML_SUCCESS,
        nvml.NVML_ERROR_NOT_SUPPORTED,
        nvml.NVML_ERROR_INVALID_ARGUMENT,
    ]


def test_a_lost_gpu_answers_nothing_and_the_others_answer(sim: NvmlSim) -> None:
    devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(4)]
    sim.lose(1)
    for call in (
        lambda: nvml.nvmlDeviceGetUUID(devices[1]),
        lambda: nvml.nvmlDeviceGetMigMode(devices[1]),
        lambda: nvml.nvmlDeviceSetMigMode(devices[1], 1),
        lambda: nvml.nvmlDeviceGetHandleByIndex(1),
        lambda: nvml.nvmlDeviceGetHandleByUUID(sim.gpus[1].uuid),
        lambda: nvml.nvmlDeviceGetHandleByPciBusId(sim.gpus[1].pci_bus_id),
    ):
        with pytest.raises(nvml.NVMLError_GpuIsLost):
            call()
    assert nvml.nvmlDeviceGetCount() == 4
    assert nvml.nvmlDeviceGetUUID(devices[0]) == sim.gpus[0].uuid
    sim.reboot()
    assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(1)) == sim.gpus[1].uuid


def test_nothing_answers_before_init_and_after_the_last_shutdown(sim: NvmlSim) -> None:
    del sim
    nvml.nvmlInit()
    nvml.nvmlShutdown()
    assert nvml.nvmlDeviceGetCount() == 4, "initialized twice, shut down once"
    nvml.nvmlShutdown()
    with pytest.raises(nvml.NVMLError_Uninitialized):
        nvml.nvmlDeviceGetCount()
    nvml.nvmlInit()


def test_what_is_not_there_is_named(folder: Path, sim: NvmlSim) -> None:
    with pytest.raises(TestbedError, match=r"no GPU model 'a100' to simulate: take one of a30-24gb, .*, V100"):
        NvmlSim(folder / "other", ["a100"])
    with pytest.raises(TestbedError, match="no nvmlDeviceGetMemoryInfo_v3: name it without _v2"):
        sim.fault("nvmlDeviceGetMemoryInfo_v3")
    with pytest.raises(TestbedError, match="the simulated machine has no GPU 4"):
        sim.lose(4)
    with pytest.raises(TestbedError, match="GPU 0 has no compute instance 0 in 7"):
        sim.start_process(0, 1, 1, gpu_instance=7)


def test_a_library_that_was_not_built_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nos.testbed.nvml_sim.LIBRARY", "libnvidia-ml.so.2")
    with pytest.raises(TestbedError, match=r"there is no .*libnvidia-ml.so.2: run `make build`"):
        NvmlSim(folder / "machine", ["L4"])
