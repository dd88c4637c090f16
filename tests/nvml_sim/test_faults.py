"""Calls that fail, wait, and kill, as they are told to."""

from __future__ import annotations

import signal
import time

import pynvml as nvml
import pytest

from nos.testbed.nvml_sim import ANY_FUNCTION, FOREVER, NvmlSim

from .caller import create, mig_on, run


def answers(calls: int) -> list[int]:
    """What that many calls return."""
    results = []
    for _ in range(calls):
        try:
            nvml.nvmlDeviceGetCount()
            results.append(nvml.NVML_SUCCESS)
        except nvml.NVMLError as error:
            results.append(error.value)
    return results


def test_some_pass_some_fail_and_the_rest_pass(sim: NvmlSim) -> None:
    sim.fault("nvmlDeviceGetCount", result=nvml.NVML_ERROR_UNKNOWN, skip=2, count=3)
    assert sim.faults() == ("nvmlDeviceGetCount",)
    assert answers(7) == [0, 0, 999, 999, 999, 0, 0]
    assert sim.faults() == ()


def test_a_fault_can_last_until_it_is_cleared(sim: NvmlSim) -> None:
    sim.fault("nvmlDeviceGetCount", result=nvml.NVML_ERROR_UNKNOWN, count=FOREVER)
    assert answers(20) == [999] * 20
    sim.clear_faults()
    assert answers(2) == [0, 0]


def test_any_call_can_be_the_one(sim: NvmlSim) -> None:
    sim.fault(ANY_FUNCTION, result=nvml.NVML_ERROR_UNKNOWN, skip=1)
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    with pytest.raises(nvml.NVMLError_Unknown):
        nvml.nvmlDeviceGetUUID(device)
    assert nvml.nvmlDeviceGetUUID(device) == sim.gpus[0].uuid


def test_a_call_that_fails_has_no_effect(sim: NvmlSim) -> None:
    device = mig_on(0)
    sim.fault("nvmlDeviceCreateGpuInstanceWithPlacement", result=nvml.NVML_ERROR_INSUFFICIENT_RESOURCES)
    with pytest.raises(nvml.NVMLError_InsufficientResources):
        create(device, "1g.5gb", 0)
    assert sim.instances(0) == ()
    create(device, "1g.5gb", 0)


def test_initialization_can_fail(sim: NvmlSim) -> None:
    sim.fault("nvmlInit", result=nvml.NVML_ERROR_DRIVER_NOT_LOADED)
    with pytest.raises(nvml.NVMLError_DriverNotLoaded):
        nvml.nvmlInit()
    assert answers(1) == [0], "the first one still holds"


def test_a_delayed_call_takes_at_least_that_long_and_succeeds(sim: NvmlSim) -> None:
    sim.fault("nvmlDeviceGetCount", delay_ms=150)
    begin = time.monotonic()
    assert answers(1) == [0]
    assert time.monotonic() - begin >= 0.15


CREATE = "d = nvmlDeviceGetHandleByIndex(0); create(d, '1g.5gb', 3); create(d, '1g.5gb', 4)"


@pytest.mark.parametrize(("kill", "left"), [("before", [3]), ("after", [3, 4])])
def test_a_process_dies_within_a_call(sim: NvmlSim, kill: str, left: list[int]) -> None:
    mig_on(0)
    sim.fault("nvmlDeviceCreateGpuInstanceWithPlacement", skip=1, kill=kill)  # type: ignore[arg-type]
    assert run(sim, CREATE) == -signal.SIGKILL
    assert [instance.start for instance in sim.instances(0)] == left
    assert sim.faults() == ()
    create(nvml.nvmlDeviceGetHandleByIndex(0), "1g.5gb", 5)  # who lives on is not held up by its lock
    assert [instance.start for instance in sim.instances(0)] == [*left, 5]
