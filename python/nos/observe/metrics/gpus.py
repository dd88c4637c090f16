"""Of GPUs: taken, free, stranded, and what was done to make room on them."""

from nos.observe.metrics.book import Book


class GpuMetrics:
    """See docs/metrics.md."""

    def __init__(self, book: Book) -> None:
        self.node_gpus = book.gauge("nos_node_gpus", "GPUs of a node.", "node", "model")
        self.node_allocated = book.gauge("nos_node_gpus_allocated", "GPUs of a node that Pods have.", "node")
        self.nodes = book.gauge("nos_nodes", "Nodes, with or without GPUs.")
        self.gpus = book.gauge("nos_gpus", "GPUs, by model.", "model")
        self.allocated = book.gauge(
            "nos_gpus_allocated", "GPUs that Pods have; shares and MIG instances count as parts.", "model"
        )
        self.free = book.gauge("nos_gpus_free", "GPUs that Pods can be given, likewise.", "model")
        self.unavailable = book.gauge(
            "nos_gpus_unavailable", "GPUs that nobody can be given: they are unfit, or a stranger has them.", "model"
        )
        self.stranded = book.gauge(
            "nos_gpus_stranded",
            "Of the free GPUs, those that the Pods which came lately could not take. cause: cpu or memory, of which "
            "their node has too little; geometry, as sets of GPUs are broken or crumbs are left.",
            "model",
            "cause",
        )
        self.fragmentation = book.gauge("nos_gpu_fragmentation_ratio", "Of the free GPUs, the part that is stranded.")
        self.recuts = book.counter("nos_recuts_total", "GPUs that were asked to become cut in another way.")
        self.recut_pods = book.counter(
            "nos_recut_pods_total", "Pods for which GPUs were to be cut. result: served, or failed.", "result"
        )
        self.evictions = book.counter(
            "nos_evictions_total",
            "Pods that were evicted. cause: priority of another, reclaim by a quota, repack so that others fit, drain "
            "of a node that goes, gang that cannot start.",
            "cause",
        )
        self.refused_evictions = book.counter(
            "nos_evictions_refused_total", "Evictions that a PodDisruptionBudget did not allow."
        )
