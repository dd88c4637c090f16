"""`nos demo`: a real control plane, GPU nodes, several hundred Pods, and nos placing them before one's eyes.

Exit codes as kubectl's: 0 when done, 1 when not, 2 for a wrong command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def demo(
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave it running at the end, and say how to speak to it.", show_default=False),
    ] = False,
    nodes: Annotated[
        str | None, typer.Option(metavar="SHAPE=COUNT,...", help="Simulated nodes. Default: 77 of them, with 504 GPUs.")
    ] = None,
    pods: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=20_000, help="How many Pods. Default: as many as ask for 90 % of the GPUs."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.0, max=3600.0, help="How long the Pods take to arrive.")
    ] = 20.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what arrives.")] = 1,
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT.svg", help="Draw the closing summary into a file too.")
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="With --keep: where it lives, as of nos testbed up."),
    ] = None,
) -> None:
    """Watch nos bind several hundred GPU Pods on a real Kubernetes control plane, here, in about a minute."""
    if state_dir and not keep:
        raise typer.BadParameter("is for --keep", param_hint="--state-dir")
    with _errors():
        from nos.demo import run, workload
        from nos.simulate.write import check
        from nos.testbed import nodes as shapes
        from nos.testbed import state

        if picture:
            check(picture)  # now, not when all is done
        wanted = shapes.parse_shapes(workload.DEFAULT_NODES if nodes is None else nodes)
        if not any(shapes.parse_shape(shape)[0] for shape in wanted):
            raise typer.BadParameter("needs a node with GPUs, such as 8xH100=4", param_hint="--nodes")
        directory = (state_dir or state.default_directory()) if keep else None
        run.main(run.Options(wanted, pods, seconds, seed, directory, picture))


@contextmanager
def _errors() -> Iterator[None]:
    """One line about what failed and what to do, in place of a traceback."""
    from nos.demo import DemoError
    from nos.simulate.write import WriteError
    from nos.testbed import TestbedError

    try:
        yield
    except (DemoError, TestbedError, WriteError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
