"""What is watched: each kind that the Ledger has a sink for.

A kind that the API server does not serve, as its API came later or its CRD is not installed, counts as one without
objects. One that our role does not let us see is waited for: who did not know of quotas would break them, and an API
server that has just started refuses until it knows the roles.
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
        self.all: list[Watch[Any]] = []  # those that have begun
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
            self.begin(parts, watch)
        client, ledger = self._client, self._ledger
        if await serves(client, GPU_NODES):
            self.begin(parts, Watch(client, GPU_NODES, decode_gpu_node, ledger.gpu_nodes))
        else:
            _log.warning("the API server has no GPUNodes: no GPU is cut until the CRD is there and nos restarts")
            ledger.gpu_nodes.synced()
        if await serves(client, POD_GROUPS):
            self.begin(parts, Watch(client, POD_GROUPS, decode_pod_group, ledger.gangs.groups))
        else:
            _log.info("the API server has no PodGroups: what Pods say of their group is all there is")
            ledger.gangs.groups.synced()
        if await serves(client, ELASTIC_QUOTAS) and await serves(client, COMPOSITE_QUOTAS):
            self.begin(parts, Watch(client, ELASTIC_QUOTAS, decode_elastic, ledger.quotas.elastic))
            self.begin(parts, Watch(client, COMPOSITE_QUOTAS, decode_composite, ledger.quotas.composite))
        else:
            _log.warning("the API server has no quotas: nobody has any until the CRDs are there and nos restarts")
            for sink in ledger.quotas.sinks:
                sink.synced()
        if await serves(client, DEVICE_CLASSES) and await serves(client, RESOURCE_SLICES):
            self.begin(parts, Watch(client, DEVICE_CLASSES, decode_device_class, ledger.devices.classes))
            self.begin(parts, Watch(client, RESOURCE_SLICES, decode_resource_slice, ledger.devices.slices))
        else:
            _log.info("the API server has no ResourceSlices: devices by DRA are not known")
            ledger.devices.classes.synced()
            ledger.devices.slices.synced()

    def begin(self, parts: asyncio.TaskGroup, watch: Watch[Any]) -> None:
        """Begin one as a task of the group, and count it among all."""
        self.all.append(watch)
        parts.create_task(watch.run())


async def serves(client: Client, path: str, *, may_lack: bool = False) -> bool:
    """Whether the API server has the kind at this path. may_lack: no right to see it is a no; else it is waited for."""
    attempt = 0
    while True:
        attempt += 1
        try:
            await client.request("GET", path, params={"limit": "1"}, attempts=1)
        except ApiError as error:
            if error.status == 404 or (error.status == 403 and may_lack):
                return False
            _log.log(logging.ERROR if error.status == 403 else logging.WARNING, "%s: asking again: %s", path, error)
        except Unreachable:
            pass
        else:
            return True
        await asyncio.sleep(pause(attempt))
