"""What is written into deploy/ from the chart and the code: python -m tests.deploy.written

- deploy/kustomize and deploy/monitoring/services.yaml: manifests, as the chart renders them.
- deploy/chart/values.schema.json: its part `scheduler.config`, which is the controller's own settings.
- deploy/chart/README.md: its table of values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from nos.controller.settings import Settings
from tests.deploy.helm import CHART, DEPLOY, by_template, rendered

SCHEMA, README = CHART / "values.schema.json", CHART / "README.md"
_BEGIN, _END = "<!-- values: written by tests.deploy.written -->\n", "<!-- end of values -->\n"
_KEY = re.compile(r"( *)(\w+):(.*)")

_INSTANCES = [
    {"name": "any", "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}, "offerings": [{"zone": "a", "price": 1}]}
]
# Values that between them render each template; a manifest is that of the first that renders it.
RENDERINGS: Sequence[dict[str, Any]] = (
    {},
    {"networkPolicy": {"enabled": True}},
    {"gpuTaint": {"enabled": True}},
    {"monitoring": {"serviceMonitors": True}},
    {"dashboard": {"enabled": True, "tlsSecretName": "tls"}},
    *(
        {"scheduler": {"config": {"scaling": {part: settings}}}}
        for part, settings in {
            "karpenter": {"nodePools": ["gpu"], "instanceTypes": _INSTANCES},
            "clusterApi": {},
            "provisioningRequests": {},
        }.items()
    ),
)
_KUSTOMIZED = re.compile(r"(controller|agent|autoscaling|network|taint)/.*|dashboard/rbac.yaml")


class Value(NamedTuple):
    """path: as `--set` has it. default: as YAML in one line. meaning: of its comment."""

    path: str
    default: str
    meaning: str


def values() -> Iterator[Value]:
    """Those of values.yaml that are no section of others, as its text has them."""
    path: list[str] = []
    meaning = ""
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    for line in (CHART / "values.yaml").read_text().splitlines():
        if line.lstrip().startswith("# -- "):
            meaning = line.lstrip().removeprefix("# -- ")
        elif meaning and (key := _KEY.match(line)):
            path = [*path[: len(key[1]) // 2], key[2]]
            default: Any = given
            for name in path:
                default = default[name]
            yield Value(".".join(path), json.dumps(default, ensure_ascii=False), meaning)
            meaning = ""


def table() -> str:
    """Of README.md."""
    rows = []
    every = list(values())
    for each in every:
        section = any(other.path.startswith(f"{each.path}.") for other in every)
        rows.append(f"| `{each.path}` | {'' if section else f'`{each.default}`'} | {each.meaning} |\n")
    return "| value | default | meaning |\n|---|---|---|\n" + "".join(rows)


def readme() -> str:
    """README.md as it is to be: its table, in its text."""
    before, _, rest = README.read_text().partition(_BEGIN)
    return before + _BEGIN + table() + _END + rest.partition(_END)[2]


def schema() -> str:
    """values.schema.json as it is to be: the settings' types, in what it says of the other values."""
    known: dict[str, Any] = json.loads(SCHEMA.read_text())
    settings = msgspec.json.schema(Settings)
    for kind in settings["$defs"].values():
        kind.pop("description", None)  # it says the same as the documentation, of what is not here
    known["$defs"] = settings["$defs"]
    known["properties"]["scheduler"]["properties"]["config"] = {"$ref": settings["$ref"]}
    return json.dumps(known, indent=2, ensure_ascii=False) + "\n"


def manifests() -> dict[Path, str]:
    """What kustomize is given, by file."""
    folder = DEPLOY / "kustomize"
    found = {folder / "kinds" / file.name: file.read_text() for file in sorted((DEPLOY / "crds").glob("*.yaml"))}
    for given in RENDERINGS:
        for name, text in by_template(rendered(given)).items():
            if name == "monitoring/services.yaml":
                found.setdefault(DEPLOY / name, text)
            elif _KUSTOMIZED.fullmatch(name):
                found.setdefault(folder / name, text)
    return found


def main() -> None:
    """Write all of it."""
    SCHEMA.write_text(schema())
    README.write_text(readme())
    for path, text in manifests().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
