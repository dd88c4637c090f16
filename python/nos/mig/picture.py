"""One GPU's units before and after, drawn for people.

Colours repeat what the words say, for terminals; a pipe gets the same text without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from .models import Model
from .recut import Recut
from .request import Placement

_STYLES = {"used": "bold", "free": "dim", "goes": "red", "moves": "yellow", "moved": "yellow", "new": "green"}
_STYLES["taken"] = _STYLES["new"]
_LABEL = 8  # columns before the first unit
_NARROWEST = 7


@dataclass(frozen=True)
class Block:
    """An instance, and what is said below it."""

    instance: Placement
    state: str


def show(model: Model, used: Sequence[Placement], free: Sequence[Placement], cut: Recut, console: Console) -> None:
    """Print the GPU as it is, and as it will be."""
    left = [(name, start) for (gpu, name, start), _ in cut.moves if gpu == 0]
    arrived = [(name, start) for _, (gpu, name, start) in cut.moves if gpu == 0]
    before = [Block(one, "moves" if one in left else "used") for one in used]
    before += [Block(one, "goes" if one in cut.destroy else "free") for one in free]
    after = [Block(one, "moved" if one in arrived else "used") for one in cut.used]
    after += [Block(one, "free") for one in cut.free]
    for _, (gpu, name, start) in cut.placed:
        if gpu == 0:
            after.append(Block((name, start), "new" if (name, start) in cut.create else "taken"))
    sizes = {profile.name: profile.size for profile in model.profiles}
    width, short = _cell_width(model, [*before, *after], sizes, console.width)
    ruler = Text(f"{'unit':<{_LABEL}}")
    for unit in range(model.units):
        ruler.append(f" {unit:<{width - 1}}", style="dim")
    lines = [ruler]
    for label, blocks in (("before", before), ("after", after)):
        lines += _bars(label, blocks, model.units, sizes, width, short)
    for line in lines:
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def _cell_width(model: Model, blocks: Sequence[Block], sizes: dict[str, int], columns: int) -> tuple[int, bool]:
    """Columns per unit, its left edge among them, so that every name fits; and whether names must be short for it."""
    for short in (False, True):
        needed = [-(-(len(_name(block, short)) + 1) // sizes[block.instance[0]]) for block in blocks]
        width = max([_NARROWEST, *needed])
        if _LABEL + width * model.units < columns:
            break
    return width, short


def _name(block: Block, short: bool) -> str:
    """`1g.10gb+me`, or `1g+me` where room is scarce."""
    head, _, rest = block.instance[0].partition(".")
    return head + rest.lstrip("0123456789").removeprefix("gb") if short else block.instance[0]


def _bars(
    label: str, blocks: Sequence[Block], units: int, sizes: dict[str, int], width: int, short: bool
) -> list[Text]:
    names, states = Text(f"{label:<{_LABEL}}"), Text(" " * _LABEL)
    at = {block.instance[1]: block for block in blocks}
    unit = 0
    while unit < units:
        block = at.get(unit)
        room = (sizes[block.instance[0]] if block else 1) * width - 1
        for line, words in ((names, _name(block, short) if block else ""), (states, block.state if block else "")):
            line.append("│", style="dim")
            line.append(f"{words:<{room}}", style=_STYLES[block.state] if block else "")
        unit += sizes[block.instance[0]] if block else 1
    for line in (names, states):
        line.append("│", style="dim")
    return [names, states]
