"""Of the API server: how fast it answers, how fresh what we know is, whether we lead."""

from prometheus_client import Histogram

from nos.observe.metrics.book import Book, Exemplar

_REQUEST_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ECHO_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ApiMetrics:
    """See docs/metrics.md. `request` is told of each."""

    def __init__(self, book: Book) -> None:
        self.requests = book.counter(
            "nos_api_requests_total",
            "Answers of the API server; code is empty where none came. Watches are not among them.",
            "verb",
            "resource",
            "code",
        )
        self.request_seconds = book.histogram(
            "nos_api_request_seconds",
            "How long its answers took.",
            "verb",
            "resource",
            buckets=_REQUEST_S,
            exemplars=True,
        )
        self.events = book.counter("nos_watch_events_total", "Events that watches brought.", "resource")
        self.lists = book.counter("nos_watch_lists_total", "Full lists, the first one included.", "resource")
        self.silence = book.gauge(
            "nos_watch_silence_seconds",
            "Since when a watch has brought nothing, not even the bookmark of each minute.",
            "resource",
        )
        self.echo_seconds = book.histogram(
            "nos_watch_lag_seconds",
            "From the answer to a Binding until the watch showed it.",
            buckets=_ECHO_S,
            exemplars=True,
        )
        self.leading = book.gauge("nos_lease_held", "1 while this process leads.")
        self.remaining = book.gauge(
            "nos_lease_remaining_seconds", "Until it stops to act, should the Lease not be renewed."
        )
        self.counts: dict[tuple[str, str, str], int] = {}  # by verb, resource and code
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def request(self, verb: str, resource: str, code: str, seconds: float, exemplar: Exemplar | None) -> None:
        """One was answered, or not: then the code is empty."""
        key = verb, resource, code
        self.counts[key] = self.counts.get(key, 0) + 1
        histogram = self._seconds.get(key[:2])
        if histogram is None:
            histogram = self._seconds[key[:2]] = self.request_seconds.labels(verb, resource)
        histogram.observe(seconds, exemplar)
