"""`nos testbed`: a real Kubernetes control plane on this machine, with simulated GPU nodes.

Exit codes as kubectl's: 0 when done, 1 when not, 2 for a wrong command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nos.testbed.up import Status

app = typer.Typer(help="Run a real Kubernetes control plane here, with simulated GPU nodes.", no_args_is_help=True)

StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="Where it lives. Default: ~/.local/state/nos/testbed."),
]


@app.command()
def up(
    nodes: Annotated[
        str, typer.Option(metavar="SHAPE=COUNT,...", help="Simulated nodes, such as 8xH100=10,2xT4=4,cpu=2.")
    ] = "",
    state_dir: StateDir = None,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Leave kube-scheduler out: only nos binds Pods.")
    ] = False,
    scheduler_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A KubeSchedulerConfiguration for it."),
    ] = None,
    real_node: Annotated[
        bool, typer.Option("--real-node", help="Add one node with a real kubelet and containerd. Needs root.")
    ] = False,
    gpus: Annotated[
        str,
        typer.Option(
            metavar="MODEL=COUNT,...", help="Its simulated GPUs, cut by nos agent, such as a100-40gb=2: nos mig models."
        ),
    ] = "",
) -> None:
    """Start it, and leave it running. When it runs already, add the nodes that are missing."""
    with _errors():
        from nos.testbed import nodes as shapes
        from nos.testbed import state
        from nos.testbed.gpus import parse_models
        from nos.testbed.progress import Progress
        from nos.testbed.up import up as bring_up

        directory = state_dir or state.default_directory()
        scheduler: bool | str = scheduler_config.read_text() if scheduler_config else not no_scheduler
        wanted = shapes.parse_shapes(nodes)
        started = bring_up(
            directory,
            wanted,
            scheduler=scheduler,
            progress=Progress(),
            real_node=real_node,
            gpus=parse_models(gpus),
        )
        print(f"# The testbed {'is up' if started else 'was up already'}. Speak to it:")
        print(f"export KUBECONFIG={shlex.quote(str(directory.absolute() / 'kubeconfig'))}")
        where = f" --state-dir {shlex.quote(str(state_dir))}" if state_dir else ""
        print(f"# Stop it: nos testbed down{where}")


@app.command()
def down(state_dir: StateDir = None) -> None:
    """Stop it, and remove everything it wrote."""
    with _errors():
        from nos.testbed import state
        from nos.testbed.controlplane import Layout
        from nos.testbed.progress import Progress

        directory = state_dir or state.default_directory()
        with Progress().step("stopping the testbed"):
            was_running = state.down(Layout(directory.absolute()))
        print("The testbed is down." if was_running else f"No testbed was running in {directory}.")


@app.command()
def status(
    state_dir: StateDir = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="json|table", help="Output format.")] = "table",
) -> None:
    """Show its processes, their ports and their health. Exits with 1 unless all is well."""
    if output not in ("json", "table"):
        raise typer.BadParameter("must be json or table", param_hint="--output")
    with _errors():
        from nos.testbed import state
        from nos.testbed.up import status as ask

        found = ask(state_dir or state.default_directory())
        if output == "json":
            import json

            print(json.dumps(asdict(found), indent=2))
        else:
            _print_table(found)
    raise typer.Exit(0 if found.healthy else 1)


@app.command()
def build(
    kubelet: Annotated[bool, typer.Option("--kubelet", help="Build what a real node needs, too.")] = False,
) -> None:
    """Build the programs it runs, once, into the cache; `up` does so too when they are missing."""
    with _errors():
        from nos.testbed import binaries, versions

        names = versions.CONTROL_PLANE + (versions.REAL_NODE if kubelet else ())
        for name, path in binaries.ensure(names).items():
            print(f"{name}\t{path}")


def _print_table(found: Status) -> None:
    if not found.running:
        print(f"No testbed is running in {found.directory}. Start one: nos testbed up")
        return
    print(f"{'NAME':24} {'PID':>8} {'PORT':>6} {'MEMORY':>8}  HEALTH")
    for part in found.components:
        health = "ok" if part.healthy else "failed"
        print(f"{part.name:24} {part.pid:>8} {part.port or '-':>6} {part.memory_mib:>4} MiB  {health}")
    print(f"\nnodes: {found.nodes_ready} of {found.nodes} ready\nserver: {found.server}")
    print(f"kubeconfig: {found.kubeconfig}")


@contextmanager
def _errors() -> Iterator[None]:
    """One line about what failed and what to do, in place of a traceback."""
    from nos.testbed import TestbedError

    try:
        yield
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
