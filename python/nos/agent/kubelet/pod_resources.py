"""What the kubelet's device manager knows: which devices there are, and which Pod holds which.

It is ahead of the Node's status by up to ten seconds, and it is what admission goes by: see design, section 6.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import grpc.aio

from . import podresources_pb2 as wire
from .channel import KubeletError, open_channel, said

CALL_TIMEOUT_S = 5.0
# The kubelet takes 100 calls a second from all of its clients together, 10 at once.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.1

Answer = TypeVar("Answer")


class Holder(NamedTuple):
    """The container that holds a device."""

    namespace: str
    pod: str
    container: str


class PodResources:
    """A client of the kubelet's pod-resources socket; an asynchronous context manager. A kubelet's restart costs calls
    that are made meanwhile, no more."""

    def __init__(self, socket: Path) -> None:
        self._channel = open_channel(socket)
        self._list = self._method("List", wire.PodList)
        self._allocatable = self._method("GetAllocatableResources", wire.Allocatable)

    async def held(self) -> dict[str, Holder]:
        """Who holds each device that is held. An init container's devices are not among them, unless a container of the
        Pod takes them over."""
        answer = await self._call(self._list)
        return {
            device: Holder(pod.namespace, pod.name, container.name)
            for pod in answer.pods
            for container in pod.containers
            for devices in container.devices
            for device in devices.ids
        }

    async def allocatable(self) -> dict[str, set[str]]:
        """The healthy devices that the kubelet knows, held or not, by resource; one that has none is not there."""
        found: dict[str, set[str]] = {}
        for devices in (await self._call(self._allocatable)).devices:
            found.setdefault(devices.resource, set()).update(devices.ids)  # one entry per NUMA node, or per device
        return found

    async def knows(self, wanted: Mapping[str, Set[str]], *, within: float = 10.0) -> None:
        """Returns when the kubelet knows exactly these devices of these resources; KubeletError when it does not in
        time. Others do not matter."""

        def lacking(found: dict[str, set[str]]) -> str | None:
            for resource, devices in wanted.items():
                if found.get(resource, set()) != devices:
                    return f"{resource}: it knows {len(found.get(resource, ()))} devices, not the {len(devices)} wanted"
            return None

        await self.until(lacking, within=within)

    async def until(self, lacking: Callable[[dict[str, set[str]]], str | None], *, within: float) -> None:
        """Asks for the allocatable devices until `lacking` names nothing more; KubeletError with its words when time is
        up."""
        deadline, pause, why = time.monotonic() + within, FIRST_PAUSE_S, "no answer"
        while True:
            try:
                left = lacking(await self.allocatable())
                if left is None:
                    return
                why = left
            except KubeletError as error:  # it restarts, or has too many callers
                why = str(error)
            if time.monotonic() + pause > deadline:
                raise KubeletError(f"not within {within:g} s: {why}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def close(self) -> None:
        """Drops the connection."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _method(self, name: str, answer: Any) -> Any:
        return self._channel.unary_unary(
            f"/v1.PodResourcesLister/{name}",
            request_serializer=wire.Empty.SerializeToString,
            response_deserializer=answer.FromString,
        )

    async def _call(self, method: Any) -> Any:
        try:
            return await method(wire.Empty(), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise KubeletError(f"pod-resources: {said(error)}") from None
