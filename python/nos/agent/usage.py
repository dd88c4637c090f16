"""How much of a GPU and of its instances is in use, as the driver tells; what it does not tell is None.

How busy an instance is only GPM says, of Hopper and later, and of a stretch of time: from the look before to this one.
The samples for that are the driver's, kept from look to look, and handed back when their instance is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import pynvml

from .driver import Gpu, Instance

_PERCENT = 100.0
T = TypeVar("T")


class Usage(NamedTuple):
    """Of a GPU or an instance. Memory in bytes; busy: a part of 1."""

    memory: int | None = None
    memory_used: int | None = None
    busy: float | None = None
    mps_clients: int | None = None


@dataclass(frozen=True)
class GpuUsage:
    """Of a GPU, and by UUID of its instances."""

    gpu: Usage
    instances: dict[str, Usage]


class UsageReader:
    """One GPU may be read at a time, each on a thread of its own."""

    def __init__(self) -> None:
        self._samples: dict[int, dict[str, Any]] = {}  # GPM's last, by GPU and instance

    def read(self, gpu: Gpu) -> GpuUsage:
        """Nothing is an error: then less is known."""
        if gpu.lost or (handle := _told(lambda: pynvml.nvmlDeviceGetHandleByIndex(gpu.index))) is None:
            return GpuUsage(Usage(), {})
        rates = None if gpu.mig else _told(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
        clients = _told(lambda: pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3(handle))
        of_gpu = _memory(handle)._replace(
            busy=None if rates is None else rates.gpu / _PERCENT,
            mps_clients=None if clients is None else len(clients),
        )
        there = {one.uuid: one for one in gpu.instances if one.uuid}
        samples = self._samples.setdefault(gpu.index, {})
        for gone in samples.keys() - there.keys():
            _free(samples.pop(gone))
        has_gpm = bool(there) and _has_gpm(handle)
        found = {}
        for uuid, one in there.items():
            device = _told(partial(pynvml.nvmlDeviceGetHandleByUUID, uuid))
            usage = _memory(device) if device is not None else Usage()
            found[uuid] = usage._replace(busy=_busy(handle, one, samples) if has_gpm else None)
        return GpuUsage(of_gpu, found)


def _memory(device: Any) -> Usage:
    info = _told(lambda: pynvml.nvmlDeviceGetMemoryInfo(device))
    return Usage(info.total, info.used) if info is not None else Usage()


def _has_gpm(handle: Any) -> bool:
    support = _told(lambda: pynvml.nvmlGpmQueryDeviceSupport(handle))
    return support is not None and bool(support.isSupportedDevice)


def _busy(handle: Any, instance: Instance, samples: dict[str, Any]) -> float | None:
    """Since the look before; None at the first."""
    now = _told(pynvml.nvmlGpmSampleAlloc)
    if now is None:
        return None
    if _told(lambda: pynvml.nvmlGpmMigSampleGet(handle, instance.id, now)) is None:
        _free(now)
        return None
    before, samples[instance.uuid] = samples.get(instance.uuid), now
    if before is None:
        return None
    try:
        return _between(before, now)
    finally:
        _free(before)


def _between(before: Any, now: Any) -> float | None:
    question = pynvml.c_nvmlGpmMetricsGet_t()
    question.version = pynvml.NVML_GPM_METRICS_GET_VERSION
    question.numMetrics = 1
    question.sample1, question.sample2 = before, now
    question.metrics[0].metricId = pynvml.NVML_GPM_METRIC_SM_UTIL
    answer = _told(lambda: pynvml.nvmlGpmMetricsGet(question))
    if answer is None or answer.metrics[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return min(1.0, max(0.0, float(answer.metrics[0].value) / _PERCENT))


def _free(sample: Any) -> None:
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlGpmSampleFree(sample)


def _told(ask: Callable[[], T]) -> T | None:
    """What the driver answers; None where it does not."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None
