"""What is running where, for those who come later: `nos testbed status` and `down` in another process.

A lock file is the truth: the supervisor of a testbed holds its lock for life, and the kernel gives it back however that
life ends. Locked means running, and then state.json says what; not locked means that whatever lies there is left over
from a crash or a reboot. A process is known by its id and its start time together, because ids are used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .controlplane import Layout
from .credentials import write_private
from .errors import TestbedError
from .supervisor import remove

STOP_TIMEOUT = 30.0
LONGEST_DIRECTORY = 90  # a Unix socket's path has at most 107 bytes


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same id."""

    pid: int
    started: int  # clock ticks after boot
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, start_time(pid) or 0, boot_id())

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self.started > 0 and self.boot == boot_id() and start_time(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Signals this process; nothing when it is gone, and never a stranger."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)  # holds the identity between the check and the signal
            try:
                if self.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


@dataclass
class State:
    """The content of state.json."""

    supervisor: Process
    server: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    ready: bool = False  # False while it starts

    def write(self, layout: Layout) -> None:
        write_private(layout.state, json.dumps(asdict(self), indent=1) + "\n")


def read(layout: Layout) -> State | None:
    """The state that is written there, true or stale; None where there is none that can be read."""
    try:
        raw = json.loads(layout.state.read_text())
        processes = {name: Process(**process) for name, process in raw.pop("processes").items()}
        return State(supervisor=Process(**raw.pop("supervisor")), processes=processes, **raw)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def default_directory() -> Path:
    """Where `nos testbed up` keeps its testbed."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "nos" / "testbed"


def acquire(layout: Layout, *, create: bool = False) -> int | None:
    """The lock of a testbed's directory, as a descriptor; None while a testbed runs there. Without `create`,
    FileNotFoundError where no testbed ever was: nothing there is ours."""
    while True:
        descriptor = os.open(layout.lock, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(layout.lock)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the former owner removed it while we opened it: that lock is nobody's


def move_in(wanted: Path | None) -> tuple[Layout, int]:
    """An empty directory and its lock: the wanted one, where it is empty or was a testbed's, or a temporary one."""
    directory = (wanted or Path(tempfile.mkdtemp(prefix="nos-testbed-"))).absolute()
    if len(os.fsencode(directory)) > LONGEST_DIRECTORY:
        raise TestbedError(f"{directory} is too long for a Unix socket in it; choose a shorter one")
    layout = Layout(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.listdir(directory) and not layout.lock.exists():
            raise TestbedError(f"{directory} is not empty, and no testbed's; choose another")
        lock = acquire(layout, create=True)
    except OSError as error:
        raise TestbedError(f"cannot use {directory} for a testbed: {error.strerror}") from None
    if lock is None:
        raise TestbedError(f"a testbed runs in {directory}; stop it (nos testbed down), or choose another")
    clear(layout)
    return layout, lock


def running(layout: Layout) -> bool:
    """Whether a testbed runs in this directory."""
    try:
        descriptor = acquire(layout)
    except OSError:
        return False
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def clear(layout: Layout) -> None:
    """Removes what a crashed testbed left; the lock must be ours, and stays."""
    if state := read(layout):
        for process in [state.supervisor, *state.processes.values()]:
            process.signal(signal.SIGKILL)
    deadline = time.monotonic() + STOP_TIMEOUT
    while True:
        remove([str(path) for path in layout.everything() if path != layout.lock])
        # A cgroup stays until the last of the real node's containers is dead: the kernel is killing them.
        if not any(path.exists() for path in layout.cgroups()) or time.monotonic() > deadline:
            return
        time.sleep(0.02)


def down(layout: Layout) -> bool:
    """Stops the testbed in this directory and removes it; False when none was running."""
    supervisor: Process | None = None
    deadline = time.monotonic() + STOP_TIMEOUT
    try:
        while (descriptor := acquire(layout)) is None:
            if supervisor is None and (state := read(layout)):
                supervisor = state.supervisor
                supervisor.signal(signal.SIGTERM)
            if time.monotonic() > deadline:
                if supervisor is None:
                    raise TestbedError(f"{layout.lock} is locked by a process that wrote no state; end it, then retry")
                supervisor.signal(signal.SIGKILL)  # the kernel then kills what it started
                deadline += STOP_TIMEOUT
            time.sleep(0.02)
    except (FileNotFoundError, NotADirectoryError):  # none was there, or its supervisor removed it
        while supervisor and supervisor.alive() and time.monotonic() < deadline:  # the lock goes before the directory
            time.sleep(0.02)
        return supervisor is not None
    clear(layout)
    layout.lock.unlink(missing_ok=True)
    os.close(descriptor)
    with contextlib.suppress(OSError):
        layout.directory.rmdir()
    return supervisor is not None


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None when it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    """Changes with every boot: start times count from there."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
