"""What happened lately: the last of each kind, so that a burst of Bindings does not drive out what is rare."""

from collections import Counter, defaultdict, deque
from functools import partial

from nos.observe.view import Moment

_OF_A_KIND = 100


class Moments:
    """`add` takes note."""

    def __init__(self) -> None:
        self._kept: defaultdict[str, deque[Moment]] = defaultdict(partial(deque, maxlen=_OF_A_KIND))
        self._new: defaultdict[str, deque[Moment]] = defaultdict(partial(deque, maxlen=_OF_A_KIND))
        self._counts: Counter[str] = Counter()

    def add(self, moment: Moment) -> None:
        """Something has happened."""
        self._kept[moment.kind].append(moment)
        self._new[moment.kind].append(moment)
        self._counts[moment.kind] += 1

    def kept(self) -> list[Moment]:
        """The last of each kind, the oldest first."""
        return _in_order(self._kept)

    def new(self) -> list[Moment]:
        """Those since this was last asked; of a burst, the last of each kind."""
        found = _in_order(self._new)
        self._new.clear()
        return found

    def counted(self) -> dict[str, int]:
        """How many there were of each kind since this was last asked."""
        counts, self._counts = self._counts, Counter()
        return dict(counts)


def _in_order(of: dict[str, deque[Moment]]) -> list[Moment]:
    return sorted((moment for some in of.values() for moment in some), key=lambda moment: moment.at)
