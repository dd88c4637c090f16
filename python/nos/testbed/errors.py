"""The one exception of the testbed."""

from __future__ import annotations


class TestbedError(Exception):
    """Names the thing that failed and the remedy; the command line prints it and exits with 1."""

    __test__ = False  # the name is not a test class
