"""The picture of the nodes: a cell per GPU, in the colour of the Pod that holds it; a node beside the other.

Where there are no colours, a cell is the number of GPUs of its Pod instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from nos.testbed.nodes import CPU_NODE

from .board import Board, Node

# Okabe and Ito's palette, which colour-blind people can tell apart.
COLOURS = {1: "#56b4e9", 2: "#2fb98a", 4: "#e69f00", 8: "#cc79a7"}
_FREE, _CPU = "#5c6370", "#a0a8b4"
_CPU_CELLS = 8


@dataclass(frozen=True)
class Style:
    """How cells are drawn."""

    colour: bool
    unicode: bool

    def gpu(self, size: int) -> tuple[str, str]:
        """The cell of a GPU that holds a Pod of this size, and its colour."""
        if not size:
            return "·" if self.unicode else ".", _FREE
        glyph = "■" if self.unicode and self.colour else str(min(size, 9))
        return glyph, colour(size)

    def cpu(self, used: bool) -> tuple[str, str]:
        """A part of a node without GPUs."""
        if not used:
            return "·" if self.unicode else ".", _FREE
        return ("▪" if self.unicode else "#"), _CPU


def colour(gpus: int) -> str:
    """The colour of a Pod of this size."""
    return COLOURS[max(size for size in COLOURS if size <= max(1, gpus))] if gpus else _CPU


def rows(board: Board, width: int, style: Style) -> list[Text]:
    """The nodes that are there, shape by shape, as many beside one another as fit."""
    lines: list[Text] = []
    label = max((len(name) for name in board.expected), default=0) + 1
    for shape in board.shapes_in_order():
        nodes = sorted((n for n in board.nodes.values() if n.shape == shape), key=lambda node: node.number)
        cells = (len(nodes[0].cells) or _CPU_CELLS) if nodes else 1
        beside = max(1, (width - label) // (cells + 1))
        for start in range(0, len(nodes), beside):
            line = Text(no_wrap=True).append(f"{nodes[start].name:<{label}}", "dim")
            for node in nodes[start : start + beside]:
                _draw(line, node, style)
                line.append(" ")
            line.rstrip()
            lines.append(line)
    return lines


def legend(style: Style) -> Text:
    """What the cells mean."""
    line = Text("Pods of ", no_wrap=True)
    for size in COLOURS:
        glyph, paint = style.gpu(size)
        line.append(glyph, paint).append(f" {size}  " if glyph == "■" else "  ")
    line.append("GPUs   ").append(style.gpu(0)[0], _FREE).append(" free   ")
    return line.append(style.cpu(True)[0], _CPU).append(" CPU of nodes without GPUs")


def ranges(slots: Sequence[int]) -> str:
    """`0-3,6`"""
    parts: list[list[int]] = []
    for slot in sorted(slots):
        if parts and parts[-1][-1] == slot - 1:
            parts[-1].append(slot)
        else:
            parts.append([slot])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _draw(line: Text, node: Node, style: Style) -> None:
    if node.cells:
        for size in node.cells:
            line.append(*style.gpu(size))
    else:
        used = -(-node.cpu * _CPU_CELLS // CPU_NODE[1])
        for cell in range(_CPU_CELLS):
            line.append(*style.cpu(cell < used))
