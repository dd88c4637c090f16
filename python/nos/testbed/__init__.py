"""A real Kubernetes control plane on this machine, with simulated GPU nodes, for the demo and the tests."""

from .errors import TestbedError
from .testbed import Testbed

__all__ = ["Testbed", "TestbedError"]
