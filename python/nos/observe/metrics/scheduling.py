"""Of decisions: how many, how fast, who waits and for what."""

from prometheus_client import Histogram

from nos.observe.metrics.book import Book, Exemplar

_CYCLE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAIT_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)


class SchedulingMetrics:
    """See docs/metrics.md. `cycle` and `bound` are told of each."""

    def __init__(self, book: Book) -> None:
        self.placed = 0
        self._seconds: dict[str, Histogram] = {}  # by reason
        self.cycle_seconds = book.histogram(
            "nos_scheduling_cycle_seconds",
            "How long the core took to decide on all that waited.",
            buckets=_CYCLE_S,
            exemplars=True,
        )
        self.attempts = book.counter(
            "nos_scheduling_attempts_total",
            "Pods that cycles decided on. result: placed, or waits for the reason.",
            "result",
            "reason",
        )
        self.bindings = book.counter(
            "nos_bindings_total",
            "Bindings by what became of them: bound, refused by the API server, or failed and placed anew.",
            "result",
        )
        self.pod_seconds = book.histogram(
            "nos_pod_scheduling_seconds",
            "From the moment when nos first saw a Pod wait until it was bound, by the last reason that it was told; "
            "empty: it did not have to wait.",
            "reason",
            buckets=_WAIT_S,
            exemplars=True,
        )
        self.rejections = book.counter(
            "nos_kubelet_rejections_total",
            "Pods that a kubelet did not admit: races lost to another scheduler, or to news that came too late.",
            "reason",
        )
        self.queue = book.gauge(
            "nos_queue_pods",
            "Pods that nos is to place. state: pending; binding, decided and on the way; deferred after a failure.",
            "priority",
            "quota",
            "state",
        )
        self.reasons = book.gauge("nos_queue_reason_pods", "Pods that wait now, by reason.", "reason")
        self.oldest = book.gauge(
            "nos_queue_oldest_seconds", "How long the one that waits longest has waited since nos first saw it."
        )
        self.lost = book.counter(
            "nos_events_lost_total",
            "What happened to Pods and no Event tells: it was too much at once, or the API server did not take it.",
        )

    def cycle(self, seconds: float, placed: int, exemplar: Exemplar | None) -> None:
        """One is over, and has placed so many Pods."""
        self.placed += placed
        self.cycle_seconds.observe(seconds, exemplar)

    def bound(self, reason: str, seconds: float, exemplar: Exemplar | None) -> None:
        """A Pod has its node, so long after it was first seen; the last reason that it was told, empty: none."""
        histogram = self._seconds.get(reason)
        if histogram is None:
            histogram = self._seconds[reason] = self.pod_seconds.labels(reason)
        histogram.observe(seconds, exemplar)
