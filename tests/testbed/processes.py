"""What the tests of this folder ask the machine: which processes and which ports are there."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path


def processes_of(directory: Path) -> list[str]:
    """Command lines of the living processes that name this directory: all of a testbed's do, and its supervisor."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{directory}/" in command or f'{directory}"' in command:
            found.append(command)
    return found


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
    """Asks until the answer is yes; for what another process does in its own time."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.01)
