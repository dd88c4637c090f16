"""Critical errors, and those who wait for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pynvml as nvml
import pytest

from nos.testbed.nvml_sim import NO_ID, NvmlSim

PATIENT, IMPATIENT = 10_000, 1  # milliseconds


@pytest.fixture
def events(sim: NvmlSim) -> Iterator[Any]:
    """Registered for the first two GPUs."""
    del sim
    event_set = nvml.nvmlEventSetCreate()
    for index in (0, 1):
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        assert nvml.nvmlDeviceGetSupportedEventTypes(device) & nvml.nvmlEventTypeXidCriticalError
        nvml.nvmlDeviceRegisterEvents(device, nvml.nvmlEventTypeXidCriticalError, event_set)
    yield event_set
    nvml.nvmlEventSetFree(event_set)


def test_an_error_is_told_once_with_where_it_was(sim: NvmlSim, events: Any) -> None:
    sim.xid(1, 79)
    sim.xid(0, 43, gpu_instance=7, compute_instance=0)
    heard = [nvml.nvmlEventSetWait(events, PATIENT) for _ in range(2)]
    assert [
        (nvml.nvmlDeviceGetIndex(e.device), e.eventType, e.eventData, e.gpuInstanceId, e.computeInstanceId)
        for e in heard
    ] == [
        (1, nvml.nvmlEventTypeXidCriticalError, 79, NO_ID, NO_ID),
        (0, nvml.nvmlEventTypeXidCriticalError, 43, 7, 0),
    ]
    with pytest.raises(nvml.NVMLError_Timeout):
        nvml.nvmlEventSetWait(events, IMPATIENT)


def test_who_waits_is_woken(sim: NvmlSim, events: Any) -> None:
    heard: list[int] = []
    waiter = threading.Thread(target=lambda: heard.append(nvml.nvmlEventSetWait(events, PATIENT).eventData))
    waiter.start()
    sim.xid(0, 13)
    waiter.join()
    assert heard == [13]


def test_other_gpus_and_the_past_are_not_heard(sim: NvmlSim, events: Any) -> None:
    sim.xid(2, 79)
    with pytest.raises(nvml.NVMLError_Timeout):
        nvml.nvmlEventSetWait(events, IMPATIENT)
    sim.xid(0, 79)
    late = nvml.nvmlEventSetCreate()
    nvml.nvmlDeviceRegisterEvents(nvml.nvmlDeviceGetHandleByIndex(0), nvml.nvmlEventTypeXidCriticalError, late)
    with pytest.raises(nvml.NVMLError_Timeout):
        nvml.nvmlEventSetWait(late, IMPATIENT)
    assert nvml.nvmlEventSetWait(events, PATIENT).eventData == 79
    nvml.nvmlEventSetFree(late)


def test_a_gpu_that_falls_off_the_bus(sim: NvmlSim, events: Any) -> None:
    sim.xid(1, 79)
    sim.lose(1)
    event = nvml.nvmlEventSetWait(events, PATIENT)
    assert event.eventData == 79
    with pytest.raises(nvml.NVMLError_GpuIsLost):  # which one it was cannot be asked
        nvml.nvmlDeviceGetUUID(event.device)
    with pytest.raises(nvml.NVMLError_GpuIsLost):
        nvml.nvmlEventSetWait(events, PATIENT)


def test_a_set_that_was_freed_is_none(sim: NvmlSim) -> None:
    del sim
    event_set = nvml.nvmlEventSetCreate()
    nvml.nvmlEventSetFree(event_set)
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlEventSetWait(event_set, IMPATIENT)
