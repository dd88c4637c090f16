"""`nos replay`: a record done again.

Exit codes: 0 when all decisions are the same, 1 when some differ, 2 for a wrong command line or a file that cannot be
used, 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nos.record.replay import Replayed

_QUIET_S = 2.0


def replay(
    file: Annotated[str, typer.Argument(help="What nos record wrote.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="text|json", help="Output format.")] = "text",
) -> None:
    """Do what is on record again, and compare the decisions."""
    from nos.record.reader import RecordError
    from nos.record.replay import replay as again

    if output not in ("text", "json"):
        typer.echo(f"nos replay: --output {output}: expected text or json", err=True)
        raise typer.Exit(2)
    began = time.monotonic()
    tell = _Progress(began)
    try:
        with open(file, "rb") as lines:
            done = again(lines, tell)
    except (OSError, RecordError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        typer.echo(f"nos replay: {file}: {why}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if output == "json":
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(done), indent=2).decode())
    else:
        _print(done, time.monotonic() - began)
    if done.different:
        raise typer.Exit(1)


def _print(done: Replayed, took: float) -> None:
    for line in done.differences:
        typer.echo(line)
    same = f"{done.different} decided otherwise" if done.different else "all the same"
    typer.echo(f"{done.cycles} cycles with {done.decisions} decisions, {done.plans} plans of nodes: {same}")
    typer.echo(f"{done.seconds:.1f} s on record, {took:.1f} s again; it ends: {done.ended}")


class _Progress:
    """On a terminal, of what takes longer."""

    def __init__(self, began: float) -> None:
        self._next = began + _QUIET_S

    def __call__(self, done: Replayed) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _QUIET_S
            print(f"{done.cycles} cycles, {done.edits} edits", file=sys.stderr, flush=True)
