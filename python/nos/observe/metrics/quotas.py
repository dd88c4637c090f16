"""Of quotas. Amounts are in the unit of their resource: cores, bytes, GPUs, GB of GPU memory."""

from nos.observe.metrics.book import Book


class QuotaMetrics:
    """See docs/metrics.md."""

    def __init__(self, book: Book) -> None:
        labels = "quota", "resource"
        self.min = book.gauge("nos_quota_min", "What the quota is guaranteed, in the resource's unit.", *labels)
        self.max = book.gauge("nos_quota_max", "What it never exceeds.", *labels)
        self.used = book.gauge("nos_quota_used", "What its Pods on nodes ask for.", *labels)
        self.borrowed = book.gauge("nos_quota_borrowed", "What is used beyond min.", *labels)
        self.reclaimed = book.counter(
            "nos_quota_reclaimed_pods_total", "Pods that were evicted so that the quota got back what it lent.", "quota"
        )
