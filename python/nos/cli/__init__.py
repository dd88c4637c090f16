"""The command line: `nos COMMAND`. Only the module of the command that was asked for is imported."""

import importlib
import sys
from typing import Any

from nos import __version__

# A command is the function, or the Typer application `app`, that its module exposes.
_COMMANDS = (
    "simulate",
    "testbed",
    "controller",
    "agent",
    "front",
    "mig",
    "scale",
    "top",
    "why",
    "record",
    "replay",
    "demo",
)


def main() -> None:
    """Run the command line of this process, and leave by SystemExit."""
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported; after that the commands see to it
        raise SystemExit(130) from None


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:  # without the 0.2 s that importing typer takes
        print(f"nos {__version__}")
        return
    import typer

    app = typer.Typer(
        name="nos",
        help="Decide where GPU Pods run on Kubernetes, and say why.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options(typer))
    one = bool(arguments) and arguments[0] in _COMMANDS
    for name in arguments[:1] if one else _COMMANDS:
        _mount(app, name, only=one)
    app(prog_name="nos")


def _options(typer: Any) -> Any:
    def show(asked: bool) -> None:
        if asked:
            print(f"nos {__version__}")
            raise typer.Exit

    def options(
        version: bool = typer.Option(
            False, "--version", help="Print the version, and leave.", callback=show, is_eager=True
        ),
    ) -> None:
        pass

    return options


def _mount(app: Any, name: str, *, only: bool) -> None:
    """Add a command. One that cannot be imported does not take the others with it."""
    module_name = f"nos.cli.{name}"
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if only:
            here = isinstance(error, ModuleNotFoundError) and error.name == module_name
            print(f"error: nos {name} is not part of this build" if here else f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        return
    if hasattr(module, "app"):
        app.add_typer(module.app, name=name)
    else:
        app.command(name)(getattr(module, name))
