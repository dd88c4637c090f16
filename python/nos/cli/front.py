"""nos front: the agent's health and metrics for the network, as a process that is not privileged."""

from typing import Annotated

import typer


def front(
    agent: Annotated[str, typer.Option(help="The agent's --health-address, unix:PATH.")] = "unix:/run/nos/agent.sock",
    health_address: Annotated[
        str, typer.Option(help="host:port of /livez, and of the agent's: /agent/livez and /agent/readyz.")
    ] = "127.0.0.1:10271",
    metrics_address: Annotated[
        str,
        typer.Option(help="host:port of /metrics over TLS, by token. Empty: at --health-address, for whoever asks."),
    ] = "",
    cert_file: Annotated[
        str, typer.Option(help="For TLS, PEM. Read anew when it changes. Empty: one that nobody has signed.")
    ] = "",
    key_file: Annotated[str, typer.Option(help="Of the certificate, PEM.")] = "",
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster of the tokens. Default: the one that we run in, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
) -> None:
    """Stand between the network and a node's agent: serve its health and its metrics, until stopped."""
    from nos.agent import front
    from nos.kube.errors import ConfigError
    from nos.observe import log

    if log_format not in ("text", "json"):
        typer.echo(f"nos front: --log-format {log_format}: choose text or json", err=True)
        raise typer.Exit(2)
    if bool(cert_file) != bool(key_file):
        typer.echo("nos front: --cert-file and --key-file: name both or none", err=True)
        raise typer.Exit(2)
    if not agent.startswith("unix:"):
        typer.echo(f"nos front: --agent {agent}: name a socket, such as unix:/run/nos/agent.sock", err=True)
        raise typer.Exit(2)
    log.configure(log_format, verbose=False)
    settings = front.Settings(agent, health_address, metrics_address, cert_file, key_file, kubeconfig, context)
    try:
        code = front.main(settings)
    except ConfigError as error:
        typer.echo(f"nos front: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(code)
