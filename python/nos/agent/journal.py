"""What the agent was told last and what it was doing, on disk: for the time after a crash, a reboot or an outage.

The driver shows what is there; the journal adds what is to be there. So an agent that starts while the API server is
away restores the cut that a reboot took, and one that was killed says in its log what it was killed at. The spec is
replaced whole, a step's line may be torn, and a file that makes no sense is as good as none. A disk that is full or
gone costs what is here, and nothing else: the GPUs are cut and served all the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nos.kube.gpunode import Spec

_log = logging.getLogger(__name__)
_MOST_LINES = 1000


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """OSError while another agent is alone with the directory: two would undo each other's work."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError("another agent is at work here") from None
        yield


class Journal:
    """One file, `journal` in the agent's directory."""

    def __init__(self, directory: Path) -> None:
        """OSError where the directory cannot be made or written."""
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "journal"
        self._lines = 0
        self._under_way: list[str] = []
        self.spec, self.interrupted = self._read()
        self._rewrite()

    def write_spec(self, spec: Spec) -> None:
        """This is to be from now on. Steps that have ended are forgotten."""
        self.spec = spec
        try:
            self._rewrite()
        except OSError as error:
            _log.error("%s was not written, a reboot would bring back an older cut: %s", self._path, error)

    def _rewrite(self) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(self.spec) + b"\n")
            file.writelines(_line({"begun": what}) for what in self._under_way)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._lines = 1 + len(self._under_way)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Something that changes a GPU begins, and ends, well or not."""
        if self._lines > _MOST_LINES:
            self.write_spec(self.spec)
        self._append({"begun": what})
        self._under_way.append(what)
        _log.info("%s", what)
        try:
            yield
        except Exception as error:
            self._append({"failed": what, "why": str(error)})
            raise
        else:
            self._append({"done": what})
        finally:
            self._under_way.remove(what)

    def _append(self, line: dict[str, str]) -> None:
        """Not synced: a machine that crashes loses its instances, and with them what was being done to them."""
        self._lines += 1
        try:
            with self._path.open("ab") as file:
                file.write(_line(line))
        except OSError as error:
            _log.error("%s was not written: %s", self._path, error)

    def _read(self) -> tuple[Spec, list[str]]:
        """The spec, and the steps that have begun and not ended."""
        try:
            first, *rest = self._path.read_bytes().splitlines() or [b"{}"]
            spec = msgspec.json.decode(first, type=Spec)
        except FileNotFoundError:
            return Spec(), []
        except msgspec.DecodeError as error:
            _log.error("%s is left out, it makes no sense: %s", self._path, error)
            return Spec(), []
        open_steps: list[str] = []
        for line in rest:
            with contextlib.suppress(ValueError, AttributeError):  # a line that was being written
                for kind, what in json.loads(line).items():
                    if kind == "begun":
                        open_steps.append(what)
                    elif what in open_steps:
                        open_steps.remove(what)
        return spec, open_steps


def _line(words: dict[str, str]) -> bytes:
    return json.dumps(words).encode() + b"\n"
