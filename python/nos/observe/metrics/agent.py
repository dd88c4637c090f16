"""All of an agent's metrics. What its driver does not tell is not there."""

from nos.observe.metrics.book import Book

_OPERATION_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class AgentMetrics:
    """In one book."""

    def __init__(self) -> None:
        self.book = Book()
        gauge = self.book.gauge
        self.info = gauge("nos_agent_gpu_info", "1, with what the GPU is.", "gpu", "model")
        self.unhealthy = gauge("nos_agent_gpu_unhealthy", "1 where nothing of the GPU is handed out.", "gpu")
        self.unlike = gauge(
            "nos_agent_gpu_not_as_wanted", "1 where the GPU could not be cut as its GPUNode says.", "gpu"
        )
        self.memory = gauge("nos_agent_gpu_memory_bytes", "Memory of the GPU.", "gpu")
        self.memory_used = gauge("nos_agent_gpu_memory_used_bytes", "Memory of the GPU that is in use.", "gpu")
        self.utilization = gauge(
            "nos_agent_gpu_utilization_ratio",
            "Part of the time for which the GPU was busy; of one in MIG mode its instances say that.",
            "gpu",
        )
        self.mps_clients = gauge("nos_agent_gpu_mps_clients", "Processes that share the GPU by MPS.", "gpu")
        instance = "gpu", "profile", "start"
        self.instance_memory = gauge("nos_agent_instance_memory_bytes", "Memory of a MIG instance.", *instance)
        self.instance_used = gauge(
            "nos_agent_instance_memory_used_bytes", "Memory of a MIG instance that is in use.", *instance
        )
        self.instance_utilization = gauge(
            "nos_agent_instance_utilization_ratio",
            "Part of its multiprocessors that an instance kept busy since the scrape before; Hopper and later.",
            *instance,
        )
        self.xids = self.book.counter("nos_agent_xids_total", "Errors that the driver reported.", "gpu", "xid")
        self.operation_seconds = self.book.histogram(
            "nos_agent_operation_seconds",
            "How long the driver took to create, destroy or set_mig. result: done, or failed.",
            "operation",
            "result",
            buckets=_OPERATION_S,
        )

    def changed(self, operation: str, result: str, seconds: float) -> None:
        """The driver was asked to change a GPU, and took so long."""
        self.operation_seconds.labels(operation, result).observe(seconds)
