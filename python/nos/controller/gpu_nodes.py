"""GPUNodes from their watch: what their agents report makes the nodes' GPUs.

Kept per node, beside its GPUNode: the specs that its agent may be acting on, which are those from the generation that
it has answered on, and those that we have sent and whose fate is not known; and the GPUs that are not to be recut for a
while. `nos.kube.cut` makes of it what the core counts with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nos import _core
from nos.kube.cut import gpu_specs
from nos.kube.gpunode import LAYOUT_ANNOTATION, GPUNode, Spec, WantedGpu, wanted_gpu
from nos.kube.new_node import layout_of

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger


@dataclass(slots=True)
class _Specs:
    by_generation: dict[int, Spec] = field(default_factory=dict)
    sent: list[Spec] = field(default_factory=list)  # each may be written or not

    def acted_on(self, gpu_node: GPUNode) -> list[Spec] | None:
        """In order; None where one of them is not known, as after a restart."""
        last = gpu_node.metadata.generation
        first = min(max(gpu_node.status.observed_generation, 1), last)
        specs = [self.by_generation.get(generation) for generation in range(first, last + 1)]
        known = [spec for spec in specs if spec is not None]
        return [*known, *self.sent] if len(known) == len(specs) else None


@dataclass(slots=True)
class _Freeze:
    until: float
    thaws_on_news: bool


class GpuNodeSink:
    """See nos.kube.watch.Sink."""

    def __init__(self, ledger: Ledger) -> None:
        self.synced_once = asyncio.Event()
        self.known: dict[str, GPUNode] = {}
        self._ledger = ledger
        self._specs: dict[str, _Specs] = {}
        self._frozen: dict[str, dict[int, _Freeze]] = {}
        self._listed: set[str] | None = None

    def gpus(self, name: str) -> list[_core.GpuSpec]:
        """How the node's GPUs are; none before its agent has reported."""
        if (gpu_node := self.known.get(name)) is None:
            return []
        pods, acted_on = self._ledger.pods, self._specs[name].acted_on(gpu_node)
        if layout := self.layout(name):
            asked = Spec(layout)
            gpu_node, acted_on = GPUNode(gpu_node.metadata, asked, gpu_node.status), [asked]

        def uid_of(pod: str) -> str:
            return pods.bound_uid(pod, name) or pod

        return gpu_specs(
            gpu_node,
            acted_on,
            fixed=self._frozen.get(name, ()),
            uid_of=uid_of,
            holdings=pods.holdings.get(name, {}),
        )

    def layout(self, name: str) -> tuple[WantedGpu, ...]:
        """How a new node was ordered to be cut, while nobody has asked its agent for anything yet."""
        node, gpu_node = self._ledger.nodes.node(name), self.known.get(name)
        if node is None or gpu_node is None or gpu_node.spec.gpus or not self._ledger.nodes.is_cut(name):
            return ()
        there = {gpu.index for gpu in gpu_node.status.gpus}
        layout = layout_of(node.metadata.annotations.get(LAYOUT_ANNOTATION, ""))
        return tuple(wanted_gpu(index, (True, layout[index])) for index in sorted(layout) if index in there)

    def freeze(self, name: str, gpus: Iterable[int], seconds: float, *, thaws_on_news: bool) -> None:
        """Do not recut these for a while, or until the node reports something new. What is ready is still given out."""
        loop = asyncio.get_running_loop()
        frozen = self._frozen.setdefault(name, {})
        for gpu in gpus:
            frozen[gpu] = _Freeze(loop.time() + seconds, thaws_on_news)
        loop.call_later(seconds, self._thaw, name)
        self._ledger.nodes.refresh(name)

    def frozen(self, name: str, gpu: int) -> bool:
        """Whether the GPU is not to be recut now."""
        return gpu in self._frozen.get(name, ())

    def _thaw(self, name: str, *, news: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        frozen = self._frozen.get(name, {})
        for gpu, freeze in list(frozen.items()):
            if now >= freeze.until or (news and freeze.thaws_on_news):
                del frozen[gpu]
        if not frozen:
            self._frozen.pop(name, None)
        self._ledger.nodes.refresh(name)

    def writing(self, name: str, spec: Spec) -> None:
        """This spec is about to be sent: what it destroys is given to nobody from now on."""
        self._specs[name].sent.append(spec)
        self._ledger.nodes.refresh(name)

    def written(self, gpu_node: GPUNode) -> None:
        """The API server took a spec, and answered with the object."""
        known = self.known.get(gpu_node.metadata.name)
        if known and known.metadata.uid == gpu_node.metadata.uid:
            if known.metadata.generation < gpu_node.metadata.generation:
                self._take(gpu_node)
            else:  # the watch was quicker
                self._ledger.nodes.changed_cut(gpu_node.metadata.name)

    def not_written(self, name: str, spec: Spec) -> None:
        """The API server refused this spec."""
        if (specs := self._specs.get(name)) and spec in specs.sent:
            specs.sent.remove(spec)
            self._ledger.nodes.refresh(name)

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

    def changed(self, gpu_node: GPUNode) -> None:
        """See nos.kube.watch.Sink."""
        name = gpu_node.metadata.name
        if self._listed is not None:
            self._listed.add(name)
        known = self.known.get(name)
        if known and known.metadata.uid == gpu_node.metadata.uid:
            if known.metadata.generation > gpu_node.metadata.generation:
                return  # it was under way when our own write was answered
            if known.metadata.resource_version == gpu_node.metadata.resource_version:
                return
        self._take(gpu_node)

    def _take(self, gpu_node: GPUNode) -> None:
        name, generation = gpu_node.metadata.name, gpu_node.metadata.generation
        before = self.known.get(name)
        if before is None or before.metadata.uid != gpu_node.metadata.uid:
            self._specs[name] = _Specs()
        self.known[name] = gpu_node
        specs = self._specs[name]
        # What we have sent was for an older resourceVersion: it is this one, or will never be written.
        specs.sent.clear()
        specs.by_generation[generation] = gpu_node.spec
        answered = min(gpu_node.status.observed_generation, generation)
        for old in [g for g in specs.by_generation if g < answered]:
            del specs.by_generation[old]
        if before is not None and before.status != gpu_node.status:
            self._ledger.pods.reported(name)
            self._thaw(name, news=True)
        else:
            self._ledger.nodes.refresh(name)
        self._ledger.nodes.changed_cut(name)

    def deleted(self, gpu_node: GPUNode) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(gpu_node.metadata.name)

    def _remove(self, name: str) -> None:
        self.known.pop(name, None)
        self._specs.pop(name, None)
        self._frozen.pop(name, None)
        self._ledger.nodes.refresh(name)
        self._ledger.nodes.changed_cut(name)
