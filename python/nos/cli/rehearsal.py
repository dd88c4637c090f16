"""`nos simulate --from-cluster`: what would happen on a cluster, without doing it."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from nos.controller.rehearsal import Changes, Outcome
    from nos.controller.settings import Settings

_CUT = re.compile(r"(?P<node>[^/=]+)/(?P<gpu>\d{1,4})=(?P<instances>.*)")


def rehearse(
    *,
    config: str | None,
    kubeconfig: str | None,
    context: str | None,
    add: list[Path],
    remove_nodes: list[str],
    cuts: list[str],
    as_json: bool,
) -> None:
    """Show it. Leaves with 2 where something is wrong."""
    from nos.controller import settings
    from nos.kube.errors import ConfigError
    from nos.observe import log

    try:
        chosen = settings.load(config, {"kubeconfig": kubeconfig, "context": context})
        log.configure(chosen.log_format, verbose=False, quiet=True)
        outcome = asyncio.run(_outcome(chosen, _changes(add, remove_nodes, cuts)))
    except ConfigError as error:
        typer.echo(f"nos simulate: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from None
    if as_json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(outcome), indent=2).decode())
        return
    for line in lines(outcome):
        typer.echo(line)


def _changes(add: list[Path], remove_nodes: list[str], cuts: list[str]) -> Changes:
    from nos.controller.rehearsal import Changes, pods_of
    from nos.kube.errors import ConfigError

    pods: list[bytes] = []
    for path in add:
        try:
            text = sys.stdin.read() if path == Path("-") else path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--add {path}: {getattr(error, 'strerror', None) or error}") from None
        pods += pods_of(text, f"--add {path}")
    wanted: dict[tuple[str, int], str] = {}
    for cut in cuts:
        match = _CUT.fullmatch(cut)
        if match is None:
            raise ConfigError(f"--cut {cut}: expected NODE/GPU=INSTANCES, such as gpu-1/0=3g.20gb@4,1g.5gb@0")
        wanted[match["node"], int(match["gpu"])] = match["instances"]
    return Changes(pods, remove_nodes, wanted)


async def _outcome(chosen: Settings, changes: Changes) -> Outcome:
    from rich.console import Console

    from nos.controller.look import watched
    from nos.controller.rehearsal import rehearse as run
    from nos.kube.access import Access

    access = Access.load(chosen.kubeconfig, chosen.context)
    with Console(stderr=True).status("learning the cluster") as status:
        async with watched(access, chosen.scheduler_name) as (client, ledger):
            status.update("deciding")
            return await run(client, ledger, chosen, changes)


def lines(outcome: Outcome) -> list[str]:
    """For people: a line for each thing that would happen."""
    said = [f"lost     {pod}: it has no controller that nos would serve" for pod in outcome.lost]
    for bind in outcome.binds:
        given = f", GPUs {','.join(map(str, bind.gpus))}" if bind.gpus else ""
        given += f", slices {bind.slices}" if bind.slices else ""
        said.append(f"bind     {bind.pod} to {bind.node}{given}{', which are cut first' if bind.cut_first else ''}")
    said += [f"cut      GPU {cut.gpu} of {cut.node} into {cut.instances or 'one piece'}" for cut in outcome.cuts]
    said += [f"evict    {one.pod} from {one.node}: {one.why}" for one in outcome.evictions]
    for order in outcome.orders:
        cut_ = f", cut {order.slices}" if order.slices else ""
        said.append(f"order    a node of {order.group}{cut_}, ${order.price:.2f} per hour, for {', '.join(order.pods)}")
    said += [f"wait     {one.pod}: {one.code}: {one.message}" for one in outcome.waits]
    return said or ["Nothing would happen."]
