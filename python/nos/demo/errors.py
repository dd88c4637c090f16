"""The one exception of the demo."""

from __future__ import annotations


class DemoError(Exception):
    """Names what failed and the remedy; the command line prints it and exits with 1."""
