"""Of nodes that come and go."""

from nos.observe.metrics.book import Book

_READY_S = (5, 15, 30, 60, 90, 120, 180, 300, 600, 900, 1800)
_PAYBACK_S = (0, 60, 300, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


class ScalingMetrics:
    """See docs/metrics.md."""

    def __init__(self, book: Book) -> None:
        self.nodes = book.gauge(
            "nos_scaling_nodes", "Nodes of a group. state: coming, up, going, failed.", "group", "state"
        )
        self.cost = book.gauge(
            "nos_scaling_cost_dollars_per_hour", "What the nodes of a group cost that are up or going.", "group"
        )
        self.groups = book.gauge(
            "nos_scaling_groups",
            "Node groups. state: ready; resting, after a failure; broken, nothing is ordered until that is corrected.",
            "state",
        )
        self.orders = book.counter(
            "nos_scaling_orders_total",
            "Nodes that were ordered. result: taken, refused or unanswered by the backend.",
            "group",
            "result",
        )
        self.failures = book.counter(
            "nos_scaling_failures_total", "Times that a group was rested, as no node came of an order.", "group"
        )
        self.removed = book.counter(
            "nos_scaling_removed_nodes_total", "Nodes that were found unneeded and whose drain was begun."
        )
        self.ready_seconds = book.histogram(
            "nos_scaling_node_ready_seconds", "From the order of a node until it could be used.", buckets=_READY_S
        )
        self.payback_seconds = book.histogram(
            "nos_scaling_payback_seconds",
            "How long a removal or exchange of nodes has to last to save what its moves and new nodes cost.",
            buckets=_PAYBACK_S,
        )
