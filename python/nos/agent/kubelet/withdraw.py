"""Taking a device away from the kubelet, without taking it from a Pod.

Between a look at who holds what and the device's end, the kubelet may admit a Pod to it. So the device is first held
back, and when the kubelet knows, nothing new can choose it. What chose it before has asked us for it, or will: the
kubelet decides, then calls Allocate, then books it. A call that has come is waited for until it is booked. One that
comes after our verdict is refused, and the kubelet rejects that Pod: no Pod gets a device that is about to go.
"""

from __future__ import annotations

import asyncio
import logging
import time

from .channel import KubeletError
from .device_plugin import DevicePlugin
from .pod_resources import Holder, PodResources

BOOKED_S = 1.0  # the kubelet books what it was granted within a millisecond, or, where the Pod failed, never
PAUSE_S = 0.05

_log = logging.getLogger(__name__)


async def withdraw(plugin: DevicePlugin, kubelet: PodResources, device: str, *, within: float = 10.0) -> Holder | None:
    """None when nobody holds the device and nobody can get it: it may be destroyed, or given out again by
    `plugin.put_back`. Otherwise who holds it, and the device is back; so it is after a KubeletError."""
    plugin.hold_back(device)
    try:
        holder = await _settle(plugin, kubelet, device, within)
    except BaseException:
        plugin.put_back(device)
        raise
    if holder:
        _log.info("%s: %s stays: Pod %s/%s holds it", plugin.resource, device, holder.namespace, holder.pod)
        plugin.put_back(device)
    return holder


async def _settle(plugin: DevicePlugin, kubelet: PodResources, device: str, within: float) -> Holder | None:
    def still_known(found: dict[str, set[str]]) -> str | None:
        return f"the kubelet still knows {device}" if device in found.get(plugin.resource, ()) else None

    await kubelet.until(still_known, within=within)
    deadline = time.monotonic() + within
    while True:
        granted = plugin.granted(device)
        asked = time.monotonic()
        holder = (await kubelet.held()).get(device)
        if holder:
            return holder
        # Nothing is awaited from here to the verdict: no grant comes in between.
        if plugin.granted(device) == granted and (granted is None or asked > granted + BOOKED_S):
            plugin.keep_back(device)
            return None
        if time.monotonic() > deadline:
            raise KubeletError(f"not within {within:g} s: {device} is handed out again and again")
        await asyncio.sleep(PAUSE_S)
