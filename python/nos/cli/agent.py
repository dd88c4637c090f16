"""nos agent: one GPU node's part, as one process."""

from pathlib import Path
from typing import Annotated

import typer


def agent(
    node: Annotated[str, typer.Option(envvar="NODE_NAME", help="The node that we run on.")],
    kubelet: Annotated[Path, typer.Option(help="The kubelet's directory.")] = Path("/var/lib/kubelet"),
    state: Annotated[Path, typer.Option(help="Where the agent keeps its journal.")] = Path("/var/lib/nos"),
    hand: Annotated[
        str, typer.Option(help="How containers get devices: environment (NVIDIA's runtime) or cdi.")
    ] = "environment",
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster of the node. Default: the one that we run in, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    health_address: Annotated[
        str, typer.Option(help="host:port of /livez, /readyz and /metrics; or unix:PATH, for nos front.")
    ] = "127.0.0.1:10270",
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log each report.", show_default=False)] = False,
) -> None:
    """Cut this node's GPUs as the controller plans, and hand them to the kubelet, until stopped."""
    from nos.kube.errors import ConfigError
    from nos.observe import log

    try:
        from nos.agent import run
        from nos.agent.driver import DriverError
        from nos.agent.kubelet import Hand
    except ModuleNotFoundError as error:
        typer.echo(f"nos agent: {error.name} is missing: pip install 'nos-scheduler[agent]'", err=True)
        raise typer.Exit(2) from None
    if hand not in [each.value for each in Hand]:
        typer.echo(f"nos agent: --hand {hand}: choose environment or cdi", err=True)
        raise typer.Exit(2)
    if log_format not in ("text", "json"):
        typer.echo(f"nos agent: --log-format {log_format}: choose text or json", err=True)
        raise typer.Exit(2)
    log.configure(log_format, verbose=verbose)
    settings = run.Settings(node, kubelet, state, Hand(hand), kubeconfig, context, health_address)
    try:
        code = run.main(settings)
    except (ConfigError, DriverError) as error:
        typer.echo(f"nos agent: {error}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(f"nos agent: --state {state}: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(code)
