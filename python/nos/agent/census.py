"""What is counted when somebody asks an agent for its metrics: the GPUs as they are known, and how busy they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from nos.observe.metrics.agent import AgentMetrics
from nos.observe.metrics.book import Entry, Values

from .gpus import Gpus
from .usage import GpuUsage, UsageReader

_PATIENCE_S = 5.0  # that a driver has to answer

_Samples = dict[tuple[str, ...], float]


class Census:
    """`read` takes it. problems: why GPUs are not as wanted, by index."""

    def __init__(self, metrics: AgentMetrics, gpus: Gpus, problems: Mapping[int, str]) -> None:
        self._metrics = metrics
        self._gpus = gpus
        self._problems = problems
        self._reader = UsageReader()
        self._reading: dict[int, asyncio.Task[GpuUsage]] = {}

    async def read(self) -> Values:
        """The values of all metrics that are read. Of a GPU whose driver does not answer in time less is there."""
        of, known = self._metrics, dict(self._gpus.known)
        usages = await self._usages()
        values: dict[Entry, _Samples] = {
            of.info: {(str(index), gpu.product): 1 for index, gpu in known.items()},
            of.unhealthy: {(str(index),): float(bool(self._gpus.why_unfit(gpu))) for index, gpu in known.items()},
            of.unlike: {(str(index),): float(index in self._problems) for index in known},
            of.xids: {(str(gpu), str(code)): count for (gpu, code), count in self._gpus.xids.items()},
        }
        gpus: tuple[_Samples, ...] = {}, {}, {}, {}
        instances: tuple[_Samples, ...] = {}, {}, {}
        for index, usage in usages.items():
            _add(gpus, (str(index),), usage.gpu)
            for one in known[index].instances:
                if one.uuid in usage.instances:
                    place = str(index), one.place.profile, str(one.place.start)
                    _add(instances, place, usage.instances[one.uuid])
        values |= zip((of.memory, of.memory_used, of.utilization, of.mps_clients), gpus, strict=True)
        values |= zip((of.instance_memory, of.instance_used, of.instance_utilization), instances, strict=True)
        return values

    async def _usages(self) -> dict[int, GpuUsage]:
        """One look at a GPU at a time: where one hangs no other is begun."""
        for index, gpu in self._gpus.known.items():
            if index not in self._reading:
                self._reading[index] = asyncio.create_task(self._gpus.call(self._reader.read, gpu))
        done, _ = await asyncio.wait(self._reading.values(), timeout=_PATIENCE_S) if self._reading else (set(), None)
        answered = {index: task for index, task in self._reading.items() if task in done}
        for index in answered:
            del self._reading[index]
        return {index: task.result() for index, task in answered.items()}


def _add(samples: tuple[_Samples, ...], labels: tuple[str, ...], values: tuple[float | None, ...]) -> None:
    for into, value in zip(samples, values, strict=False):  # an instance has no clients of its own
        if value is not None:
            into[labels] = value
