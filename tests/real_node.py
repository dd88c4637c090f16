"""What tests on a real node need of the machine."""

from __future__ import annotations

import os

import pytest

from nos.testbed.realnode import obstacle


def require_real_node() -> None:
    """Skips where no real node can run, and says why; in CI that is a failure."""
    if problem := obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
