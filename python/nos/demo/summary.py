"""The closing summary: what was bound, how fast, how densely, and what waits for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from nos.testbed import nodes

from . import picture
from .board import Board, percentile
from .bound import Shape, fewest
from .view import milliseconds

_LABEL = 14


def show(console: Console, board: Board, shapes: Mapping[str, int], style: picture.Style) -> None:
    """Print it."""
    console.print()
    for line in picture.rows(board, console.width, style):
        console.print(line, soft_wrap=True)
    console.print(picture.legend(style), soft_wrap=True)
    console.print()
    for label, value in _figures(board, shapes):
        # A table would pad its lines with blanks, which is no good in a pipe; nor is wrapping there.
        width = console.width - _LABEL if console.is_terminal else 10_000
        for number, line in enumerate(value.wrap(console, width)):
            line.rstrip()
            head = Text().append(f"{'' if number else label:<{_LABEL}}", "dim")
            console.print(head.append_text(line), soft_wrap=True)
    console.print()


def _figures(board: Board, shapes: Mapping[str, int]) -> Sequence[tuple[str, Text]]:
    bound, waiting = board.bound, board.waiting
    seconds = [pod.seconds for pod in bound]
    sizes = ", ".join(
        f"{count} x {size} GPU{'s' * (size > 1)}" if size else f"{count} x CPU alone"
        for size, count in sorted(board.sizes().items(), reverse=True)
    )
    rows = [
        ("Pods bound", Text.assemble((f"{len(bound)}", "bold green"), f" of {board.created}", (f"  ({sizes})", "dim"))),
        (
            "Time to bind",
            Text.assemble(
                "p50 ",
                (milliseconds(percentile(seconds, 50)), "bold"),
                ", p99 ",
                (milliseconds(percentile(seconds, 99)), "bold"),
                ("  (from the answer to its creation until a watch shows its node)", "dim"),
            ),
        ),
        ("GPUs in use", _density(board, shapes)),
    ]
    title = "Waiting"
    for reason, names in board.reasons():
        who = names[0] if len(names) == 1 else f"{len(names)} Pods, such as {names[0]}"
        rows.append((title, Text.assemble((who, "yellow"), f": {reason or 'not decided yet'}")))
        title = ""
    return rows if waiting else [*rows, ("Waiting", Text("none"))]


def _density(board: Board, shapes: Mapping[str, int]) -> Text:
    used = board.in_use()
    on_them = sum(len(node.cells) for node in used)
    found = Text.assemble(
        (f"{board.gpus_in_use}", "bold"), f" of {board.gpus}; ", (f"{on_them}", "bold"), f" on the {len(used)} nodes"
    )
    gpu_shapes = [Shape.of(shape, count) for shape, count in shapes.items() if nodes.parse_shape(shape)[0]]
    least = fewest(gpu_shapes, [pod.ask for pod in board.bound if pod.ask.gpus]).gpus
    found.append(" in use, ")
    if on_them == least:
        return found.append("which is the fewest possible", "bold green")
    return found.append(f"where no scheduler can do with fewer than {least}" if least else "")
