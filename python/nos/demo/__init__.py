"""The demo: a real control plane, GPU nodes, Pods that arrive, and nos placing them before one's eyes."""

from .errors import DemoError

__all__ = ["DemoError"]
