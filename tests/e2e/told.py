"""How much the random Pods told: an answer that is neither no node nor every node is telling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.e2e.kube_verdicts import Verdicts
from tests.e2e.nos_verdicts import Nos, by_name

_ENOUGH = 20  # Pods of one focus, before its share means anything


@dataclass
class Told:
    """Counts by focus."""

    asked: Counter[str] = field(default_factory=Counter)
    telling: Counter[str] = field(default_factory=Counter)
    nowhere: Counter[str] = field(default_factory=Counter)
    not_handled: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    created: int = 0

    def note(self, verdicts: Verdicts, focus_of: Mapping[str, str], nos: Nos, residents: int) -> None:
        pods = by_name(verdicts)
        self.refused += len(verdicts.refused)
        self.created += len(focus_of) + residents
        for name, passed in verdicts.passed.items():
            focus = focus_of[name]
            self.asked[focus] += 1
            self.telling[focus] += 0 < len(passed) < len(verdicts.nodes)
            self.nowhere[focus] += not passed
            for what in nos.not_handled(pods[name]):
                self.not_handled[what] += 1

    def __str__(self) -> str:
        shares = (
            f"{focus} {self.telling[focus]}/{asked} (nowhere {self.nowhere[focus]})"
            for focus, asked in sorted(self.asked.items())
        )
        return (
            f"{self.asked.total()} Pods, {self.telling.total()} of them telling: {', '.join(shares)}; "
            f"{self.refused} of {self.created} refused; not handled by nos: {dict(self.not_handled)}"
        )

    def is_worth_it(self, least: Mapping[str, float]) -> None:
        """Nothing is drawn in vain. least: which share of each focus has to be telling, where it is not 0.4."""
        assert self.refused < 0.15 * self.created, self
        assert self.not_handled.total() < 0.02 * self.asked.total(), self
        for focus, asked in self.asked.items():
            assert asked < _ENOUGH or self.telling[focus] >= least.get(focus, 0.4) * asked, (focus, str(self))
