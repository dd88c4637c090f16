"""What the demo knows: the cluster as its own two watches show it, and when each Pod was created and bound.

Time to bind runs from the moment the API server has confirmed a Pod's creation until this process sees the Pod with a
node in its watch: creationTimestamp counts in seconds only. It includes the way to us, and is never negative.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nos.kube.decision import gpus
from nos.kube.node import Node as KubeNode
from nos.kube.pod import Pod as KubePod

from .workload import SCHEDULER, Ask


@dataclass
class Node:
    """A node, and the size of the Pod on each of its GPUs; 0 where there is none."""

    name: str
    shape: str
    number: int
    cells: list[int]
    cpu: int = 0  # of Pods without GPUs
    pods: set[str] = field(default_factory=set)


@dataclass
class Pod:
    """A Pod of the demo."""

    name: str
    ask: Ask
    created: float | None = None  # when the API server had confirmed it
    bound: float | None = None  # when we saw it with a node
    node: str = ""
    gpus: tuple[int, ...] = ()
    reason: str = ""  # why it waits

    @property
    def seconds(self) -> float:
        """Its time to bind."""
        return max(0.0, (self.bound or 0.0) - (self.created or self.bound or 0.0))


class Board:
    """Counters and cells for the view, fed by `Pods` and `Nodes`, which see nos.kube.watch.Sink."""

    def __init__(self, gpus_of: Mapping[str, int]) -> None:
        """`gpus_of` has the GPUs of each node that will come, by name."""
        self.began = time.monotonic()
        self.phase = ""
        self.expected = dict(gpus_of)
        self.nodes: dict[str, Node] = {}
        self.pods: dict[str, Pod] = {}
        self.last: deque[Pod] = deque(maxlen=12)  # newest first

    def expect(self, name: str, ask: Ask) -> Pod:
        """A Pod is about to be created."""
        self.pods[name] = Pod(name, ask)
        return self.pods[name]

    @property
    def created(self) -> int:
        """Pods that the API server has confirmed, or that we saw before that."""
        return sum(pod.created is not None or pod.bound is not None for pod in self.pods.values())

    @property
    def bound(self) -> list[Pod]:
        """Those with a node."""
        return [pod for pod in self.pods.values() if pod.bound is not None]

    @property
    def waiting(self) -> list[Pod]:
        """Those that are there and have none."""
        return [pod for pod in self.pods.values() if pod.created is not None and pod.bound is None]

    def reasons(self) -> list[tuple[str, list[str]]]:
        """Why Pods wait, and which; the most frequent first."""
        by_reason: dict[str, list[str]] = {}
        for pod in self.waiting:
            by_reason.setdefault(pod.reason, []).append(pod.name)
        return sorted(by_reason.items(), key=lambda item: (not item[0], -len(item[1])))

    @property
    def gpus(self) -> int:
        """GPUs of the nodes that are there."""
        return sum(len(node.cells) for node in self.nodes.values())

    @property
    def gpus_in_use(self) -> int:
        """GPUs that hold a Pod."""
        return sum(len(node.cells) - node.cells.count(0) for node in self.nodes.values())

    def in_use(self) -> list[Node]:
        """GPU nodes with a Pod."""
        return [node for node in self.nodes.values() if any(node.cells)]

    def shapes_in_order(self) -> list[str]:
        """As they were asked for."""
        return list(dict.fromkeys(name.rpartition("-")[0] for name in self.expected))

    def sizes(self) -> Counter[int]:
        """Bound Pods by their GPUs."""
        return Counter(pod.ask.gpus for pod in self.bound)


def percentile(seconds: Iterable[float], per_cent: int) -> float | None:
    """Nearest rank; None of nothing."""
    ordered = sorted(seconds)
    return ordered[max(0, -(-len(ordered) * per_cent // 100) - 1)] if ordered else None


class Nodes:
    """Nodes from their watch onto the Board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""

    def changed(self, node: KubeNode) -> None:
        """See nos.kube.watch.Sink."""
        name = node.metadata.name
        if name in self._board.expected and name not in self._board.nodes:
            shape, _, number = name.rpartition("-")
            cells = [0] * self._board.expected[name]
            self._board.nodes[name] = Node(name, shape, int(number), cells)

    def deleted(self, node: KubeNode) -> None:
        """See nos.kube.watch.Sink."""
        self._board.nodes.pop(node.metadata.name, None)


class Pods:
    """Pods from their watch onto the Board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""

    def changed(self, item: KubePod) -> None:
        """See nos.kube.watch.Sink."""
        pod = self._board.pods.get(item.metadata.name)
        if pod is None or pod.bound is not None or item.spec.scheduler_name != SCHEDULER:
            return
        if not item.spec.node_name:
            pod.reason = next(
                (c.message for c in item.status.conditions if c.type == "PodScheduled" and c.status == "False"), ""
            )
            return
        pod.bound = time.monotonic()
        pod.node, pod.gpus, pod.reason = item.spec.node_name, gpus(item), ""
        self._board.last.appendleft(pod)
        if node := self._board.nodes.get(pod.node):
            node.pods.add(pod.name)
            node.cpu += 0 if pod.ask.gpus else pod.ask.cpu
            for slot in pod.gpus:
                node.cells[slot] = len(pod.gpus)

    def deleted(self, item: KubePod) -> None:
        """See nos.kube.watch.Sink."""
        pod = self._board.pods.pop(item.metadata.name, None)
        if pod and (node := self._board.nodes.get(pod.node)):
            node.pods.discard(pod.name)
            node.cpu -= 0 if pod.ask.gpus else pod.ask.cpu
            for slot in pod.gpus:
                node.cells[slot] = 0
