"""What the benchmarks print at the end, and the file that they write when asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_PACKING = pytest.StashKey[dict[str, dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--achieved", type=Path, help="write what nos reached on each order here, for packing_bound.py")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_PACKING] = {}


@pytest.fixture
def packing_table(pytestconfig: pytest.Config) -> dict[str, dict[str, Any]]:
    """By list and policy: mean and percent by seed, and the seconds that deciding took. Printed at the end."""
    return pytestconfig.stash[_PACKING]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    _write_microseconds(terminalreporter, config)
    table = config.stash[_PACKING]
    if not table:
        return
    terminalreporter.section("GPU allocated, in percent")
    terminalreporter.write_line(f"{'list':<11} {'policy':<10} {'mean':>6} {'seconds':>8}  by seed")
    for name, policies in table.items():
        for policy, runs in policies.items():
            each = " ".join(f"{percent:.2f}" for percent in runs["percent"].values())
            terminalreporter.write_line(f"{name:<11} {policy:<10} {runs['mean']:>6.2f} {runs['seconds']:>8.2f}  {each}")
    if path := config.getoption("--achieved"):
        achieved = {
            name: {str(seed): percent / 100 for seed, percent in policies["nos"]["percent"].items()}
            for name, policies in table.items()
        }
        path.write_text(json.dumps(achieved, indent=2) + "\n")


def _write_microseconds(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What single decisions took: pytest-benchmark itself shows whole rounds alone."""
    session = getattr(config, "_benchmarksession", None)
    for bench in session.benchmarks if session else ():
        for key, value in bench.extra_info.items():
            if isinstance(value, dict) and "median" in value:
                times = ", ".join(f"{name} {time:.1f}" for name, time in value.items())
                terminalreporter.write_line(
                    f"{bench.name}, {key.removesuffix('us').strip('_') or 'each'}, in µs: {times}"
                )
