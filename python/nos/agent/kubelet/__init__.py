"""The kubelet's side of a GPU: device plugins, and what it says about who holds which device."""

from .channel import KubeletError
from .device_plugin import Device, DevicePlugin, Hand
from .plugins import DevicePlugins
from .pod_resources import Holder, PodResources
from .withdraw import withdraw

__all__ = ["Device", "DevicePlugin", "DevicePlugins", "Hand", "Holder", "KubeletError", "PodResources", "withdraw"]
