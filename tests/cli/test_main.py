"""`nos` itself: quick, and whole when one command is not."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from nos import __version__


def nos(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = f"{code}\nfrom nos.cli import main; main()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)


def test_version_is_quick() -> None:
    def seconds() -> float:  # of CPU, so that a busy machine does not decide
        before = os.times()
        assert nos("--version").stdout == f"nos {__version__}\n"
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.3


def test_version_loads_nothing_heavy() -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print(sorted({'typer', 'rich', 'nos._core'} & set(sys.modules))))"
    )
    assert nos("--version", code=code).stdout.splitlines()[1] == "[]"


def test_help_lists_the_commands() -> None:
    result = nos("--help")
    assert result.returncode == 0
    for command in ("simulate", "testbed", "controller", "mig", "scale", "top", "why"):
        assert command in result.stdout


def test_a_command_is_imported_alone() -> None:
    code = "import atexit, sys; atexit.register(lambda: print([m for m in sys.modules if m.startswith('nos.cli.')]))"
    assert nos("simulate", "--help", code=code).stdout.splitlines()[-1] == "['nos.cli.simulate']"


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["controller", "--config", "/nonexistent"], set()),
        (["agent", "--node", "n", "--hand", "by-mail"], {"nos.kube.decode"}),
        (["front", "--log-format", "xml"], {"grpc", "nos.kube.decode", "prometheus_client", "pynvml"}),
    ],
)
def test_what_runs_in_a_cluster_holds_nothing_in_memory_that_it_does_not_need(
    arguments: list[str], more: set[str]
) -> None:
    """All is imported when the command line turns out to be wrong."""
    unwanted = {"kubernetes", "opentelemetry", "pydantic", "requests", "rich"} | more
    code = f"import atexit, sys; atexit.register(lambda: print(sorted({unwanted!r} & set(sys.modules))))"
    result = nos(*arguments, code=code)
    assert result.returncode == 2
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["simulate", "--nonsense"]])
def test_wrong_command_lines(arguments: list[str]) -> None:
    result = nos(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "onsense" in result.stderr


def test_a_broken_command_does_not_take_the_others_with_it() -> None:
    code = "import sys; sys.modules['nos.cli.controller'] = None"
    result = nos("--help", code=code)
    assert result.returncode == 0
    assert "simulate" in result.stdout
    result = nos("controller", code=code)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_kubectl_finds_it_as_a_plugin() -> None:
    names = {entry.name: entry.value for entry in entry_points(group="console_scripts")}
    assert names["kubectl-nos"] == names["nos"] == "nos.cli:main"
