"""Nodes from their watch, how their GPUs are cut and what else they have, make what each node offers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nos import _core
from nos.kube.decode import node_spec
from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL, STARTUP_TAINT
from nos.kube.node import Node

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger


class NodeSink:
    """Nodes from their watch into the Ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.synced_once = asyncio.Event()
        self.known: dict[str, _core.NodeSpec] = {}
        self.offered: Callable[[str], None] = lambda _: None  # told of a node that offers something else now
        self.changed_cut: Callable[[str], None] = lambda _: None  # told of a node whose GPUs or their report changed
        self.starting: set[str] = set()  # those with the startup taint
        self._nodes: dict[str, Node] = {}
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
        was_cut = self.is_cut(name)
        self._nodes[name] = node
        if any(taint.key == STARTUP_TAINT for taint in node.spec.taints):
            self.starting.add(name)
        else:
            self.starting.discard(name)
        self._offers(name)
        if was_cut and not self.is_cut(name):
            self.changed_cut(name)

    def node(self, name: str) -> Node | None:
        """As the API server has it; None where there is none."""
        return self._nodes.get(name)

    def marked(self, annotation: str) -> list[tuple[str, str]]:
        """The nodes that have this annotation, and what it says."""
        return [
            (name, node.metadata.annotations[annotation])
            for name, node in self._nodes.items()
            if annotation in node.metadata.annotations
        ]

    def is_cut(self, name: str) -> bool:
        """Whether nos cuts the node's GPUs."""
        node = self._nodes.get(name)
        return node is not None and node.metadata.labels.get(PARTITIONING_LABEL) in CUT_BY_NOS

    def refresh(self, name: str) -> None:
        """Look again at how a node's GPUs are cut."""
        if self.is_cut(name):
            self._offers(name)

    def revise(self, names: Iterable[str] | None) -> None:
        """Something else about these nodes has changed (None: all): look again at what they offer."""
        for name in list(self._nodes) if names is None else names:
            if name in self._nodes:
                self._offers(name)

    def _offers(self, name: str) -> None:
        node = self._nodes[name]
        gpus = self._ledger.gpu_nodes.gpus(name) if self.is_cut(name) else None
        spec = node_spec(node, gpus, volumes=self._ledger.storage.offered(name), by_dra=self._ledger.devices.of(node))
        if self.known.get(name) != spec:  # most events are heartbeats
            self.known[name] = spec
            self._ledger.edit(lambda: self._ledger.cluster.upsert_node(name, spec))
            self.offered(name)
            self._ledger.wake()
            if gpus is not None:
                self.changed_cut(name)

    def deleted(self, node: Node) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(node.metadata.name)

    def _remove(self, name: str) -> None:
        was_cut = self.is_cut(name)
        self.known.pop(name, None)
        self._nodes.pop(name, None)
        self.starting.discard(name)
        self._ledger.edit(lambda: self._ledger.cluster.remove_node(name))
        if was_cut:
            self.changed_cut(name)
