"""One extended resource of this node, served to the kubelet.

Arrives: the devices that are there, whenever they change; the kubelet's calls. Leaves: a registration with every
kubelet that comes, and on its stream the whole list at each change, within milliseconds. Guaranteed: a kubelet that
restarts, refuses or loses the stream is registered with again, after jittered and bounded waits; a device that is
withdrawn for good is not handed out any more, even where a kubelet that had not heard of it asks for it.

Every registration is made under a socket of a new name: the kubelet takes the end of a former connection for the end of
the present one where both have one name.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from . import deviceplugin_pb2 as wire
from .channel import open_channel, said

VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
ENVIRONMENT_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
CDI_KIND = "nvidia.com/gpu"

LOOK_S = 0.2  # how often a plugin looks whether the kubelet's socket is a new one: two stat calls
CALL_TIMEOUT_S = 10.0  # the kubelet itself waits as long for us while it registers
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A GPU or a MIG instance as the kubelet sees it. `id` is its UUID."""

    id: str
    healthy: bool = True
    numa_nodes: tuple[int, ...] = ()


class Hand(enum.Enum):
    """How a container gets its devices: NVIDIA's runtime reads the variable, any runtime with CDI the device names."""

    ENVIRONMENT = "environment"
    CDI = "cdi"


class DevicePlugin:
    """Serves `resource` from `directory`, the kubelet's device-plugins; an asynchronous context manager."""

    def __init__(
        self,
        resource: str,
        directory: Path,
        devices: Iterable[Device] = (),
        *,
        hand: Hand = Hand.ENVIRONMENT,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """on_change: the kubelet began or ceased to listen, or gave a device to a Pod."""
        self.resource = resource
        self._on_change = on_change
        self._directory = directory
        self._hand = hand
        self._devices = {device.id: device for device in devices}
        self._withdrawn: dict[str, bool] = {}  # device -> for good
        self._preferred: tuple[str, ...] = ()
        self._granted: dict[str, float] = {}  # device -> when the kubelet was last told to use it
        self._changed = asyncio.Event()  # set once, and replaced by the next one
        self._streams = 0
        self._stream_came_or_went = asyncio.Event()
        self._stopping = False
        self._server: grpc.aio.Server | None = None
        self._socket: Path | None = None
        self._task: asyncio.Task[None] | None = None

    # What the agent says.

    def set_devices(self, devices: Iterable[Device]) -> None:
        """What is there now. What was withdrawn and is still there stays withdrawn; what is gone is forgotten."""
        found = {device.id: device for device in devices}
        if found != self._devices:
            self._devices = found
            for known in (self._withdrawn, self._granted):
                for gone in known.keys() - found.keys():
                    del known[gone]
            self._push()

    def prefer(self, order: Sequence[str]) -> None:
        """Devices that Pods should get first, in this order; after them the others, as `set_devices` had them."""
        self._preferred = tuple(order)

    def hold_back(self, device: str) -> None:
        """Stops advertising a device. Should the kubelet have chosen it for a Pod already, the Pod still gets it."""
        if device not in self._withdrawn:
            self._withdrawn[device] = False
            self._push()

    def keep_back(self, device: str) -> None:
        """From now on the Pod does not get it either: the kubelet rejects the Pod."""
        self._withdrawn[device] = True

    def put_back(self, device: str) -> None:
        """Advertises a device again."""
        if self._withdrawn.pop(device, None) is not None:
            self._push()

    @property
    def devices(self) -> dict[str, Device]:
        """What is there, withdrawn or not."""
        return dict(self._devices)

    @property
    def advertised(self) -> set[str]:
        """The healthy devices that the kubelet may hand out."""
        return {d.id for d in self._devices.values() if d.healthy and d.id not in self._withdrawn}

    @property
    def connected(self) -> bool:
        """Whether a kubelet listens to our list."""
        return self._streams > 0

    def granted(self, device: str) -> float | None:
        """When the kubelet was last told to use a device, as `time.monotonic` counts."""
        return self._granted.get(device)

    # Coming and going.

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay_registered(), name=f"device plugin {self.resource}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Takes leave: the kubelet sees the stream end, and counts the devices as gone at once. Pods run on."""
        self._stopping = True
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})  # awaiting the task itself could not tell its end from ours
            if not self._task.cancelled():
                self._task.result()
            self._task = None
        self._push()  # wakes the streams, which then end
        await self._close()

    # Being registered.

    async def _stay_registered(self) -> None:
        wait, known = FIRST_WAIT_S, None
        while True:
            kubelet = self._kubelet()
            if kubelet is None:
                await asyncio.sleep(LOOK_S)
                continue
            if kubelet != known:  # one that has not disappointed us yet
                wait, known = FIRST_WAIT_S, kubelet
            try:
                await self._register(kubelet)
                began = time.monotonic()
                await self._until_lost(kubelet)
                if time.monotonic() - began > LONGEST_WAIT_S:
                    wait = FIRST_WAIT_S
            except (grpc.aio.AioRpcError, OSError, RuntimeError) as error:
                why = said(error) if isinstance(error, grpc.aio.AioRpcError) else str(error)
                _log.warning("%s: not registered with the kubelet: %s", self.resource, why)
            await self._pause(random.uniform(wait / 2, wait), unless=kubelet)
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _register(self, kubelet: tuple[int, ...]) -> None:
        await self._close()
        await self._serve()
        assert self._socket
        request = wire.RegisterRequest(
            version=VERSION, endpoint=self._socket.name, resource=self.resource, options=_OPTIONS
        )
        self._stream_came_or_went.clear()
        async with open_channel(self._directory / KUBELET_SOCKET) as channel:
            register = channel.unary_unary(
                f"/{VERSION}.Registration/Register",
                request_serializer=wire.RegisterRequest.SerializeToString,
                response_deserializer=wire.Empty.FromString,
            )
            await register(request, timeout=CALL_TIMEOUT_S)
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while not self._streams:  # it asks for the list in its own time, if it lives
            if time.monotonic() > deadline or self._kubelet() != kubelet:
                raise RuntimeError("it took the registration, and does not listen")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_S, CALL_TIMEOUT_S)):
                    await self._stream_came_or_went.wait()
            self._stream_came_or_went.clear()
        _log.info("%s: registered with the kubelet, %d devices", self.resource, len(self.advertised))

    async def _until_lost(self, kubelet: tuple[int, ...]) -> None:
        assert self._socket
        while self._streams and self._kubelet() == kubelet and self._socket.exists():
            self._stream_came_or_went.clear()
            with contextlib.suppress(TimeoutError):  # not wait_for: in 3.11 it may swallow that we are to stop
                async with asyncio.timeout(LOOK_S):
                    await self._stream_came_or_went.wait()
        _log.info("%s: the kubelet is gone or does not listen any more; registering again", self.resource)

    async def _pause(self, seconds: float, unless: tuple[int, ...]) -> None:
        """Waits, unless another kubelet comes."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._kubelet() in (unless, None):  # noqa: ASYNC110
            await asyncio.sleep(min(LOOK_S, left))

    def _kubelet(self) -> tuple[int, ...] | None:
        """Which kubelet listens: every one makes its socket anew."""
        try:
            found = (self._directory / KUBELET_SOCKET).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns

    # Serving.

    async def _serve(self) -> None:
        name = self.resource.rpartition("/")[2]
        _remove_dead_sockets(self._directory, name)
        path = self._directory / f"{name}-{secrets.token_hex(4)}.sock"
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(f"{VERSION}.DevicePlugin", self._methods()),)
        )
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        self._server, self._socket = server, path

    async def _close(self) -> None:
        if self._server:
            await self._server.stop(0.5 if self._stopping else 0)  # a moment for a call that is being answered
            self._server = None
        if self._socket:
            self._socket.unlink(missing_ok=True)
            self._socket = None

    def _methods(self) -> dict[str, Any]:
        def unary(method: Any, request: Any, response: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(method, request.FromString, response.SerializeToString)

        return {
            "GetDevicePluginOptions": unary(self._get_options, wire.Empty, wire.Options),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(
                self._list_and_watch, wire.Empty.FromString, wire.DeviceList.SerializeToString
            ),
            "GetPreferredAllocation": unary(self._get_preferred, wire.PreferenceRequest, wire.PreferenceResponse),
            "Allocate": unary(self._allocate, wire.AllocateRequest, wire.AllocateResponse),
        }

    async def _get_options(self, request: wire.Empty, context: Any) -> wire.Options:  # noqa: ARG002
        return _OPTIONS

    async def _list_and_watch(self, request: wire.Empty, context: Any) -> AsyncIterator[wire.DeviceList]:  # noqa: ARG002
        self._streams += 1
        self._stream_came_or_went.set()
        self._on_change()
        try:
            while not self._stopping:
                changed = self._changed
                yield self._list()
                await changed.wait()
        finally:
            self._streams -= 1
            self._stream_came_or_went.set()
            self._on_change()

    async def _get_preferred(self, request: wire.PreferenceRequest, context: Any) -> wire.PreferenceResponse:  # noqa: ARG002
        order = {device: place for place, device in enumerate(dict.fromkeys((*self._preferred, *self._devices)))}
        containers = []
        for asked in request.containers:
            chosen = list(asked.must_include)
            rest = sorted(set(asked.available).difference(chosen), key=lambda d: (order.get(d, len(order)), d))
            chosen += rest[: max(0, asked.size - len(chosen))]
            containers.append(wire.PreferenceResponse.Container(devices=chosen))
        return wire.PreferenceResponse(containers=containers)

    async def _allocate(self, request: wire.AllocateRequest, context: Any) -> wire.AllocateResponse:
        ids = [device for container in request.containers for device in container.devices]
        for device in ids:
            if why := self._refusal(device):
                _log.warning("%s: a Pod does not get %s: %s", self.resource, device, why)
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{device} {why}")
        now = time.monotonic()
        self._granted.update(dict.fromkeys(ids, now))
        self._on_change()
        return wire.AllocateResponse(containers=[self._answer(container.devices) for container in request.containers])

    def _refusal(self, device: str) -> str | None:
        if device not in self._devices:
            return "is not there any more"
        if not self._devices[device].healthy:
            return "is unhealthy"
        return "is withdrawn" if self._withdrawn.get(device) else None

    def _answer(self, devices: Sequence[str]) -> wire.AllocateResponse.Container:
        if self._hand is Hand.CDI:
            names = [wire.AllocateResponse.CdiDevice(name=f"{CDI_KIND}={device}") for device in devices]
            return wire.AllocateResponse.Container(cdi_devices=names)
        return wire.AllocateResponse.Container(environment={ENVIRONMENT_VARIABLE: ",".join(devices)})

    def _list(self) -> wire.DeviceList:
        shown = (device for device in self._devices.values() if device.id not in self._withdrawn)
        return wire.DeviceList(
            devices=[
                wire.Device(
                    id=device.id,
                    health="Healthy" if device.healthy else "Unhealthy",
                    topology=wire.Topology(nodes=[wire.NumaNode(id=node) for node in device.numa_nodes])
                    if device.numa_nodes
                    else None,
                )
                for device in shown
            ]
        )

    def _push(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


_OPTIONS = wire.Options(preferred_allocation_available=True)


def _remove_dead_sockets(directory: Path, name: str) -> None:
    """Those that a plugin of ours left when it was killed; one that somebody listens on is not dead."""
    for path in directory.glob(f"{name}-????????.sock"):
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
