"""Takes the startup taint off new nodes, once their GPUs are cut as they are to be and handed out.

Who cuts them knows when that is so: their agent's report says it, and the controller reads that anyway. So no agent
needs the right to write to Nodes.
"""

import asyncio
import logging
from collections.abc import Callable

from nos.controller.ledger import Ledger
from nos.kube.client import MERGE, Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.gpunode import LAYOUT_ANNOTATION, GPUNode, Spec
from nos.kube.new_node import layout_of, untainted
from nos.kube.node import NODES

_LOOK_S = 0.25

_log = logging.getLogger(__name__)


class Startup:
    """`run` does it."""

    def __init__(self, client: Client, ledger: Ledger, *, may_write: Callable[[], bool]) -> None:
        self._client = client
        self._ledger = ledger
        self._may_write = may_write

    async def run(self) -> None:
        """Take taints off until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for name in list(self._ledger.nodes.starting):
                if self._may_write() and self._is_cut(name):
                    await self._lift(name)

    def _is_cut(self, name: str) -> bool:
        node, gpu_node = self._ledger.nodes.node(name), self._ledger.gpu_nodes.known.get(name)
        if node is None or gpu_node is None or not self._ledger.nodes.is_cut(name):
            return False
        has_layout = bool(layout_of(node.metadata.annotations.get(LAYOUT_ANNOTATION, "")))
        return is_as_wanted(gpu_node) and (bool(gpu_node.spec.gpus) or not has_layout)

    async def _lift(self, name: str) -> None:
        node = self._ledger.nodes.node(name)
        assert node
        body = untainted(node.spec.taints, node.metadata.resource_version)
        try:
            await self._client.request("PATCH", f"{NODES}/{name}", body=body, content_type=MERGE, attempts=1)
            _log.info("node %s is cut and serves", name)
        except (ApiError, Unreachable) as error:
            if not isinstance(error, ApiError) or error.status not in (404, 409):
                _log.warning("the startup taint of node %s: %s", name, error)
                await asyncio.sleep(1)


def is_as_wanted(gpu_node: GPUNode) -> bool:
    """Whether its agent says of the present spec that all of it is there and handed out."""
    return gpu_node.answered and not gpu_node.unready and _is_there(gpu_node.spec, gpu_node)


def _is_there(spec: Spec, gpu_node: GPUNode) -> bool:
    for wanted in spec.gpus:
        gpu = gpu_node.status.gpu(wanted.index)
        if gpu is None or gpu.mig != wanted.mig or gpu_node.failure(wanted.index):
            return False
        ready = {(i.profile, i.start) for i in gpu.instances if i.ready}
        if not {(i.profile, i.start) for i in wanted.instances} <= ready or (not wanted.mig and not gpu.ready):
            return False
    return bool(gpu_node.status.gpus)
