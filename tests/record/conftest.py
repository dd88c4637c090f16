"""Records are made of the same clusters as the controller's."""

from tests.controller.conftest import cluster, controller, role
from tests.controller.scaling.test_with_cluster_api import rig

__all__ = ["cluster", "controller", "rig", "role"]
