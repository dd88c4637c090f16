"""docs/reference/cli.md, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import typer

from nos import cli

_HEAD = """# Command line

This page is made from the code: `python -m tests.docs.written`.

`nos COMMAND --help` says the same. Installed as `kubectl-nos` it is `kubectl nos` as well. `nos --version` prints the
version. Ctrl-C ends a command with exit code 130; a wrong command line is 2.
"""


def page() -> str:
    """The whole page."""
    app = typer.Typer()
    for name in cli._COMMANDS:
        cli._mount(app, name, only=True)
    root: Any = typer.main.get_command(app)
    return "\n".join(
        [_HEAD, *(part for name in cli._COMMANDS for part in _command(f"nos {name}", root.commands[name]))]
    )


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands in one, each with its full name; one without others is its own."""
    below: dict[str, Any] = getattr(command, "commands", {})
    if not below:
        yield name, command
    for word, each in below.items():
        yield from leaves(f"{name} {word}", each)


def _command(name: str, command: Any) -> Iterator[str]:
    for full, each in leaves(name, command):
        arguments = [one for one in each.params if one.param_type_name == "argument"]
        options = [one for one in each.params if one.param_type_name == "option" and "--help" not in one.opts]
        words = [full, *(_argument(one) for one in arguments), *(["[OPTIONS]"] if options else [])]
        yield f"## {full}\n\n{_sentence(each.help)}\n\n```\n{' '.join(words)}\n```\n"
        if arguments or options:
            yield _table([*arguments, *options])


def _argument(one: Any) -> str:
    name = (one.metavar or one.name).upper()
    return name if one.required else f"[{name}]"


def _table(parameters: Iterable[Any]) -> str:
    rows = ["| | default | meaning |", "|---|---|---|"]
    for one in parameters:
        if one.param_type_name == "argument":
            names = f"`{_argument(one).strip('[]')}`"
        else:
            takes = "" if one.is_flag else f" {one.metavar or one.name.upper()}"
            spelled = sorted([*one.opts, *one.secondary_opts], key=lambda option: option.startswith("--"))
            names = ", ".join(f"`{option}{takes if option == spelled[-1] else ''}`" for option in spelled)
        names = names.replace("|", "\\|")
        meaning = _sentence(one.help or "").replace("|", "\\|")
        rows.append(f"| {names} | {_default(one)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(one: Any) -> str:
    default = one.default
    if one.required:
        return "has to be given"
    if default is None or default is False or default == [] or default == "" or callable(default):
        return ""
    return f"`{default}`" if default is not True else "on"


def _sentence(text: str) -> str:
    return " ".join(text.split())
