"""`nos why`: why a Pod waits and what would let it run, or where it is.

Exit codes: 0 when that was told, 1 when there is no such Pod, 2 for a wrong command line or a cluster that cannot be
read.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nos.controller.settings import Settings
    from nos.observe.why import Why


def why(
    pod: Annotated[str, typer.Argument(help="Its name, or NAMESPACE/NAME.")],
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Where it is.")] = "default",
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster. Default: the one that we run in, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    scheduler_name: Annotated[str | None, typer.Option(help="Whose Pods are looked at.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="text|json|yaml", help="Output format.")] = "text",
) -> None:
    """Say why a Pod waits, and the smallest changes that would let it run; or where it is."""
    from nos.controller import settings
    from nos.controller.why import UnknownPodError
    from nos.kube.errors import ConfigError
    from nos.observe import log

    key = pod if "/" in pod else f"{namespace}/{pod}"
    try:
        if output not in ("text", "json", "yaml"):
            raise ConfigError(f"--output {output}: expected text, json or yaml")
        flags = {"kubeconfig": kubeconfig, "context": context, "schedulerName": scheduler_name}
        chosen = settings.load(None, flags)
        log.configure(chosen.log_format, verbose=False, quiet=True)
        found = asyncio.run(_found(chosen, key))
    except ConfigError as error:
        typer.echo(f"nos why: {error}", err=True)
        raise typer.Exit(2) from None
    except UnknownPodError:
        typer.echo(f"nos why: there is no Pod {key}; name its namespace with -n, or as NAMESPACE/NAME", err=True)
        raise typer.Exit(1) from None
    if output == "text":
        for line in _lines(found):
            typer.echo(line)
        return
    import msgspec

    if output == "json":
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        typer.echo(msgspec.yaml.encode(found).decode(), nl=False)


async def _found(chosen: Settings, key: str) -> Why:
    from rich.console import Console

    from nos import _core
    from nos.controller.look import watched
    from nos.controller.why import explain
    from nos.kube.access import Access

    access = Access.load(chosen.kubeconfig, chosen.context)
    with Console(stderr=True).status("learning the cluster") as status:
        async with watched(access, chosen.scheduler_name) as (_, ledger):
            status.update("trying what would help")
            return await explain(ledger, key, _core.Policy(chosen.score))


def _lines(found: Why) -> list[str]:
    place = f"node {found.node}" if found.node else ""
    place += f", GPUs {','.join(map(str, found.gpus))}" if found.gpus else ""
    place += f", slices {', '.join(found.slices)}" if found.slices else ""
    what = {
        "placed": f"is on {place}",
        "decided": f"waits, and the next cycle places it on {place}",
        "making-room": f"waits until there is room on {place}",
    }.get(found.state, "waits")
    facts = [
        f"asks for {found.asks}" if found.asks else "",
        f"for {_age(time.time() - found.since)}" if found.since else "",
        f"priority {found.priority}" if found.priority else "",
        f"pod group {found.gang}" if found.gang else "",
        found.quota,
        found.note,
    ]
    lines = [f"Pod {found.pod} {what}", *[f"  {fact}" for fact in facts if fact]]
    if found.evicts:
        lines += ["", "These go for it:", *[f"  {pod}" for pod in found.evicts]]
    if found.message:
        lines += ["", f"{found.code}: {found.message}"]
    if found.state == "waits" and found.code:
        would = [f"  {change.text}{f', on {change.node}' if change.node else ''}" for change in found.changes]
        would = [
            "\n".join([line, *[f"    {pod}" for pod in change.evicts]])
            for line, change in zip(would, found.changes, strict=True)
        ]
        lines += ["", "It would run, each by itself:", *would] if would else ["", "No single change would let it run."]
    return lines


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
