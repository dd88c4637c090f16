"""CHANGELOG.md: people write it, a release takes its section."""

from __future__ import annotations

import re

from release import ReleaseError


def section(text: str, version: str) -> str:
    """What is under `## VERSION`, without the heading. Raises ReleaseError when nothing is."""
    parts = re.split(r"^## +(\S+).*\n", text, flags=re.MULTILINE)
    found = [body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True) if name == version]
    if len(found) != 1 or not found[0]:
        how = "has more than one section" if len(found) > 1 else "says nothing"
        raise ReleaseError(f"CHANGELOG.md {how} of {version}: write under `## {version}` what is new for users")
    return found[0] + "\n"
