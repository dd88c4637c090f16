"""docs/reference says what the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from nos import cli
from nos.controller.settings import Settings
from tests.docs import written

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("path", written.pages(), ids=lambda path: path.stem)
def test_a_page_is_up_to_date(path: Path) -> None:
    assert path.read_text() == written.pages()[path], "run: python -m tests.docs.written"


@pytest.mark.parametrize("command", cli._COMMANDS)
def test_each_option_that_help_shows_is_there(command: str) -> None:
    text = (REFERENCE / "cli.md").read_text()
    below = re.findall(rf"^## nos {command} (\w+)$", text, re.MULTILINE)
    for words in [[command, word] for word in below] or [[command]]:
        argv = [sys.executable, "-c", "from nos.cli import main; main()", *words, "--help"]
        wide = os.environ | {"COLUMNS": "400"}
        shown = subprocess.run(argv, capture_output=True, text=True, check=True, env=wide).stdout
        section = text.partition(f"## nos {' '.join(words)}\n")[2].partition("\n## ")[0]
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(re.findall(r"^[│\s]*(-.*?)  ", shown, re.M))))
        assert "--help" in options
        assert options - {"--help"} <= set(re.findall(r"--[a-z][a-z-]+", section)), words


def test_each_setting_of_a_full_file_is_there() -> None:
    """By msgspec's own encoding of the defaults, not by what the page is made of."""
    page = (REFERENCE / "settings.md").read_text()
    for path, value in _flat(msgspec.to_builtins(Settings())):
        section, _, field = path.rpartition(".")
        table = page.partition(f"## {section or 'On top'}\n")[2].partition("\n## ")[0]
        row = next(line for line in table.splitlines() if line.startswith(f"| `{field}` |"))
        assert value in ("", None) or str(value).lower() in row.lower(), path


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "deploy" / "crds").glob("*.yaml")), ids=lambda file: file.stem)
def test_each_property_of_a_kind_is_there(file: Path) -> None:
    page = (REFERENCE / "kinds.md").read_text()
    kind = yaml.safe_load(file.read_text())["spec"]["names"]["kind"]
    section = page.partition(f"## {kind}\n")[2].partition("\n## ")[0]
    names = set(re.findall(r"^ +(\w+):(?= \{type: |$)", file.read_text().partition("            spec:\n")[2], re.M))
    schema_words = {"type", "properties", "items", "additionalProperties", "engines"}
    assert {name for name in names if not name.startswith("x") and name not in schema_words} <= set(
        re.findall(r"\w+", section)
    )


def test_each_label_is_there() -> None:
    page = (REFERENCE / "labels.md").read_text()
    there = {name for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"`([a-z-]+)`", row)}
    sources = [
        *(path for path in (ROOT / "python" / "nos").rglob("*.py") if "testbed" not in path.parts),
        *(ROOT / "deploy" / "chart" / "templates").rglob("*.yaml"),
        *(ROOT / "cpp").rglob("*.cpp"),
    ]
    used = {name for path in sources for name in re.findall(r"nos\.nebuly\.com/([a-z-]+)", path.read_text())}
    resources, versions = {"gpu-memory", "gpu-compute"}, {"v"}
    assert used - resources - versions == there - {f"pod-group-{rest}" for rest in _POD_GROUP}
    code = (ROOT / "python" / "nos" / "kube" / "podgroup.py").read_text()
    assert set(re.findall(r'f"\{POD_GROUP\}-([a-z-]+)"', code)) == _POD_GROUP


_POD_GROUP = {"min-available", "topology", "topology-mode"}
