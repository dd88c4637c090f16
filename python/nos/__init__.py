"""nos: one controller that decides where GPU Pods run on Kubernetes, and says why."""

from importlib.metadata import version

__version__ = version("nos-scheduler")
