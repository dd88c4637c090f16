"""Simulated machines for the tests of the agent, in this process."""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nos.testbed.nvml_sim import NvmlSim, installed_library

Machine = Callable[..., NvmlSim]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="nos-") as name:
        yield Path(name)


@pytest.fixture
def machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes the machine whose driver this process loads from now on: `machine("a100-40gb", "L4")`."""
    ctypes.CDLL(str(installed_library()))  # from now on it is what `libnvidia-ml.so.1` names

    def make(*models: str, reset_needs_reboot: bool = False) -> NvmlSim:
        sim = NvmlSim(folder / "machine", models, reset_needs_reboot=reset_needs_reboot)
        monkeypatch.setenv("NOS_NVML_SIM", str(sim.path))
        return sim

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grant that is never booked is waited for a shorter time."""
    monkeypatch.setattr(sys.modules["nos.agent.kubelet.withdraw"], "BOOKED_S", 0.1)
    monkeypatch.setattr(sys.modules["nos.agent.kubelet.withdraw"], "PAUSE_S", 0.01)
