"""The real Helm, and what it makes of the chart."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nos.testbed import binaries
from nos.testbed.progress import Progress

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "chart"
NAMESPACE = "nebuly-nos"
_SOURCE = re.compile(r"^# Source: nos/templates/(.+)\n", re.MULTILINE)


class HelmError(Exception):
    """It ended with an error; the text is what it said."""


def helm(*arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
    """What `helm ARGUMENTS` prints; it finds and leaves nothing in the user's home. Raises HelmError."""
    command: list[str | Path] = [binaries.ensure(("helm",), Progress(quiet=True))["helm"], *arguments]
    given = None
    if values is not None:
        command += ["--values", "-"]
        given = json.dumps(values)
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HelmError(done.stderr)
    return done.stdout


def rendered(values: Mapping[str, Any] | None = None, *, namespace: str = NAMESPACE) -> str:
    """The chart's manifests, as text."""
    return _template(json.dumps(values or {}), namespace)


@functools.cache
def _template(values: str, namespace: str) -> str:
    return helm("template", "nos", CHART, "--namespace", namespace, values=json.loads(values))


def objects(values: Mapping[str, Any] | None = None, *, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """What the chart installs: its manifests without its tests."""
    found = [each for each in yaml.safe_load_all(rendered(values, namespace=namespace)) if each]
    return [each for each in found if "helm.sh/hook" not in each["metadata"].get("annotations", {})]


def by_template(text: str) -> dict[str, str]:
    """Manifests by the template that they come from, such as controller/rbac.yaml."""
    files: dict[str, list[str]] = {}
    for document in re.split(r"^---\n", text, flags=re.MULTILINE):
        if source := _SOURCE.match(document):
            files.setdefault(source[1], []).append(document[source.end() :].strip("\n") + "\n")
    return {name: "---\n".join(documents) for name, documents in files.items()}
