"""What the controller wants of this node's GPUs: the spec of its GPUNode, from the watch into the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from nos.kube.gpunode import GPUNode, WantedGpu

from .journal import Journal

_log = logging.getLogger(__name__)


class WantedSink:
    """A Sink of the watch on this node's GPUNode, and what became of each GPU. `on_change`: look at all of them."""

    def __init__(self, node: str, gpus: Collection[int], journal: Journal, on_change: Callable[[], None]) -> None:
        """gpus: the indices of all."""
        self.generation = 0  # of the spec; 0 while the API server has not told us one
        self.uid = ""  # of the GPUNode: one that was made anew knows nothing of what we wrote
        self.problems: dict[int, str] = {}  # by GPU: why it is not as wanted
        self.missing = False  # the API server has no GPUNode of ours
        self._tried: dict[int, int] = {}  # by GPU: the generation that it was last brought to, or tried
        self._gpus = gpus
        self._node = node
        self._journal = journal
        self._on_change = on_change
        self._seen = True

    def of(self, index: int) -> WantedGpu | None:
        """What a GPU is to become; None where nothing was said of it, so that it stays as it is."""
        return next((gpu for gpu in self._journal.spec.gpus if gpu.index == index), None)

    @property
    def observed(self) -> int:
        """The generation that all GPUs were brought to, or tried."""
        return min((self._tried.get(index, 0) for index in self._gpus), default=self.generation)

    def tried(self, index: int, generation: int) -> None:
        """A GPU was brought to what this generation wants, or it was tried. Of one that is past it says nothing."""
        if generation == self.generation:
            self._tried[index] = generation

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._seen = False

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        if not self._seen:
            self._is_missing()

    def changed(self, item: GPUNode) -> None:
        """See nos.kube.watch.Sink."""
        self._seen, self.missing = True, False
        if item.metadata.uid == self.uid and item.metadata.generation == self.generation:
            return  # only its status, which is ours
        if item.metadata.uid != self.uid:
            self._tried.clear()
        self.uid, self.generation = item.metadata.uid, item.metadata.generation
        if item.spec != self._journal.spec:
            self._journal.write_spec(item.spec)
        self._on_change()

    def deleted(self, item: GPUNode) -> None:  # noqa: ARG002
        """See nos.kube.watch.Sink."""
        self._is_missing()

    def _is_missing(self) -> None:
        """It is made anew, and says nothing of any GPU until the controller does: they stay as they are."""
        _log.info("there is no GPUNode %s, making it", self._node)
        self.missing, self.uid, self.generation = True, "", 0
        self._tried.clear()
        self._on_change()
