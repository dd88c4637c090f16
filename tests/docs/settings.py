"""docs/reference/settings.md, from the controller's own settings."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as kinds
import typer

from nos.cli.controller import controller
from nos.controller.settings import Settings
from nos.observe.dashboard.settings import USUAL

_HEAD = """# Settings of the controller

This page is made from the code: `python -m tests.docs.written`. What they are for is in
[Running the controller](../controller.md), [Dashboard](../dashboard.md) and
[Nodes on demand](../autoscaling/README.md).

They are the file that `nos controller --config` names, and the value `scheduler.config` of the
[chart](../../deploy/chart/README.md). A flag wins over the file. A field that is unknown, of a wrong type or out of
range is refused by its name. The agent has no file: its flags are in [Command line](cli.md#nos-agent).
"""
DOCS = Path(__file__).parents[2] / "docs"
_COMMENT = re.compile(r"^ +(\w+): .*?  # (.+)$", re.MULTILINE)
_SHOWN = re.compile(r"^( *)(\w+):[^#\n]*(?:# (.+))?$")


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(path, of) for path, of in sections())])


def sections() -> Iterator[tuple[str, kinds.StructType]]:
    """Each group of fields, by its path: empty for those on top."""
    yield from _below("", kinds.type_info(Settings))


def _below(path: str, of: kinds.Type) -> Iterator[tuple[str, kinds.StructType]]:
    if isinstance(of, kinds.StructType):
        yield path, of
        for field in of.fields:
            yield from _below(f"{path}.{field.encode_name}".lstrip("."), field.type)
    elif isinstance(of, kinds.UnionType):
        for each in of.types:
            yield from _below(path, each)
    elif isinstance(of, kinds.VarTupleType | kinds.ListType):
        yield from _below(f"{path}[]", of.item_type)


@functools.cache
def _explained() -> dict[str, str]:
    """What the examples in the documentation say of a field, and the flags, by its path."""
    app = typer.Typer()
    app.command()(controller)
    flags: list[Any] = typer.main.get_command(app).params
    words = {re.sub(r"_(\w)", lambda letter: letter[1].upper(), one.name): one.help for one in flags}
    for name in ("controller", "autoscaling/README", "dashboard"):
        shown = re.search(r"```yaml\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL)
        path: list[str] = []
        for line in shown[1].splitlines() if shown else ():
            if key := _SHOWN.match(line):
                path = [*path[: len(key[1]) // 2], key[2]]
                words[".".join(path)] = key[3] or words.get(".".join(path), "")
    return {path: text for path, text in words.items() if text and "..." not in text}


def _section(path: str, of: kinds.StructType) -> str:
    title = f"## {path}" if path else "## On top"
    said = dict(_COMMENT.findall(inspect.getsource(of.cls)))
    rows = ["| field | is | default | meaning |", "|---|---|---|---|"]
    for field in of.fields:
        full = f"{path}.{field.encode_name}".lstrip(".")
        meaning = _camel(said.get(field.name) or _explained().get(full, ""), of)
        rows.append(
            f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} | {meaning} |".replace("  ", " ")
        )
    about = _camel(" ".join(inspect.getdoc(of.cls).split()), of)  # type: ignore[union-attr] - each has one
    return f"{title}\n\n{about}\n\n" + "\n".join(rows) + "\n"


def _camel(text: str, of: kinds.StructType) -> str:
    for field in of.fields:
        text = re.sub(rf"(?<![\w`]){field.name}(?=[:,] )", f"`{field.encode_name}`", text)
    return text.replace("USUAL", f"`{USUAL}`").replace("|", "\\|")


def _default(field: kinds.Field) -> str:
    if field.required:
        return "has to be given"
    default: Any = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator]
    if isinstance(default, msgspec.Struct):
        return "as below"
    if default is None:
        return "none"
    return f"`{json.dumps(default)}`" if default not in ("", {}, ()) else "empty"


def _type(of: kinds.Type) -> str:
    match of:
        case kinds.StructType():
            return "section"
        case kinds.UnionType():
            return " or ".join(_type(each) for each in of.types if not isinstance(each, kinds.NoneType))
        case kinds.VarTupleType() | kinds.ListType():
            return f"list of {_type(of.item_type)}"
        case kinds.DictType():
            return f"map of {_type(of.value_type)}"
        case kinds.LiteralType():
            return ", ".join(f"`{value}`" for value in of.values)
        case kinds.BoolType():
            return "true or false"
        case kinds.IntType() | kinds.FloatType():
            kind = "whole number" if isinstance(of, kinds.IntType) else "number"
            bounds = ((of.ge, "from"), (of.gt, "above"), (of.le, "to"), (of.lt, "below"))
            return " ".join(
                [kind, *(f"{word} {value:,}".replace(",", " ") for value, word in bounds if value is not None)]
            )
        case kinds.StrType() if of.pattern and (choices := re.fullmatch(r"\^\(([-\w|]+)\)\$", of.pattern)):
            return ", ".join(f"`{value}`" for value in choices[1].split("|"))
        case kinds.StrType():
            return "text"
        case _:
            return type(of).__name__.removesuffix("Type").lower()
