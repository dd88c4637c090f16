"""What the controller starts for Cluster Autoscaler."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from nos.autoscaler import counted
from nos.autoscaler.backend import Backend
from nos.autoscaler.cluster_autoscaler.front import Front
from nos.autoscaler.cluster_autoscaler.plan import Plan
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings
from nos.kube.client import Client
from nos.kube.errors import ConfigError
from nos.kube.provider_id import provider_ids


@asynccontextmanager
async def answering(
    settings: ClusterAutoscalerSettings, client: Client, backends: Sequence[Backend], plan: Callable[[], Plan | None]
) -> AsyncIterator[str]:
    """Answer Cluster Autoscaler; yields the address. plan: the latest. Raises ConfigError."""
    try:
        from nos.autoscaler.cluster_autoscaler.server import serve
    except ImportError as error:
        remedy = "install nos-scheduler[cluster-autoscaler], or remove that section"
        raise ConfigError(f"scaling.clusterAutoscaler needs grpcio and protobuf: {error}; {remedy}") from None
    if not settings.fronts:
        async with serve(settings, plan, None) as address:
            yield address
        return

    async def read_provider_ids() -> Mapping[str, str]:
        with counted.told("the provider ids of Nodes"):
            return await provider_ids(client)

    front = Front(_fronted(settings, backends), settings.layouts, read_provider_ids)
    async with serve(settings, plan, front) as address, asyncio.TaskGroup() as parts:
        running = parts.create_task(front.run())
        yield address
        running.cancel()


def _fronted(settings: ClusterAutoscalerSettings, backends: Sequence[Backend]) -> Backend:
    for backend in backends:
        if backend.name == settings.fronts:
            return backend
    there = ", ".join(backend.name for backend in backends) or "none"
    raise ConfigError(f"scaling.clusterAutoscaler.fronts: there is no backend {settings.fronts}; configured: {there}")
