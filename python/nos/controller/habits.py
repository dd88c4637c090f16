"""How much each quota has had lately: the tie-breaker among those that borrow.

What a quota uses of its min, in the resource where that is most, adds up over time and is forgotten by half in each
half-life. It is known from our start on. The core takes it for what it is: of two borrowers that are equally far beyond
their min the one with less goes first.
"""

import asyncio
from collections.abc import Callable, Mapping

from nos.controller.ledger import Ledger
from nos.kube.quota_status import Use

_STEP_S = 5.0
_PRECISION = 1000  # of what the core is told, per second of all of min


class Habits:
    """`run` adds up."""

    def __init__(self, ledger: Ledger, *, half_life: float, uses: Callable[[], Mapping[str, Use]]) -> None:
        self.of: dict[str, float] = {}  # seconds of all of min, by the core's names of the quotas
        self._ledger = ledger
        self._half_life = half_life
        self._uses = uses

    async def run(self) -> None:
        """Until cancelled; at once where nothing is to be remembered."""
        loop = asyncio.get_running_loop()
        before = loop.time()
        while self._half_life > 0:
            await asyncio.sleep(_STEP_S)
            now = loop.time()
            self.add(now - before)
            before = now

    def add(self, seconds: float) -> None:
        """So much time has passed."""
        kept = 0.5 ** (seconds / self._half_life)
        uses = self._uses()
        self.of = {name: self.of.get(name, 0.0) * kept + _share(use) * seconds for name, use in uses.items()}
        told = {name: round(habit * _PRECISION) for name, habit in self.of.items()}
        self._ledger.edit(lambda: [self._ledger.cluster.set_habit(name, habit) for name, habit in told.items()])


def _share(use: Use) -> float:
    return max((used / max(1, use.min.get(resource, 0)) for resource, used in use.used.items()), default=0.0)
