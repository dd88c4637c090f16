"""The MIG facts of GPU models: what can be cut from each, and where. For planning; on a node NVML is right."""

from .core import core_model
from .models import Engines, Model, Profile, find, models, recognize

__all__ = ["Engines", "Model", "Profile", "core_model", "find", "models", "recognize"]
