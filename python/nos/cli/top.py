"""`nos top`: nodes, GPUs, who waits, and quotas.

Exit codes: 0 when done, 130 after Ctrl-C, 2 for a wrong command line or a cluster that cannot be read.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nos.controller.settings import Settings
    from nos.observe.top import Choice
    from nos.observe.view import Snapshot

_EVERY_S = 1.0


def top(
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster. Default: the one that we run in, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    scheduler_name: Annotated[str | None, typer.Option(help="Whose Pods wait here.")] = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on until Ctrl-C.", show_default=False)] = False,
    node: Annotated[str, typer.Option(help="Only this node, or those of a pattern such as gpu-*.")] = "",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Only what this one has or wants.")] = "",
    sort: Annotated[str, typer.Option(metavar="name|used|free", help="The order of nodes.")] = "name",
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="auto|table|json", help="auto: a picture, or a table in a pipe.")
    ] = "auto",
) -> None:
    """Show nodes with their GPUs and slices, the Pods that wait and why, and quotas."""
    from nos.controller import settings
    from nos.kube.errors import ConfigError
    from nos.observe import log
    from nos.observe.top import SORTS, Choice

    try:
        if sort not in SORTS:
            raise ConfigError(f"--sort {sort}: expected {', '.join(SORTS)}")
        if output not in ("auto", "table", "json"):
            raise ConfigError(f"--output {output}: expected auto, table or json")
        if watch and output == "json":
            raise ConfigError("--watch does not go with --output json; leave one out")
        flags = {"kubeconfig": kubeconfig, "context": context, "schedulerName": scheduler_name}
        chosen = settings.load(None, flags)
        log.configure(chosen.log_format, verbose=False, quiet=True)
        asyncio.run(_top(chosen, Choice(node, namespace, sort), watch=watch, output=output))
    except ConfigError as error:
        typer.echo(f"nos top: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _top(chosen: Settings, choice: Choice, *, watch: bool, output: str) -> None:
    from rich.console import Console
    from rich.live import Live

    from nos import _core
    from nos.controller.look import watched
    from nos.controller.viewer import Viewer
    from nos.kube.access import Access
    from nos.observe import top as picture
    from nos.observe.view import Snapshot

    out, shown = Console(highlight=False), Snapshot()
    access = Access.load(chosen.kubeconfig, chosen.context)
    status = Console(stderr=True).status("learning the cluster")
    status.start()
    try:
        async with watched(access, chosen.scheduler_name) as (_, ledger):
            viewer = Viewer(ledger, _core.Scheduler(ledger.cluster, _core.Policy(chosen.score)).fragmentation_ratio)
            shown.apply(await viewer.look())
            status.stop()
            can_draw = out.is_terminal and not out.is_dumb_terminal and out.encoding.startswith("utf")
            is_picture = output == "auto" and can_draw
            if not watch or not is_picture:
                while True:
                    _print(shown, choice, out, "picture" if is_picture else output)
                    if not watch:
                        return
                    await asyncio.sleep(_EVERY_S)
                    shown.apply(await viewer.look())
                    typer.echo("")
            with Live(console=out, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(picture.screen(shown, choice, out.width, out.height), refresh=True)
                    await asyncio.sleep(_EVERY_S)
                    shown.apply(await viewer.look())
    finally:
        status.stop()


def _print(shown: Snapshot, choice: Choice, out: Console, how: str) -> None:
    from nos.observe import top as picture

    if how == "json":
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n")
    elif how == "picture":
        out.print(picture.screen(shown, choice, out.width, None))
    else:
        for line in picture.tables(shown, choice):
            typer.echo(line)
