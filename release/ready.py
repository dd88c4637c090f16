"""Whether the tree can be released. Asked first, for the build takes minutes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from release import ReleaseError, changelog


def _git(tree: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=tree, check=True, capture_output=True, text=True).stdout.strip()


def version(tree: Path) -> str:
    """That of pyproject.toml; the chart has the same. Raises ReleaseError where it does not."""
    said: str = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((tree / "deploy/chart/Chart.yaml").read_text())
    for field in ("version", "appVersion"):
        if chart[field] != said:
            raise ReleaseError(
                f"deploy/chart/Chart.yaml: {field} is {chart[field]}, and pyproject.toml says {said}: write {said} "
                "there, then `python -m tests.deploy.written`"
            )
    return said


def check(tree: Path) -> str:
    """The version that can be released. Raises ReleaseError."""
    said = version(tree)
    if changed := _git(tree, "status", "--porcelain"):
        raise ReleaseError(f"the tree has changes that no commit has; commit them, or stash them:\n{changed}")
    if _git(tree, "tag", "--list", f"v{said}"):
        raise ReleaseError(f"v{said} is tagged, so it is released: raise the version in pyproject.toml and the chart")
    changelog.section((tree / "CHANGELOG.md").read_text(), said)
    return said


if __name__ == "__main__":
    try:
        print(f"nos {check(Path.cwd())} can be released")
    except ReleaseError as why:
        sys.exit(f"no release: {why}")
