"""A machine with two GPUs that need a reset to switch MIG mode, one that does not, and one without MIG."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nos.testbed.nvml_sim import NvmlSim

from .caller import driven, machine

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: on some disks a file that is replaced is written out first."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def sim(folder: Path) -> Iterator[NvmlSim]:
    with driven(machine(folder, ["a100-40gb", "a100-40gb", "h100-80gb", "L4"])) as running:
        yield running
