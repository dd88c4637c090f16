"""What the API server refused to nos: rights that it wanted and did not have."""

from __future__ import annotations

import json
from pathlib import Path

# Of the controllers and agents that tests run: the testbed's own nos user, and those that users install.
ACCOUNTS = tuple(
    f"system:serviceaccount:{namespace}:{name}"
    for namespace in ("nos-system", "nebuly-nos", "nos-agents")
    for name in ("nos-scheduler", "nos-agent")
)


class Refusals:
    """Of the control planes of one session, by the audit logs that they write into a folder.

    Only nos's own client counts. What a test asks by hand with nos's token is to see what a thief could do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}

    def log(self, name: str) -> Path:
        """For one control plane, whose `audited_users` are ACCOUNTS."""
        return self._folder / f"{name}.log"

    def new(self) -> list[str]:
        """Those since it was last asked, one a line."""
        found = []
        for log in sorted(self._folder.glob("*.log")):
            with log.open("rb") as file:
                file.seek(self._read.get(log.name, 0))
                lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._read[log.name] = self._read.get(log.name, 0) + len(whole)
            found += [said for line in whole.splitlines() if (said := _refused(line))]
        return found


def _refused(line: bytes) -> str:
    """In words; empty for a request that was not refused, or not nos's."""
    if b'"code":403' not in line and b'"code":401' not in line:
        return ""
    entry = json.loads(line)
    if not entry.get("userAgent", "").startswith("nos-"):
        return ""
    status = entry["responseStatus"]
    who = entry["user"].get("username", "a token that is not valid")
    return f"{who}: {entry['verb']} {entry['requestURI']}: {status['code']} {status.get('message', '')}"
