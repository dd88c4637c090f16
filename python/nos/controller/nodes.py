"""Nodes from their watch, and what nos cuts of their GPUs, make what each node offers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from nos import _core
from nos.kube.decode import node_spec
from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL
from nos.kube.node import Node

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger


class NodeSink:
    """Nodes from their watch into the Ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.synced_once = asyncio.Event()
        self.known: dict[str, _core.NodeSpec] = {}
        self.changed_cut: Callable[[str], None] = lambda _: None  # told of a node whose GPUs or their report changed
        self._cut: dict[str, Node] = {}  # those whose GPUs nos cuts
        self._ledger = ledger
        self._listed: set[str] | None = None

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._listed = set()

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        if self._listed is not None:
            for name in self.known.keys() - self._listed:
                self._remove(name)
        self._listed = None
        self.synced_once.set()

    def changed(self, node: Node) -> None:
        """See nos.kube.watch.Sink."""
        name = node.metadata.name
        if self._listed is not None:
            self._listed.add(name)
        if node.metadata.labels.get(PARTITIONING_LABEL) in CUT_BY_NOS:
            self._cut[name] = node
            self.refresh(name)
        else:
            was_cut = self._cut.pop(name, None)
            self._offers(name, node_spec(node))
            if was_cut:
                self.changed_cut(name)

    def is_cut(self, name: str) -> bool:
        """Whether nos cuts the node's GPUs."""
        return name in self._cut

    def refresh(self, name: str) -> None:
        """Look again at how a node's GPUs are cut."""
        if node := self._cut.get(name):
            self._offers(name, node_spec(node, self._ledger.gpu_nodes.gpus(name)))

    def _offers(self, name: str, spec: _core.NodeSpec) -> None:
        if self.known.get(name) != spec:  # most events are heartbeats
            self.known[name] = spec
            self._ledger.edit(lambda: self._ledger.cluster.upsert_node(name, spec))
            self._ledger.wake()
            if name in self._cut:
                self.changed_cut(name)

    def deleted(self, node: Node) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(node.metadata.name)

    def _remove(self, name: str) -> None:
        self.known.pop(name, None)
        was_cut = self._cut.pop(name, None)
        self._ledger.edit(lambda: self._ledger.cluster.remove_node(name))
        if was_cut:
            self.changed_cut(name)
