"""All extended resources of this node: one device plugin each, that come and stay as resources come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .device_plugin import Device, DevicePlugin, Hand


class DevicePlugins:
    """The node's device plugins by resource; an asynchronous context manager.

    A resource that was there once stays registered, with an empty list when its devices are gone: the kubelet then
    shows 0 of it at once, and of a plugin that went away it would keep the capacity for five minutes."""

    def __init__(
        self, directory: Path, *, hand: Hand = Hand.ENVIRONMENT, on_change: Callable[[], None] = lambda: None
    ) -> None:
        """on_change: see DevicePlugin."""
        self._directory = directory
        self._hand = hand
        self._on_change = on_change
        self._plugins: dict[str, DevicePlugin] = {}

    async def set_devices(self, devices: Mapping[str, Iterable[Device]]) -> None:
        """What is there now, by resource, all of it."""
        for resource in devices.keys() - self._plugins.keys():
            plugin = DevicePlugin(
                resource, self._directory, devices[resource], hand=self._hand, on_change=self._on_change
            )
            self._plugins[resource] = await plugin.__aenter__()
        for resource, served in self._plugins.items():
            served.set_devices(devices.get(resource, ()))

    def prefer(self, order: Sequence[str]) -> None:
        """Devices that Pods should get first, of any resource."""
        for plugin in self._plugins.values():
            plugin.prefer(order)

    def __getitem__(self, resource: str) -> DevicePlugin:
        return self._plugins[resource]

    def of(self, device: str) -> DevicePlugin | None:
        """The plugin that serves a device."""
        return next((plugin for plugin in self._plugins.values() if device in plugin.devices), None)

    def advertised(self) -> dict[str, set[str]]:
        """What the kubelet ought to know, by resource."""
        return {resource: plugin.advertised for resource, plugin in self._plugins.items()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(plugin.stop() for plugin in self._plugins.values()))
