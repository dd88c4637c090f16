"""What happens to Pods, told to the metrics and, where they are on, to the traces: the one explains the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

from nos import _core
from nos.controller.waiting import Waiting
from nos.observe.metrics.controller import ControllerMetrics

if TYPE_CHECKING:
    from nos.observe.spans import Spans

asked_for: ContextVar[Waiting | None] = ContextVar("asked_for", default=None)  # whom this task's requests are about


class Measures:
    """Is told of each. spans: None where traces are off; then no Pod has a journey."""

    def __init__(self, metrics: ControllerMetrics, spans: Spans | None) -> None:
        self._metrics = metrics
        self._spans = spans

    def cycle(self, began: float, seconds: float, decided: Sequence[tuple[Waiting, _core.Bind]], left: int) -> None:
        """One is over, begun at that moment of time.monotonic(): what it decided, and how many Pods still wait."""
        exemplar = None
        if self._spans:
            cycle = self._spans.cycle(began, seconds, len(decided), left)
            exemplar = cycle.exemplar
            for waiting, bind in decided:
                if waiting.journey is None:
                    pod = waiting.namespace, waiting.name, waiting.uid
                    waiting.journey = self._spans.journey(*pod, waiting.seen)
                waiting.journey.decided(bind.node, cycle)
        self._metrics.scheduling.cycle(seconds, len(decided), exemplar)

    def begin(self, waiting: Waiting, part: str) -> None:
        """Before it can be bound this is being done for it."""
        if waiting.journey:
            waiting.journey.begin(part)

    def over(self, waiting: Waiting, why: str = "") -> None:
        """That is over. why: it has failed."""
        if waiting.journey:
            waiting.journey.over(why)

    def answered(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """A request of this task was answered, or not: then the code is empty."""
        waiting = asked_for.get()
        exemplar = waiting.journey.answered(verb, resource, code, seconds) if waiting and waiting.journey else None
        self._metrics.api.request(verb, resource, code, seconds, exemplar)

    def bound(self, waiting: Waiting) -> None:
        """It has its node."""
        exemplar = None
        if waiting.journey:
            waiting.journey.bound(waiting.code)
            exemplar = waiting.journey.exemplar
        self._metrics.scheduling.bound(waiting.code, time.monotonic() - waiting.seen, exemplar)

    def echoed(self, waiting: Waiting, seconds: float) -> None:
        """The watch showed its Binding so long after the answer."""
        exemplar = waiting.journey.exemplar if waiting.journey else None
        self._metrics.api.echo_seconds.observe(seconds, exemplar)
