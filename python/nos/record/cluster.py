"""A Cluster whose edits can be listened to, and copies of it on which something is planned."""

from collections.abc import Mapping
from functools import partial, partialmethod
from itertools import count
from typing import Any, Protocol

from nos import _core
from nos.record.codec import EDITS

Outcome = _core.ScaleUp | _core.ScaleDown
Made = tuple[str, tuple[Any, ...], dict[str, Any]]  # method and arguments of an edit


class Listener(Protocol):
    """Is told what is done to a Cluster when it is done, from the thread that did it."""

    def edit(self, made: Made, *, refused: bool) -> None:
        """It was edited, or has refused to be."""

    def copied(self, copy: int) -> None:
        """There is a copy of it, as it is now, on which something is to be planned."""

    def planned(self, copy: int, made: list[Made], plan: str, arguments: Mapping[str, Any], outcome: Outcome) -> None:
        """That was done on the copy, after these edits of it. plan: the function of the core."""


class Recorded(_core.Cluster):
    """Tells its listeners, and costs nothing while there are none. Its plain copies (`copy`) are nobody's business."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: tuple[Listener, ...] = ()
        self._numbers = count(1)

    def listen(self, listener: Listener) -> None:
        """Tell this one from now on."""
        if not self._listeners:
            for name in EDITS:
                setattr(self, name, partial(_edit, self, name))
        self._listeners = *self._listeners, listener

    def leave(self, listener: Listener) -> None:
        """Tell this one no more."""
        was, self._listeners = self._listeners, tuple(one for one in self._listeners if one is not listener)
        if was and not self._listeners:
            for name in EDITS:
                delattr(self, name)

    def what_if(self) -> "Copied":
        """A copy to plan on."""
        copied = Copied(self, next(self._numbers))
        for listener in self._listeners:
            listener.copied(copied.number)
        return copied

    def planned(self, on: "Copied", plan: str, arguments: Mapping[str, Any], outcome: Outcome) -> None:
        """Tell of it."""
        for listener in self._listeners:
            listener.planned(on.number, on.made, plan, arguments, outcome)

    def edited(self, made: Made, *, refused: bool) -> None:
        """Tell of it."""
        for listener in self._listeners:
            listener.edit(made, refused=refused)


class Copied(_core.Cluster):
    """Remembers its edits, but for those that were refused."""

    def __init__(self, of: Recorded, number: int) -> None:
        super().__init__(of)
        self.number = number
        self.made: list[Made] = []

    def edited(self, made: Made, *, refused: bool) -> None:
        """Remember it."""
        if not refused:
            self.made.append(made)


def _edit(cluster: Recorded | Copied, name: str, *positional: Any, **named: Any) -> Any:
    refused = True
    try:
        done = getattr(_core.Cluster, name)(cluster, *positional, **named)
        refused = False
    finally:
        cluster.edited((name, positional, named), refused=refused)
    return done


for _name in EDITS:  # not of each copy: one that has itself in it would stay until the collector comes
    setattr(Copied, _name, partialmethod(_edit, _name))
