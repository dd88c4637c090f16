"""How much the random Pods told: an answer that is neither no node nor every node is telling."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.e2e.drawn import Drawn
from tests.e2e.kube_verdicts import Verdicts
from tests.e2e.left_out import PIECES
from tests.e2e.nos_verdicts import Nos, by_name

_ENOUGH = 20  # Pods of one focus, before its share means anything
# A claim that cannot be bound yet keeps its Pod waiting wherever it is; of a mix one thing is enough.
_LEAST_TELLING = {"stuck": 0.0, "mix": 0.2, "rough": 0.3, "alone": 0.2, "measured": 0.2, "volumes": 0.1, "limited": 0.2}


@dataclass
class Told:
    """Counts by focus."""

    asked: Counter[str] = field(default_factory=Counter)
    telling: Counter[str] = field(default_factory=Counter)
    nowhere: Counter[str] = field(default_factory=Counter)
    not_handled: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # pieces of a Pod
    mattered: Counter[str] = field(default_factory=Counter)  # those without which the answer was another one
    refused: int = 0
    created: int = 0

    def note(self, verdicts: Verdicts, drawn: Drawn, nos: Nos) -> None:
        pods, passed_by = by_name(verdicts), verdicts.passed
        self.refused += len(verdicts.refused)
        self.created += len(drawn.probes) + len(drawn.world.residents)
        for less, (whole, piece) in drawn.without.items():
            if less in passed_by and whole in passed_by:
                self.left_out[piece] += 1
                self.mattered[piece] += passed_by[less] != passed_by[whole]
        for name, focus in drawn.focus_of.items():
            if name not in passed_by:
                continue
            passed = passed_by[name]
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
            f"{self.refused} of {self.created} refused; not handled by nos: {dict(self.not_handled)}; mattered: "
            + ", ".join(f"{piece} {self.mattered[piece]}/{count}" for piece, count in sorted(self.left_out.items()))
        )

    def is_worth_it(self) -> None:
        """Nothing is drawn in vain: there are telling answers to each focus, and each piece of a Pod mattered."""
        for piece in PIECES:
            assert self.mattered[piece] > 0, (piece, str(self))
        assert self.refused < 0.15 * self.created, self
        assert self.not_handled.total() < 0.02 * self.asked.total(), self
        for focus, asked in self.asked.items():
            assert asked < _ENOUGH or self.telling[focus] >= _LEAST_TELLING.get(focus, 0.35) * asked, (focus, str(self))
