"""How long `nos --version` takes in an environment that has nos from the wheel, and `python -c pass` beside it there.

No time is asserted; the median is in the report, in seconds. Checked: it is the wheel's nos that answers.

    make wheel && pytest benchmarks/test_start.py
"""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import nos

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where those of an environment with the wheel are."""
    made = tmp_path_factory.mktemp("installed")
    venv.create(made, with_pip=True)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    subprocess.run([made / "bin" / "pip", "install", "--quiet", wheel], check=True)
    return made / "bin"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["nos", "--version"], f"nos {nos.__version__}\n"),
        (["nos", "simulate", "--help"], "Usage"),
        (["python", "-c", "pass"], ""),
    ],
    ids=["version", "help", "python"],
)
def test_start(benchmark: BenchmarkFixture, programs: Path, command: list[str], answer: str) -> None:
    def run() -> str:
        done = subprocess.run([programs / command[0], *command[1:]], check=True, capture_output=True, text=True)
        return done.stdout

    assert answer in benchmark.pedantic(run, rounds=20, warmup_rounds=2)
