"""What Prometheus reads at /metrics."""

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The controller's."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.kubelet_rejections = Counter(
            "nos_kubelet_rejections",
            "Pods that a kubelet did not admit: races lost to another scheduler, or to news that came too late.",
            ["reason"],
            registry=self._registry,
        )

    def text(self) -> bytes:
        """All of them, as CONTENT_TYPE says."""
        return generate_latest(self._registry)
