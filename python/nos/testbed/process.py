"""Child processes that never outlive their owner.

A `Supervisor` starts processes through one small parent of their own (supervisor.py), so that the promise "nothing is
left behind" does not hang on this process leaving in good order: Ctrl-C, an exception, os._exit and kill -9 end alike.
Waiting is by asking (an endpoint, an exit code), and a process that died while we waited is an error with the end of
its log in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import TestbedError

SCRIPT = Path(__file__).with_name("supervisor.py")


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, indented, for an error message."""
    try:
        text = log.read_bytes()[-16384:].decode(errors="replace")
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line[:400]}" for line in text.splitlines()[-lines:]) or "  (the log is empty)"


@contextlib.contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """A Ctrl-C comes when `release` is called, and not before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield release
    finally:
        release()


class Supervisor:
    """Owns a set of named processes; closing it, or losing it, stops them all."""

    def __init__(
        self,
        directory: Path,
        *,
        ports: int = 0,
        remove: Sequence[Path] = (),
        grace: float = 5.0,
        hold: Sequence[int] = (),
    ) -> None:
        """`directory` receives the logs; `remove` is deleted when all is stopped; `hold` are descriptors, such as a
        lock's, that live as long as the processes do."""
        self.directory = directory
        self._lock = threading.Lock()
        options = {"ports": ports, "remove": [str(path) for path in remove], "grace": grace}
        with open(directory / "supervisor.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SCRIPT), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                # A session of its own: the terminal's Ctrl-C is for us, and we tell the children when we are ready to.
                start_new_session=True,
                pass_fds=tuple(hold),
            )
        self.pid = self._process.pid
        self.ports: list[int] = self._read()["ports"]

    def log(self, name: str) -> Path:
        """Where the process `name` writes."""
        return self.directory / f"{name}.log"

    def start(
        self, name: str, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> int:
        """Starts a process and gives back its id."""
        answer = self._call(
            op="start",
            name=name,
            argv=[str(part) for part in argv],
            env=dict(os.environ if env is None else env),
            cwd=str(cwd or self.directory),
            log=str(self.log(name)),
        )
        return int(answer["pid"])

    def stop(self, name: str, *, grace: float | None = None) -> None:
        """Stops one process and waits until it is gone. No error when there is none."""
        self._call(op="stop", name=name, **({} if grace is None else {"grace": grace}))

    def exited(self) -> dict[str, int]:
        """Exit codes of the processes that ended without being stopped."""
        return dict(self._call(op="poll")["exited"])

    def wait_until(self, ready: Callable[[], bool], name: str, *, what: str, timeout: float) -> None:
        """Asks `ready` until it says yes; fails at once when the process `name` ends, and after `timeout` seconds.

        `what` completes "ended before"."""
        deadline = time.monotonic() + timeout
        while not ready():
            if (code := self.exited().get(name)) is not None:
                raise TestbedError(
                    f"{name} ended with code {code} before {what}. The end of {self.log(name)}:\n{tail(self.log(name))}"
                )
            if time.monotonic() > deadline:
                raise TestbedError(
                    f"{timeout:.0f} s passed before {what}; the machine may be short of CPU or memory. "
                    f"The end of {self.log(name)}:\n{tail(self.log(name))}"
                )
            time.sleep(0.02)  # the pause between two questions

    def wait(self, name: str, tick: Callable[[], None] = lambda: None) -> int:
        """Waits for a process to end by itself, calling `tick` meanwhile; its exit code."""
        while (code := self.exited().get(name)) is None:
            tick()
            time.sleep(0.1)
        return code

    def detach(self) -> None:
        """Lets the processes outlive us, until the supervisor gets a SIGTERM."""
        self._call(op="detach")
        self._close_pipes()
        self._process.returncode = 0  # no longer ours to wait for

    def close(self) -> None:
        """Stops every process, and waits until they and their files are gone."""
        self._close_pipes()
        self._process.terminate()  # an interrupted detach() may have made it deaf to the pipe
        self._process.wait()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()

    def _call(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError):
                raise TestbedError("the testbed is stopped") from None
            answer = self._read()
        if "error" in answer:
            raise TestbedError(f"cannot {request['op']} {request.get('name', '')}: {answer['error']}")
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except ValueError:  # closed by another thread
            line = b""
        if not line:
            raise TestbedError(
                f"the testbed's supervisor is gone; the end of its log:\n{tail(self.directory / 'supervisor.log')}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def is_ready(log: Path, probe: re.Pattern[str]) -> bool:
    """Whether it answers /readyz at the port that its log names: the group of the pattern."""
    found = probe.search(log.read_text(errors="replace"))
    if not found:
        return False
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
