"""`nos scale` as its users meet it where something is wrong: exit code 2, and one line that says what and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nos.cli import scale
from nos.controller.scaling.dry_run import DryRun, GroupLine, OrderLine, RemovalLine, WaitingLine
from tests.cli.test_main import nos

WEBHOOK = {"url": "http://127.0.0.1:1/nos"}


def written(directory: Path, settings: Any) -> str:
    path = directory / "nos.yaml"
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return str(path)


@pytest.mark.parametrize(
    ("settings", "more", "said"),
    [
        ({}, ["-o", "xml"], "--output xml: expected table or json"),
        ({"scaling": {"modus": 1}}, [], "scaling.modus: unknown field; there are mode"),
        ({"scaling": {"webhook": {"url": "x"}}}, [], "url: 'x' is no address"),
        ({"scaling": {"karpenter": {"nodePools": []}}}, [], "scaling.karpenter"),
        (
            {"scaling": {"webhook": WEBHOOK | {"token": "secret"}}},
            [],
            "scaling.webhook.token: unknown field; there are url",
        ),
        ("scaling: [", [], "no valid YAML"),
        ({"scaling": {"webhook": WEBHOOK}}, ["--kubeconfig", "/nowhere"], "/nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, settings: Any, more: list[str], said: str) -> None:
    done = nos("scale", "plan", "--config", written(tmp_path, settings), *more)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("nos scale plan: ")
    assert said in line
    assert "secret" not in line


def test_a_file_that_is_not_there_is_named() -> None:
    done = nos("scale", "plan", "--config", "/nowhere.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("nos scale plan: /nowhere.yaml: No such file or directory")


def test_help_shows_what_it_does() -> None:
    for arguments in (["scale", "--help"], ["scale", "plan", "--help"]):
        done = nos(*arguments)
        assert done.returncode == 0
        assert "nodes" in done.stdout


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    found = DryRun(
        groups=[GroupLine("karpenter/gpu/[p5]", 55.04, 1, 2, 10, "it rests")],
        orders=[OrderLine("karpenter/gpu/[p5]", 55.04, ["ml/a", "ml/b"], "0:3g.40gb@0")],
        price=55.04,
        coming=[WaitingLine("ml/c", "a node of karpenter/gpu/[p5] is on its way")],
        left=[WaitingLine("ml/d", "group karpenter/gpu/[p5]: Insufficient cpu")],
        removals=[RemovalLine(["gpu-1"], {"ml/e": "gpu-2"}, ["b"], 4.6), RemovalLine(["gpu-3"], {}, [], 1.0)],
    )
    scale._print(found, Console(highlight=False, soft_wrap=True))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == ["GROUP", "$/H", "UP", "COMING", "MAX", "PROBLEM"]
    assert lines[1].split() == ["karpenter/gpu/[p5]", "55.04", "1", "2", "10", "it", "rests"]
    assert lines[3:] == [
        "+ a node of karpenter/gpu/[p5], cut 0:3g.40gb@0: for ml/a, ml/b",
        "  $55.04 per hour",
        "  ml/c: a node of karpenter/gpu/[p5] is on its way",
        "  ml/d waits on: group karpenter/gpu/[p5]: Insufficient cpu",
        "- gpu-1, for a new one of b, $4.60 per hour: ml/e to gpu-2",
        "- gpu-3, $1.00 per hour",
    ]
