"""The closing picture as an SVG file, for documents."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from nos.simulate.write import write as write_whole

from . import summary
from .board import Board
from .picture import Style

_WIDTH = 80


def write(path: Path, board: Board, shapes: Mapping[str, int]) -> None:
    """Draw the summary into a file."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=_WIDTH,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    summary.show(console, board, shapes, Style(colour=True, unicode=True))
    drawn = console.export_svg(title="nos demo")
    # Rich's own fonts come from a server; a picture that needs no network takes the reader's monospaced one.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    write_whole(path, [drawn])
