"""`nos simulate`: replay a trace, or a generated one, through the scheduler; or rehearse what a real cluster would do.

Exit codes as kubectl's: 0 when done, 1 when not, 2 for a wrong command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nos.simulate.trace import Trace


class Score(StrEnum):
    """The policies, as the core names them."""

    NOS = "nos"
    FGD = "fgd"
    BEST_FIT = "best-fit"
    FIRST_FIT = "first-fit"


_STDOUT = Path("-")


def simulate(
    nodes: Annotated[
        Path | None, typer.Option(metavar="NODES.csv", help="Columns sn, cpu_milli, memory_mib, gpu, model.")
    ] = None,
    pods: Annotated[
        Path | None,
        typer.Option(
            metavar="PODS.csv",
            help="Columns name, cpu_milli, memory_mib, num_gpu, gpu_milli; optional gpu_spec: models joined by '|'.",
        ),
    ] = None,
    order: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="In which order the Pods arrive: one row number (from 0) of the Pods per line; rows may repeat. "
            "Default: as they stand in their file.",
        ),
    ] = None,
    generate: Annotated[
        str | None,
        typer.Option(
            metavar="NODESxGPUS[:MODEL],...", help="Make the trace up instead, such as 10000x8 or 300x8:H100,100x2:T4."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10_000_000,
            help="With --generate: how many Pods. Default: as many as ask for 130 % of the GPUs.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Of the generator. A replay itself has nothing random.", show_default=True)
    ] = 0,
    policy: Annotated[
        list[Score] | None,
        typer.Option(
            metavar="nos|fgd|best-fit|first-fit", help="Which node to choose; repeat to compare. Default: nos."
        ),
    ] = None,
    placements: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.csv",
            help="Write a line pod_index,node_index,gpu_indices per placed Pod, without a header: position in the "
            "order, row of the node, GPUs joined by '-'. With one policy only.",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.json",
            help="Write the figures: one object, or with several policies a list of them below policies. - is stdout.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.html", help="Write a report that compares the policies: one HTML file that needs no network."
        ),
    ] = None,
    from_cluster: Annotated[
        bool,
        typer.Option(
            "--from-cluster", help="Show what would happen on a cluster now; nothing is done.", show_default=False
        ),
    ] = False,
    add: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="With --from-cluster: manifests of Pods, Jobs, Deployments, ... to add. - is stdin."
        ),
    ] = None,
    remove_node: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="With --from-cluster: take it away.")
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE/GPU=INSTANCES", help="With --from-cluster: such as gpu-1/0=3g.20gb@4,1g.5gb@0."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="With --from-cluster: the controller's YAML file.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="With --from-cluster: the cluster.")] = None,
    context: Annotated[str | None, typer.Option(help="With --from-cluster: a context of the kubeconfig.")] = None,
) -> None:
    """Replay a trace through the scheduler, without a cluster; or show what would happen on one.

    Pods of a trace arrive one after another and stay; one that fits nowhere when it arrives is refused for good.
    """
    if from_cluster:
        if any((nodes, pods, order, generate, count, policy, placements, report)) or (json and json != _STDOUT):
            raise typer.BadParameter(
                "goes with --add, --remove-node, --cut and --json - only", param_hint="--from-cluster"
            )
        from nos.cli.rehearsal import rehearse

        rehearse(
            config=config,
            kubeconfig=kubeconfig,
            context=context,
            add=add or [],
            remove_nodes=remove_node or [],
            cuts=cut or [],
            as_json=json is not None,
        )
        return
    if any((add, remove_node, cut, config, kubeconfig, context)):
        raise typer.BadParameter("are for --from-cluster", param_hint="--add, --remove-node, --cut, --config, ...")
    policies = list(dict.fromkeys(policy or [Score.NOS]))
    if generate is None and (nodes is None or pods is None):
        raise typer.BadParameter("give both, or --generate", param_hint="--nodes, --pods")
    if generate is not None and (nodes or pods or order):
        raise typer.BadParameter("makes up nodes, Pods and order: give no files of them", param_hint="--generate")
    if generate is None and count is not None:
        raise typer.BadParameter("is for --generate", param_hint="--count")
    if placements and len(policies) > 1:
        raise typer.BadParameter("takes one --policy", param_hint="--placements")
    if _STDOUT in (placements, report):
        raise typer.BadParameter("only --json takes -", param_hint="--placements, --report")
    with _errors():
        _check_outputs([path for path in (nodes, pods, order) if path], placements, json, report)
        trace = _trace(nodes, pods, order, generate, count, seed)
        _run(trace, policies, placements, json, report)


def _trace(
    nodes: Path | None, pods: Path | None, order: Path | None, shape: str | None, count: int | None, seed: int
) -> Trace:
    if shape is not None:
        from nos.simulate import generate

        return generate.generate(generate.parse_groups(shape), count, seed)
    from nos.simulate.read import read

    assert nodes is not None
    assert pods is not None
    return read(nodes, pods, order)


def _run(trace: Trace, policies: list[Score], placements: Path | None, json: Path | None, report: Path | None) -> None:
    from nos.simulate import result, table
    from nos.simulate.replay import replay
    from nos.simulate.write import write

    replays = []
    for policy in policies:
        with _progress(policy.value, len(trace.order)) as advance:
            replays.append(replay(trace, policy.value, samples=report is not None, progress=advance))
    summaries = [result.summarize(replayed) for replayed in replays]
    if placements:
        write(placements, result.placement_lines(replays[0]))
    if report:
        from nos.simulate.report import page

        write(report, page(replays, summaries))
    if json:
        from json import dumps

        text = dumps(result.as_json(summaries), indent=2) + "\n"
        if json == _STDOUT:
            sys.stdout.write(text)
        else:
            write(json, [text])
    if json != _STDOUT:
        table.show(summaries, terminal=sys.stdout.isatty())
    sys.stdout.flush()


def _check_outputs(inputs: list[Path], *outputs: Path | None) -> None:
    """Find out before the replay that an output cannot be written, or would overwrite what it was made from."""
    from nos.simulate.write import WriteError, check

    taken = {path.resolve() for path in inputs}
    for path in outputs:
        if path is None or path == _STDOUT:
            continue
        check(path)
        if path.is_file() or not path.exists():
            if path.resolve() in taken:
                raise WriteError(f"{path}: is named twice; it would be overwritten")
            taken.add(path.resolve())


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, advance=done)


@contextmanager
def _errors() -> Iterator[None]:
    """One line about what is wrong, in place of a traceback."""
    from nos.simulate.trace import TraceError
    from nos.simulate.write import WriteError

    try:
        yield
    except (TraceError, WriteError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
