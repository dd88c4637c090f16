"""Which nodes have devices for an extended resource by way of DRA only, from DeviceClasses and ResourceSlices."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from nos.controller.store import Store
from nos.kube.dra import DeviceClass, Devices
from nos.kube.node import Node

_NVIDIA, _GPU = "gpu.nvidia.com", "nvidia.com/gpu"


class DeviceOffers:
    """Its Stores are the sinks. told: of the nodes for which the answer may be another; None: all."""

    def __init__(self, told: Callable[[Iterable[str] | None], None]) -> None:
        self.classes = Store[DeviceClass](self._class)
        self.slices = Store[Devices](self._slice)
        self._told = told
        self._on_node: dict[str, dict[str, Devices]] = defaultdict(dict)  # by node and slice
        self._shared: dict[str, Devices] = {}  # those that do not name their nodes

    def of(self, node: Node) -> list[str]:
        """The extended resources for which the node has devices, in alphabetical order."""
        named = self._on_node.get(node.metadata.name, {})
        drivers = {devices.driver for devices in (*named.values(), *self._shared.values()) if devices.on(node)}
        if not drivers:
            return []
        found = {_GPU} if _NVIDIA in drivers else set()
        for kind in self.classes.known.values():
            if not kind.drivers or kind.drivers & drivers:
                found.update(kind.resources)
        return sorted(found)

    def _class(self, before: DeviceClass | None, now: DeviceClass | None) -> None:
        if not before or not now or (before.resources, before.drivers) != (now.resources, now.drivers):
            self._told(None if self._shared else list(self._on_node))

    def _slice(self, before: Devices | None, now: Devices | None) -> None:
        if before and now and _offer(before) == _offer(now):
            return  # other devices at the same place
        if before:
            self._shared.pop(before.metadata.name, None)
            for node in before.nodes:
                del self._on_node[node][before.metadata.name]
                if not self._on_node[node]:
                    del self._on_node[node]
        if now:
            for node in now.nodes:
                self._on_node[node][now.metadata.name] = now
            if now.everywhere or now.terms:
                self._shared[now.metadata.name] = now
        touched = [devices for devices in (before, now) if devices]
        somewhere = any(devices.everywhere or devices.terms for devices in touched)
        self._told(None if somewhere else {node for devices in touched for node in devices.nodes})


def _offer(devices: Devices) -> tuple[object, ...]:
    return devices.driver, devices.nodes, devices.terms, devices.everywhere
