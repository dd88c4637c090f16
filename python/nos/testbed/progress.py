"""What a long step shows: a live bar on a terminal, one line per step in a pipe. Both go to stderr: stdout is for what
the command was asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Update = Callable[[int, int | None], None]


class Progress:
    """Shows steps, one after another."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = not quiet and sys.stderr.isatty()

    @contextmanager
    def step(self, title: str) -> Iterator[Update]:
        """Shows `title` while the body runs; the body calls the yielded function with (done, total) as it knows."""
        start = time.monotonic()
        if not self.live:
            yield lambda *_: None
            self.line(f"{title} ({elapsed(start)})")
            return

        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        self.line(f"{title} ({elapsed(start)})")

    def line(self, text: str) -> None:
        """One line, at once."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)


def elapsed(start: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`."""
    seconds = time.monotonic() - start
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
