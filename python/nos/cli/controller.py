"""nos controller: the scheduler itself, as one process."""

from typing import Annotated

import typer


def controller(
    config: Annotated[str | None, typer.Option(help="A YAML file of settings; flags override it.")] = None,
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster to serve. Default: the one that we run in, else $KUBECONFIG.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    scheduler_name: Annotated[str | None, typer.Option(help="Serve Pods with this schedulerName.")] = None,
    leader_elect: Annotated[
        bool | None, typer.Option("--leader-elect/--no-leader-elect", help="Of several replicas, let one bind.")
    ] = None,
    lease_namespace: Annotated[str | None, typer.Option(help="Where the Lease is.")] = None,
    pod: Annotated[
        str | None, typer.Option(help="NAMESPACE/NAME of the Pod that we run in: it has a label while we lead.")
    ] = None,
    health_address: Annotated[str | None, typer.Option(help="host:port of /livez, /readyz and /metrics.")] = None,
    metrics_address: Annotated[
        str | None, typer.Option(help="host:port of /metrics over TLS, by token, and nowhere else.")
    ] = None,
    dashboard_address: Annotated[
        str | None, typer.Option(help="host:port of the dashboard; empty for none. Default: 127.0.0.1:10258, if free.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    verbose: Annotated[bool | None, typer.Option("-v", "--verbose", help="Log each cycle.", show_default=False)] = None,
) -> None:
    """Schedule GPU Pods until stopped: bind those of schedulerName nos-scheduler, and say why the others wait."""
    from nos.controller import run, settings
    from nos.kube.errors import ConfigError
    from nos.observe import log

    flags = {
        "kubeconfig": kubeconfig,
        "context": context,
        "schedulerName": scheduler_name,
        "leaderElection.enabled": leader_elect,
        "leaderElection.namespace": lease_namespace,
        "leaderElection.pod": pod,
        "healthAddress": health_address,
        "metrics.address": metrics_address,
        "dashboard.address": dashboard_address,
        "logFormat": log_format,
        "verbose": verbose,
    }
    try:
        chosen = settings.load(config, flags)
        log.configure(chosen.log_format, verbose=chosen.verbose)
        code = run.main(chosen)
    except ConfigError as error:
        typer.echo(f"nos controller: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(code)
