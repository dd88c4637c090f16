"""`nos scale`: which nodes would be ordered and taken away, without doing it.

Exit codes: 0 when done, 2 for a wrong command line or configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nos.controller.scaling.dry_run import DryRun

app = typer.Typer(help="Look at how many nodes the cluster needs.", no_args_is_help=True)


@app.callback()
def scale() -> None:
    """Look at how many nodes the cluster needs."""


@app.command()
def plan(
    config: Annotated[str, typer.Option(help="The controller's YAML file, with its section `scaling`.")],
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster. Default: the one that we run in, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="table|json", help="Output format.")] = "table",
) -> None:
    """Show which nodes would be ordered for the Pods that wait, how they would be cut, and which are not needed."""
    from nos.controller import settings
    from nos.kube.errors import ConfigError

    try:
        if output not in ("table", "json"):
            raise ConfigError(f"--output {output}: expected table or json")
        chosen = settings.load(config, {"kubeconfig": kubeconfig, "context": context})
        found = _look(chosen)
    except ConfigError as error:
        typer.echo(f"nos scale plan: {error}", err=True)
        raise typer.Exit(2) from None
    if output == "json":
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        from rich.console import Console

        _print(found, Console(highlight=False, soft_wrap=True))


def _look(chosen: object) -> DryRun:
    from rich.console import Console

    from nos.controller.scaling import dry_run
    from nos.controller.settings import Settings
    from nos.observe import log

    assert isinstance(chosen, Settings)
    log.configure(chosen.log_format, verbose=chosen.verbose, quiet=not chosen.verbose)
    with Console(stderr=True).status("learning the cluster") as status:
        return dry_run.look(chosen, lambda: status.update("looking for the cheapest nodes"))


def _print(found: DryRun, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    groups = Table("GROUP", "$/H", "UP", "COMING", "MAX", "PROBLEM", box=None, pad_edge=False)
    for group in found.groups:
        counts = f"{group.price:.2f}", str(group.up), str(group.coming), str(group.max)
        groups.add_row(Text(group.id), *counts, Text(group.problem))
    console.print(groups if found.groups else "no node groups: name a backend in the section `scaling`", markup=False)
    console.print()
    if not found.orders:
        console.print("No node would be ordered.")
    for order in found.orders:
        cut = f", cut {order.layout}" if order.layout else ""
        console.print(f"+ a node of {order.group}{cut}: for {', '.join(order.pods)}", markup=False)
    if found.orders:
        console.print(f"  ${found.price:.2f} per hour")
    for line in found.coming:
        console.print(f"  {line.pod}: {line.message}", markup=False)
    for line in found.left:
        console.print(f"  {line.pod} waits on: {line.message}", markup=False)
    for removal in found.removals:
        moves = ", ".join(f"{pod} to {node}" for pod, node in removal.moves.items())
        nodes = ", ".join(removal.nodes) + "".join(f", for a new one of {group}" for group in removal.new)
        console.print(f"- {nodes}, ${removal.saved:.2f} per hour" + (f": {moves}" if moves else ""), markup=False)
