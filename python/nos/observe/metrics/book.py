"""The book of a process's metrics: each is entered once, with its name, its labels and what it means.

Two kinds. Those that are pushed are prometheus_client's own and are told of each happening. Those that are read cost
nothing until somebody scrapes: then their values, which the process has anyway, are asked for, all at the same moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric


class Entry(NamedTuple):
    """A metric. A counter's name ends in _total."""

    kind: str  # counter, gauge or histogram
    name: str
    help: str
    labels: tuple[str, ...]
    exemplars: bool = False  # where there are traces, each value names that which explains it


Exemplar = dict[str, str]  # trace_id and span_id
Values = Mapping[Entry, Mapping[tuple[str, ...], float]]  # by the labels' values, in the entry's order


class Book:
    """All metrics of a process. read: the values of those that are read."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series
        self.entries: list[Entry] = []
        self.read: Callable[[], Awaitable[Values]] | None = None
        self._registry = CollectorRegistry()
        self._values: Values = {}
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def counter(self, name: str, meaning: str, *labels: str) -> Entry:
        """Enter one that is read, and only grows."""
        return self._enter(Entry("counter", name, meaning, labels))

    def gauge(self, name: str, meaning: str, *labels: str) -> Entry:
        """Enter one that is read."""
        return self._enter(Entry("gauge", name, meaning, labels))

    def histogram(
        self, name: str, meaning: str, *labels: str, buckets: Sequence[float], exemplars: bool = False
    ) -> Histogram:
        """Enter one that is pushed."""
        self._enter(Entry("histogram", name, meaning, labels, exemplars))
        return Histogram(name, meaning, labels, buckets=buckets, registry=self._registry)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """All of them, in the format that the Accept header prefers, and its content type."""
        if self.read:
            self._values = await self.read()
        encode, content_type = choose_encoder(accept)
        # On a thread: with thousands of nodes it is so much that others would have to wait for it.
        return await asyncio.to_thread(encode, self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """For the registry: those that are read."""
        for entry, samples in self._values.items():
            family: CounterMetricFamily | GaugeMetricFamily
            if entry.kind == "counter":
                family = CounterMetricFamily(entry.name, entry.help, labels=entry.labels)
            else:
                family = GaugeMetricFamily(entry.name, entry.help, labels=entry.labels)
            for labels, value in samples.items():
                family.add_metric(labels, value)
            yield family

    def _enter(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        return entry
