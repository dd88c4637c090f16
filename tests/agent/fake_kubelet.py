"""A kubelet's two gRPC services in this process, that misbehave on request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from nos.agent.kubelet import deviceplugin_pb2 as plugin_wire
from nos.agent.kubelet import podresources_pb2 as wire
from nos.agent.kubelet.channel import open_channel


async def eventually(condition: Callable[[], object], why: str, within: float = 10.0) -> None:
    """Waits for what another task does in its own time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {why}"
        await asyncio.sleep(0.002)


def plugin_call(channel: grpc.aio.Channel, name: str, answer: Any) -> Any:
    """A call of a device plugin as the kubelet makes it."""
    kind = channel.unary_stream if name == "ListAndWatch" else channel.unary_unary
    return kind(
        f"/v1beta1.DevicePlugin/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )


class FakeKubelet:
    """Registers plugins and listens to them, in `directory`; says about Pods what the test sets."""

    def __init__(self, directory: Path, pod_resources: Path | None = None) -> None:
        self.directory = directory
        self.pod_resources = pod_resources or directory / "pod-resources.sock"
        self.refuse = 0  # registrations, before one is taken
        self.deaf = False  # takes registrations, and does not listen
        self.attempts: list[float] = []
        self.registered: list[str] = []  # endpoints
        self.endpoints: dict[str, str] = {}  # the last of each resource
        self.options: plugin_wire.Options | None = None
        self.lists: dict[str, dict[str, str]] = {}  # resource -> device -> health, as last heard
        self.heard = 0
        self.heard_of: Counter[str] = Counter()  # by resource
        self.held: dict[str, tuple[str, str, str]] = {}
        self.lag = 0.0  # between a list heard and known to pod-resources
        self.delay = 0.0  # before pod-resources answers
        self.errors = 0  # pod-resources calls that fail, before one is answered
        self.before_list: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._known: dict[str, dict[str, str]] = {}
        self._latest: dict[str, int] = {}
        self._listening: dict[str, asyncio.Task[None]] = {}
        self._channels: list[grpc.aio.Channel] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """As a kubelet does: removes what is there, and listens."""
        for path in self.directory.glob("*.sock"):
            path.unlink()
        self.pod_resources.unlink(missing_ok=True)
        self._known.clear()
        self._server = grpc.aio.server()
        register = grpc.unary_unary_rpc_method_handler(
            self._register, plugin_wire.RegisterRequest.FromString, plugin_wire.Empty.SerializeToString
        )
        methods = {
            name: grpc.unary_unary_rpc_method_handler(method, wire.Empty.FromString, answer.SerializeToString)
            for name, method, answer in (
                ("List", self._list, wire.PodList),
                ("GetAllocatableResources", self._allocatable, wire.Allocatable),
            )
        }
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": register}),
                grpc.method_handlers_generic_handler("v1.PodResourcesLister", methods),
            )
        )
        self._server.add_insecure_port(f"unix:{self.directory / 'kubelet.sock'}")
        self._server.add_insecure_port(f"unix:{self.pod_resources}")
        await self._server.start()

    async def stop(self) -> None:
        """Ends every stream, and listens no more. The sockets stay, as after a kill."""
        for resource in list(self._listening):
            await self.drop(resource)
        for channel in self._channels:
            await channel.close(None)
        await self._server.stop(0)

    async def drop(self, resource: str) -> None:
        """Stops listening to a plugin."""
        task = self._listening.pop(resource)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await task

    def channel(self, resource: str = "") -> grpc.aio.Channel:
        """A connection to the plugin of a resource, or to the one that registered last."""
        channel = open_channel(self.directory / self.endpoints.get(resource, self.registered[-1]))
        self._channels.append(channel)
        return channel

    def knows(self, device: str) -> bool:
        """Whether it would give the device to a Pod."""
        return any(devices.get(device) == "Healthy" for devices in self._known.values())

    async def admit(self, pod: str, resource: str, device: str) -> bool:
        """Give a Pod a device, as at admission: choose it, ask the plugin, book it. False where the Pod is rejected."""
        if self._known.get(resource, {}).get(device) != "Healthy" or device in self.held:
            return False
        asked = plugin_wire.AllocateRequest(containers=[plugin_wire.AllocateRequest.Container(devices=[device])])
        call = plugin_call(self.channel(resource), "Allocate", plugin_wire.AllocateResponse)
        try:
            await call(asked, timeout=5)
        except grpc.aio.AioRpcError:
            return False
        self.held[device] = ("default", pod, "main")
        return True

    async def allocate(self, *devices: str) -> plugin_wire.AllocateResponse:
        """As for one container."""
        containers = [plugin_wire.AllocateRequest.Container(devices=devices)]
        call = plugin_call(self.channel(), "Allocate", plugin_wire.AllocateResponse)
        return await call(plugin_wire.AllocateRequest(containers=containers), timeout=5)

    async def _register(self, request: plugin_wire.RegisterRequest, context: Any) -> plugin_wire.Empty:
        self.attempts.append(time.monotonic())
        assert request.version == "v1beta1"
        if self.refuse:
            self.refuse -= 1
            await context.abort(grpc.StatusCode.UNKNOWN, "not now")
        self.registered.append(request.endpoint)
        self.endpoints[request.resource] = request.endpoint
        if not self.deaf:
            channel = self.channel(request.resource)
            options = plugin_call(channel, "GetDevicePluginOptions", plugin_wire.Options)
            self.options = await options(plugin_wire.Empty(), timeout=5)
            listen = asyncio.create_task(self._listen(request.resource, channel))
            self._listening[request.resource] = listen
        return plugin_wire.Empty()

    async def _listen(self, resource: str, channel: grpc.aio.Channel) -> None:
        try:
            async for answer in plugin_call(channel, "ListAndWatch", plugin_wire.DeviceList)(plugin_wire.Empty()):
                self.lists[resource] = {device.id: device.health for device in answer.devices}
                self.heard += 1
                self.heard_of[resource] += 1
                asyncio.get_running_loop().call_later(self.lag, self._know, resource, self.heard, self.lists[resource])
        except grpc.aio.AioRpcError:
            pass
        finally:
            self.lists.pop(resource, None)

    def _know(self, resource: str, heard: int, devices: dict[str, str]) -> None:
        if heard > self._latest.get(resource, 0):  # the lag may have become shorter meanwhile
            self._latest[resource], self._known[resource] = heard, devices

    async def _list(self, request: wire.Empty, context: Any) -> wire.PodList:  # noqa: ARG002
        await self._fail(context)
        held = dict(self.held)
        if self.before_list:
            await self.before_list()
        pods: dict[tuple[str, str, str], list[str]] = {}
        for device, holder in held.items():
            pods.setdefault(holder, []).append(device)
        return wire.PodList(
            pods=[
                wire.Pod(
                    name=pod,
                    namespace=namespace,
                    containers=[wire.Container(name=container, devices=[wire.Devices(resource="r", ids=ids)])],
                )
                for (namespace, pod, container), ids in pods.items()
            ]
        )

    async def _allocatable(self, request: wire.Empty, context: Any) -> wire.Allocatable:  # noqa: ARG002
        await self._fail(context)
        return wire.Allocatable(
            devices=[
                wire.Devices(resource=resource, ids=[device])  # an entry for each, as the kubelet has it
                for resource, devices in self._known.items()
                for device, health in devices.items()
                if health == "Healthy"
            ]
        )

    async def _fail(self, context: Any) -> None:
        await asyncio.sleep(self.delay)
        if self.errors:
            self.errors -= 1
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")
