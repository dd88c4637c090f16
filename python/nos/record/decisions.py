"""What the core decided, as plain data: equal if the decisions are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nos import _core

Plan = Mapping[str, Any]  # by part

# The functions of the core that plan, on a copy of a Cluster that nobody needs afterwards.
PLANS: Mapping[str, Callable[..., Any]] = {"scale_up": _core.scale_up, "scale_down": _core.scale_down}


class Decisions:
    """Those of a cycle."""

    def __init__(
        self,
        binds: Sequence[Any],
        evictions: Sequence[Any],
        held: Sequence[Any],
        waiting: Mapping[str, tuple[str, str]],
    ) -> None:
        self.binds = tuples(binds)
        self.evictions = tuples(evictions)
        self.held = tuples(held)
        self.waiting = waiting  # code and message by uid

    @classmethod
    def of(cls, outcome: _core.Outcome) -> "Decisions":
        """Those of the core."""
        return cls(
            _binds(outcome.binds),
            [(e.uid, e.node, e.why, e.for_uid) for e in outcome.evictions],
            outcome.held,
            {uid: (reason.code, reason.message) for uid, reason in outcome.waiting},
        )

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.binds) + len(self.evictions) + len(self.held) + len(self.waiting)


def plan_of(outcome: _core.ScaleUp | _core.ScaleDown) -> Plan:
    """nodes: group, uids and cuts. binds: as of a cycle. steps: nodes that go, moves, new nodes, and what is saved. A
    move: uid and node, or # and the place of a new one among all. left, kept: who (uid, node) and why, in words."""
    if isinstance(outcome, _core.ScaleUp):
        binds = sorted(_binds(outcome.binds))  # in no order that says anything
        found = {"nodes": _nodes(outcome.nodes), "binds": binds, "left": outcome.left}
        return {part: tuples(said) for part, said in found.items()} | {"price": outcome.price}
    new = [node.name for step in outcome.steps for node in step.new]
    named = {name: f"#{place}" for place, name in enumerate(new)}  # a name has the group's in it
    steps = []
    for step in outcome.steps:
        moves = [(uid, named.get(node, node)) for uid, node in step.moves]
        steps.append((step.nodes, moves, _nodes(step.new), step.saved))
    return {"steps": tuples(steps), "kept": tuples(outcome.kept)}


def tuples(value: Any) -> Any:
    """Each list in it as a tuple."""
    return tuple(tuples(one) for one in value) if isinstance(value, list | tuple) else value


def _nodes(nodes: Sequence[_core.NewNode]) -> list[Any]:
    return [(node.group, node.pods, node.cuts) for node in nodes]


def _binds(binds: Sequence[_core.Bind]) -> list[Any]:
    return [(b.uid, b.node, b.gpus, b.instances, b.volumes, b.ready) for b in binds]
