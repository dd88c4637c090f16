"""`nos mig`: what GPUs can be cut into, and how one is recut. It touches no GPU: all follows from what is known of the
models.

Exit codes: 0 when done, 2 for a wrong command line, 3 when something that is wanted stays unplaced.
"""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from nos.mig import Model
    from nos.mig.recut import Recut

app = typer.Typer(help="Show what GPUs can be cut into, and plan how one is recut.", no_args_is_help=True)

ModelId = Annotated[str, typer.Option("--model", metavar="ID", help="One of nos mig models, such as a100-40gb.")]
Json = Annotated[bool, typer.Option("--json", help="As -o json.", show_default=False)]
Output = Annotated[str, typer.Option("--output", "-o", metavar="json|table", help="Output format.")]


@app.command("models")
def list_models(json: Json = False, output: Output = "table") -> None:
    """List the GPU models that are known, and their profiles."""
    with _errors():
        as_json = _as_json(json, output)
        from nos.mig import models

        if as_json:
            _print_json([_model_facts(model) for model in models()])
        else:
            _print_table(_models_table(models()))


@app.command("geometries")
def list_geometries(
    model: ModelId,
    maximal: Annotated[
        bool, typer.Option("--maximal", help="Only those to which nothing can be added.", show_default=False)
    ] = False,
    json: Json = False,
    output: Output = "table",
) -> None:
    """List which profiles fit on one GPU together, and how many of each."""
    with _errors():
        as_json = _as_json(json, output)
        from nos.mig import core_model
        from nos.mig.request import model_of

        chosen = model_of(model)
        # The GPU that is not cut is not listed.
        found = [geometry for geometry in core_model(chosen).geometries(maximal=maximal) if geometry]
        if as_json:
            _print_json(found)
        else:
            _print_table(_geometries_table(chosen, found))


@app.command()
def plan(
    model: ModelId,
    want: Annotated[str, typer.Option(metavar="PROFILE,...", help="What is wanted, such as 3g.40gb,1g.10gb.")],
    used: Annotated[
        str, typer.Option(metavar="PROFILE@START,...", help="Instances that are used, such as 1g.10gb@0,2g.20gb@2.")
    ] = "",
    free: Annotated[str, typer.Option(metavar="PROFILE@START,...", help="Instances that nobody uses.")] = "",
    repack: Annotated[
        bool, typer.Option("--repack", help="Let used instances move where that serves more.", show_default=False)
    ] = False,
    empty_gpus: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=100, help="With --repack: as many empty GPUs of the model beside it."),
    ] = 0,
    json: Json = False,
    output: Output = "table",
) -> None:
    """Plan how one GPU is recut so that what is wanted fits. Exits with 3 when something stays unplaced."""
    with _errors():
        as_json = _as_json(json, output)
        if empty_gpus and not repack:
            raise _bad("--empty-gpus: is for --repack; add that, or leave it out")
        from nos.mig import recut
        from nos.mig.request import instances_of, model_of, wishes_of

        chosen = model_of(model)
        in_use = instances_of(chosen, used, "--used")
        idle = instances_of(chosen, free, "--free", in_use)
        wishes = wishes_of(chosen, want)
        if repack:
            cut = recut.recut_moving(chosen, in_use, idle, wishes, empty_gpus)
        else:
            cut = recut.recut(chosen, in_use, idle, wishes)
        if as_json:
            _print_json(_plan_facts(cut, wishes, repack))
        else:
            from rich.console import Console

            from nos.mig.picture import show

            show(chosen, in_use, idle, cut, Console())
            print("\n".join(["", *_plan_lines(cut)]))
    raise typer.Exit(3 if cut.unplaced else 0)


def _model_facts(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "memory_mib": model.memory_mib,
        "units": model.units,
        "compute_slices": model.compute_slices,
        "profiles": [
            {
                "name": profile.name,
                "size": profile.size,
                "starts": profile.starts,
                "compute_slices": profile.compute_slices,
                "max_instances": profile.max_instances,
                "memory_mib": profile.memory_mib,
            }
            for profile in model.profiles
        ],
    }


def _models_table(models: tuple[Model, ...]) -> Table:
    table = _table("MODEL", "UNITS", "SLICES", "PROFILES")
    for model in models:
        names = " ".join(profile.name for profile in model.profiles)
        table.add_row(model.id, str(model.units), str(model.compute_slices), names)
    return table


def _geometries_table(model: Model, geometries: list[dict[str, int]]) -> Table:
    names = [profile.name for profile in model.profiles]
    table = _table(*names)
    for geometry in geometries:
        table.add_row(*(str(geometry.get(name, "·")) for name in names))
    return table


def _plan_facts(cut: Recut, wishes: list[str], repack: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "destroy": [f"{name}@{start}" for name, start in cut.destroy],
        "create": [f"{name}@{start}" for name, start in cut.create],
        "placed": [
            {"profile": name, "start": start} | ({"gpu": gpu} if repack else {}) for _, (gpu, name, start) in cut.placed
        ],
        "unplaced": [{"profile": wishes[wish], "reason": reason} for wish, reason in cut.unplaced],
    }
    if repack:
        facts["moves"] = [
            {"profile": name, "from": {"gpu": gpu, "start": start}, "to": {"gpu": to_gpu, "start": to_start}}
            for (gpu, name, start), (to_gpu, _, to_start) in cut.moves
        ]
        facts["exact"] = cut.exact
    return facts


def _plan_lines(cut: Recut) -> list[str]:
    def at(gpu: int, start: int) -> str:
        return f"@{start}" + (f" of added GPU {gpu}" if gpu else "")

    moves = [f"move     {name}@{start} to {at(gpu, to)}" for (_, name, start), (gpu, _, to) in cut.moves]
    destroy = [f"destroy  {name}@{start}" for name, start in cut.destroy]
    create = [f"create   {name}@{start}" for name, start in cut.create]
    placed = [f"place    {name}{at(gpu, start)}" for _, (gpu, name, start) in cut.placed]
    unplaced = [f"not placed: {reason}" for _, reason in cut.unplaced]
    cut_short = [] if cut.exact else ["The search was cut short: fewer moves, or more placed, may be possible."]
    return [*moves, *destroy, *create, *placed, *unplaced, *cut_short]


def _table(*headers: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, no_wrap=header != "PROFILES")
    return table


def _print_table(table: Table) -> None:
    """As wide as the terminal; as wide as it is in a pipe."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 1000
    console.print(table)


def _print_json(facts: object) -> None:
    print(json_format.dumps(facts, indent=2))


def _as_json(json: bool, output: str) -> bool:
    if output not in ("json", "table"):
        raise _bad(f"--output: there is no format {output!r}; it is json or table")
    return json or output == "json"


def _bad(message: str) -> Exception:
    from nos.mig.request import RequestError

    return RequestError(message)


@contextmanager
def _errors() -> Iterator[None]:
    """One line about what is wrong, in place of a traceback."""
    import os

    from nos.mig.request import RequestError

    try:
        yield
        sys.stdout.flush()
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
