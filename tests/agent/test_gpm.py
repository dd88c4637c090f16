"""How busy instances are, which only Hopper's driver tells: in place of it, functions that answer as GPM is documented
to. Nothing simulates GPM, and no GPU of the kind was at hand."""

from __future__ import annotations

from ctypes import addressof, pointer
from dataclasses import replace
from typing import Any

import pynvml
import pytest

from nos.agent.driver import Gpu, Instance, Place
from nos.agent.nvml import Nvml
from nos.agent.usage import UsageReader

from .conftest import Machine


class Gpm:
    """What the driver keeps: samples that are allocated, and the work that each has seen."""

    def __init__(self) -> None:
        self.work = {3: 0.0, 5: 0.0}  # percent times looks, by the driver's id of a GPU instance
        self.samples: dict[int, tuple[Any, int, float]] = {}
        self.status = pynvml.NVML_SUCCESS

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        support = pynvml.c_nvmlGpmSupport_t(version=1, isSupportedDevice=1)
        monkeypatch.setattr(pynvml, "nvmlGpmQueryDeviceSupport", lambda _: support)
        monkeypatch.setattr(pynvml, "nvmlGpmSampleAlloc", self._alloc)
        monkeypatch.setattr(pynvml, "nvmlGpmMigSampleGet", self._take)
        monkeypatch.setattr(pynvml, "nvmlGpmMetricsGet", self._between)
        monkeypatch.setattr(pynvml, "nvmlGpmSampleFree", lambda sample: self.samples.pop(_number(sample)))

    def _alloc(self) -> Any:
        memory = pynvml.struct_c_nvmlGpmSample_t()
        sample = pointer(memory)
        self.samples[_number(sample)] = memory, -1, 0.0
        return sample

    def _take(self, _: object, instance: int, sample: Any) -> Any:
        if instance not in self.work:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        memory, *_rest = self.samples[_number(sample)]
        self.samples[_number(sample)] = memory, instance, self.work[instance]
        return sample

    def _between(self, question: Any) -> Any:
        (_, one, before), (_, other, after) = (
            self.samples[_number(sample)] for sample in (question.sample1, question.sample2)
        )
        assert (question.version, question.numMetrics) == (1, 1)
        assert one == other >= 0
        assert question.metrics[0].metricId == pynvml.NVML_GPM_METRIC_SM_UTIL
        question.metrics[0].nvmlReturn = self.status
        question.metrics[0].value = after - before
        return question


def _number(sample: Any) -> int:
    address = addressof(sample.contents)
    assert isinstance(address, int)
    return address


@pytest.fixture
def gpm(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Gpm:
    machine("a100-40gb")
    gpm = Gpm()
    gpm.install(monkeypatch)
    return gpm


def test_busy_is_of_the_time_between_two_looks(gpm: Gpm) -> None:
    """At the second look the one has worked 40 % of the time, the other 100; at the third 25 and not at all."""
    with Nvml() as driver:
        one, other = Instance(Place("1g.5gb", 0), 3, "MIG-1"), Instance(Place("3g.20gb", 4), 5, "MIG-3")
        gpu: Gpu = replace(driver.read(0), mig=True, instances=(one, other))
        reader = UsageReader()

        def busy(gpu: Gpu) -> dict[str, float | None]:
            return {uuid: usage.busy for uuid, usage in reader.read(gpu).instances.items()}

        assert busy(gpu) == {"MIG-1": None, "MIG-3": None}
        gpm.work = {3: 40.0, 5: 100.0}
        assert busy(gpu) == {"MIG-1": 0.4, "MIG-3": 1.0}
        gpm.work = {3: 65.0, 5: 100.0}
        assert busy(gpu) == {"MIG-1": 0.25, "MIG-3": 0.0}
        assert len(gpm.samples) == 2  # the last of each, and no more
        gpm.status = pynvml.NVML_ERROR_UNKNOWN
        assert busy(gpu) == {"MIG-1": None, "MIG-3": None}
        assert busy(replace(gpu, instances=(other,))) == {"MIG-3": None}
        assert len(gpm.samples) == 1
        assert busy(replace(gpu, mig=False, instances=())) == {}
        assert not gpm.samples


def test_one_that_the_driver_does_not_know_has_no_sample(gpm: Gpm) -> None:
    with Nvml() as driver:
        gone = Instance(Place("1g.5gb", 0), 9, "MIG-9")
        gpu = replace(driver.read(0), mig=True, instances=(gone,))
        assert UsageReader().read(gpu).instances["MIG-9"].busy is None
    assert not gpm.samples
