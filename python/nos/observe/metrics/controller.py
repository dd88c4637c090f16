"""All of the controller's metrics."""

from importlib.metadata import version

from nos.observe.metrics.api import ApiMetrics
from nos.observe.metrics.book import Book
from nos.observe.metrics.gpus import GpuMetrics
from nos.observe.metrics.quotas import QuotaMetrics
from nos.observe.metrics.scaling import ScalingMetrics
from nos.observe.metrics.scheduling import SchedulingMetrics

VERSION = version("nos-scheduler")


class ControllerMetrics:
    """By subject, in one book."""

    def __init__(self) -> None:
        self.book = Book()
        self.scheduling = SchedulingMetrics(self.book)
        self.gpus = GpuMetrics(self.book)
        self.quotas = QuotaMetrics(self.book)
        self.scaling = ScalingMetrics(self.book)
        self.api = ApiMetrics(self.book)
        self.build = self.book.gauge("nos_build_info", "1, with the version.", "version")
