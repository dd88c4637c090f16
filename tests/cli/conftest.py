"""Commands meet the same clusters as the controller."""

from tests.controller.conftest import cluster, role

__all__ = ["cluster", "role"]
