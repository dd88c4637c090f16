"""What is watched: each kind that the Ledger has a sink for.

A kind that the API server does not serve, as its API came later or its CRD is not installed, or that our role does not
let us see, counts as one without objects.
"""

import asyncio
import logging
from typing import Any

from nos.controller.ledger import Ledger
from nos.kube.budget import BUDGETS, decode_budget
from nos.kube.client import Client, pause
from nos.kube.dra import DEVICE_CLASSES, RESOURCE_SLICES, decode_device_class, decode_resource_slice
from nos.kube.errors import ApiError, Unreachable
from nos.kube.gpunode import GPU_NODES, decode_gpu_node
from nos.kube.namespace import NAMESPACES, decode_namespace
from nos.kube.node import NODES, decode_node
from nos.kube.pod import PODS, decode_pod
from nos.kube.podgroup import POD_GROUPS, decode_pod_group
from nos.kube.quota import COMPOSITE_QUOTAS, ELASTIC_QUOTAS, decode_composite, decode_elastic
from nos.kube.watch import Watch
from nos.kube.workload import (
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    STATEFUL_SETS,
    decode_by_map,
    decode_by_selector,
)

_log = logging.getLogger(__name__)
_LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed"


class Watches:
    """One per kind, from one API server into one Ledger."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger
        defaults = ledger.spread_defaults
        self._certain: tuple[Watch[Any], ...] = (
            Watch(client, NODES, decode_node, ledger.nodes),
            Watch(client, PODS, decode_pod, ledger.pods, field_selector=_LIVE_PODS),
            Watch(client, NAMESPACES, decode_namespace, ledger.namespaces),
            Watch(client, BUDGETS, decode_budget, ledger.budgets.store),
            Watch(client, SERVICES, decode_by_map, defaults.services),
            Watch(client, REPLICATION_CONTROLLERS, decode_by_map, defaults.replication_controllers),
            Watch(client, REPLICA_SETS, decode_by_selector, defaults.replica_sets),
            Watch(client, STATEFUL_SETS, decode_by_selector, defaults.stateful_sets),
            *(Watch(client, kind.path, kind.decode, kind.sink) for kind in ledger.storage.watched),
        )

    async def start(self, parts: asyncio.TaskGroup) -> None:
        """Begin them as tasks of the group."""
        for watch in self._certain:
            parts.create_task(watch.run())
        client, ledger = self._client, self._ledger
        if await self._serves(GPU_NODES):
            parts.create_task(Watch(client, GPU_NODES, decode_gpu_node, ledger.gpu_nodes).run())
        else:
            _log.warning("the API server has no GPUNodes: no GPU is cut until the CRD is there and nos restarts")
            ledger.gpu_nodes.synced()
        if await self._serves(POD_GROUPS):
            parts.create_task(Watch(client, POD_GROUPS, decode_pod_group, ledger.gangs.groups).run())
        else:
            _log.info("the API server shows us no PodGroups: what Pods say of their group is all there is")
            ledger.gangs.groups.synced()
        if await self._serves(ELASTIC_QUOTAS) and await self._serves(COMPOSITE_QUOTAS):
            parts.create_task(Watch(client, ELASTIC_QUOTAS, decode_elastic, ledger.quotas.elastic).run())
            parts.create_task(Watch(client, COMPOSITE_QUOTAS, decode_composite, ledger.quotas.composite).run())
        else:
            _log.warning("the API server has no quotas: nobody has any until the CRDs are there and nos restarts")
            for sink in ledger.quotas.sinks:
                sink.synced()
        if await self._serves(DEVICE_CLASSES) and await self._serves(RESOURCE_SLICES):
            parts.create_task(Watch(client, DEVICE_CLASSES, decode_device_class, ledger.devices.classes).run())
            parts.create_task(Watch(client, RESOURCE_SLICES, decode_resource_slice, ledger.devices.slices).run())
        else:
            _log.info("the API server shows us no ResourceSlices: devices by DRA are not known")
            ledger.devices.classes.synced()
            ledger.devices.slices.synced()

    async def _serves(self, path: str) -> bool:
        """Whether the API server has this kind for us."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._client.request("GET", path, params={"limit": "1"}, attempts=1)
            except ApiError as error:
                if error.status in (403, 404):
                    return False
            except Unreachable:
                pass
            else:
                return True
            await asyncio.sleep(pause(attempt))
