"""The live view: counters, the picture of the nodes, the last decisions, why Pods wait. It fits the terminal."""

from __future__ import annotations

import time

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from . import picture
from .board import Board, Pod, percentile

_LEAST_DECISIONS, _MOST_REASONS = 2, 4
_EXPECTED_ROWS = 10  # of the picture, so that the layout does not jump when the nodes join


class View:
    """A frame of it, made anew at each rendering."""

    def __init__(self, board: Board, expected_pods: int, style: picture.Style) -> None:
        self._board = board
        self._expected = expected_pods
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        head = self._head(width)
        nodes = picture.rows(self._board, width, self._style)
        waits = self._reasons()[:_MOST_REASONS]
        waits = [Text("Waiting", "bold"), *waits] if waits else []
        # Blank lines where there is room for them; where there is little, the picture gives way last.
        fixed = len(head) + 1 + len(waits) + 1  # the legend, the title of the decisions
        blank = [Text()] if height >= fixed + _EXPECTED_ROWS + 8 else []
        room = height - fixed - len(blank) * (2 if waits else 1)
        if len(nodes) > room - _LEAST_DECISIONS:
            nodes = nodes[: max(0, room - _LEAST_DECISIONS - 1)]
            nodes.append(Text("and more rows: the window is too small for them", "dim"))
        decisions = [_decision(pod) for pod in list(self._board.last)[: max(0, room - len(nodes))]]
        lines = [*head, *nodes, picture.legend(self._style), *blank]
        lines += [Text("Last decisions", "bold"), *decisions, *blank[: len(waits)], *waits]
        for line in lines[:height]:
            line.no_wrap = True
            line.truncate(width, overflow="ellipsis")
        yield Group(*lines[:height])

    def _head(self, width: int) -> list[Text]:
        board = self._board
        bound, waiting = board.bound, board.waiting
        passed = f"{time.monotonic() - board.began:.0f} s"
        title = Text.assemble(("nos demo", "bold"), "  ", (board.phase, "cyan"))
        title.append(" " * max(1, width - title.cell_len - len(passed))).append(passed, "dim")
        seconds = [pod.seconds for pod in bound]
        pods = Text.assemble(
            "Pods  ",
            (f"{board.created}", "bold"),
            f" of {self._expected}  ",
            (f"{len(bound)}", "bold green"),
            " bound  ",
            (f"{len(waiting)}", "bold yellow" if waiting else "bold"),
            " waiting   time to bind p50 ",
            (milliseconds(percentile(seconds, 50)), "bold"),
            " p99 ",
            (milliseconds(percentile(seconds, 99)), "bold"),
        )
        gpus = Text.assemble("GPUs  ", (f"{board.gpus_in_use}", "bold"), f" of {board.gpus} in use  ")
        gpus.append_text(self._bar(board.gpus_in_use, board.gpus, max(10, min(60, width - 34))))
        return [title, Text(), pods, gpus, Text()]

    def _bar(self, part: int, whole: int, width: int) -> Text:
        done = part * width // whole if whole else 0
        full, rest = ("━", "━") if self._style.unicode and self._style.colour else ("#", ".")
        percent = f" {100 * part // whole} %" if whole else ""
        return Text.assemble((full * done, "green"), (rest * (width - done), "#3a3f4b"), percent)

    def _reasons(self) -> list[Text]:
        return [reason_line(names, reason) for reason, names in self._board.reasons() if reason]


def _decision(pod: Pod) -> Text:
    where = Text(f"  {pod.name:<16} ").append(pod.node or "", "bold")
    if pod.gpus:
        where.append(f" GPU {picture.ranges(pod.gpus)}", picture.colour(len(pod.gpus)))
    return where.append(f"  in {milliseconds(pod.seconds)}", "dim")


def reason_line(names: list[str], reason: str) -> Text:
    """`too-many-gpus  0/88 nodes are available: ...`"""
    who = names[0] if len(names) == 1 else f"{len(names)} Pods, such as {names[0]}"
    return Text(f"  {who}  ", "yellow").append(reason, "none")


def milliseconds(seconds: float | None) -> str:
    """`31 ms`, `1.2 s`."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
