"""docs/reference/kinds.md, from the schemas that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "deploy" / "crds"
_HEAD = """# Kinds

This page is made from the schemas in `deploy/crds`: `python -m tests.docs.written`. With examples:
[ElasticQuota and CompositeElasticQuota](../elasticquota.md), [GPUNode](../gpunode.md). All are
`nos.nebuly.com/v1alpha1`, and `kubectl get nos` lists them all. `[]` is an item of a list.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_kind(yaml.safe_load(file.read_text())) for file in sorted(CRDS.glob("*.yaml")))])


def _kind(definition: dict[str, Any]) -> str:
    names = definition["spec"]["names"]
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    short = ", ".join(f"`{name}`" for name in [names["plural"], *names["shortNames"]])
    columns = ", ".join(f"`{column['name']}`" for column in version["additionalPrinterColumns"])
    rows = [
        f"| `{path}` | {_type(of)} | {' '.join(of.get('description', '').split())} |".replace("  ", " ")
        for part in ("spec", "status")
        for path, of in _fields(part, schema["properties"][part])
    ]
    return (
        f"## {names['kind']}\n\n{' '.join(schema['description'].split())}\n\n"
        f"Scope: {definition['spec']['scope'].lower()}. `kubectl get` knows it as {short}, "
        f"with the columns {columns}.\n\n"
        "| field | is | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def _fields(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from _fields(f"{path}.{name}", below)
    if isinstance(schema.get("items"), dict) and "properties" in schema["items"]:
        for name, below in schema["items"]["properties"].items():
            yield from _fields(f"{path}[].{name}", below)


def _type(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    match schema["type"]:
        case "array":
            most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
            return f"list of {_type(schema['items'])}{most}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"map of {_type(schema['additionalProperties'])}"
        case "integer":
            low, high = schema.get("minimum"), schema.get("maximum")
            return "integer" + (f" from {low}" if low is not None else "") + (f" to {high}" if high is not None else "")
        case "string" if "enum" in schema:
            return ", ".join(f"`{value}`" for value in schema["enum"])
        case kind:
            return str(kind)
