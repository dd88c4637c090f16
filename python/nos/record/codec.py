"""A record: the edits of one Cluster and its cycles, one JSON object per line.

    {"nosRecord": 1, "nos": "0.2.0", "policy": "nos", "scrubbed": false}      the first line
    {"value": 0, "PodSpec": {"requests": {"cpu": 500}, ...}}                  a value, before the line that needs it
    {"edit": "upsert_pod", "at": 1.25, "with": {"uid": "u", "spec": {"#": 0}}}
    {"checkpoint": 1}                                                         so many edits made what was there already
    {"cycle": {"binds": ..., "evictions": ..., "held": ..., "waiting": ..., "gone": ...}, "at": 1.5}
    {"copied": 1}                                                             a copy of the Cluster as it is now
    {"plan": "scale_up", "on": 1, "edits": [...], "with": {"groups": ...}, "decided": {"nodes": ...}, "at": 1.75}
    {"happened": "NodesOrdered", "to": "pool", "text": "for 1 Pod", "at": 1.8}     for people
    {"end": "asked to"}                                                       the last line, and why it ends

A value is one of the core's, named by its class, with the arguments that make it; {"#": 0} stands for it where it is
used. A number may be given anew, for another value. A mapping is a JSON object; those of its keys that begin with # get
another # in front. `at` is in seconds since the record began. Edits are the methods of `_core.Cluster` with their
arguments, in its units; "refused" says that the core refused one. Binds: uid, node, GPUs, instances, volumes, ready;
evictions: uid, node, why, for whom; held: uid, node. waiting: code, message and uids of those whose Reason is new since
the cycle before; gone: those that wait no longer. A plan is a function of `_core`, called on the copy after these edits
of the copy; `decisions.plan_of` says what is told of its outcome.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.json import encode

from nos import __version__, _core
from nos.record.decisions import Decisions, Plan

FORMAT = 1
Call = tuple[str, Mapping[str, Any]]  # of a method of `_core.Cluster`, with its arguments by name
_MOST_VALUES = 1 << 14  # that a writer remembers; then it begins anew

# The methods that change a Cluster, with the arguments that may be given by position.
EDITS: Mapping[str, tuple[str, ...]] = {
    "upsert_node": ("name", "spec"),
    "remove_node": ("name",),
    "upsert_pod": ("uid", "spec"),
    "remove_pod": ("uid",),
    "upsert_gang": ("name",),
    "remove_gang": ("name",),
    "upsert_namespace": ("name", "labels"),
    "remove_namespace": ("name",),
    "upsert_quota": ("name", "spec"),
    "remove_quota": ("name",),
    "set_habit": ("name", "habit"),
    "assume": ("uid", "node", "gpus", "instances", "volumes"),
    "forget": ("uid",),
    "hold": ("uid", "node"),
    "release": ("uid",),
    "protect": ("uid", "on"),
    "upsert_budget": ("name", "selector", "allowed"),
    "remove_budget": ("name",),
    "expect": ("spec", "pods"),
    "restore": ("uid", "node"),
    "set_demand": (),
}

TYPES: Mapping[str, type] = {
    name: kind
    for name, kind in vars(_core).items()
    if isinstance(kind, type) and name != "Cluster" and hasattr(kind, "__match_args__")
}


def first_line(policy: str, *, scrubbed: bool = False) -> bytes:
    """policy: how nodes are scored. scrubbed: others stand for all names."""
    return _line({"nosRecord": FORMAT, "nos": __version__, "policy": policy, "scrubbed": scrubbed})


def checkpoint_line(edits: int) -> bytes:
    """What was there already ends here, after so many edits."""
    return _line({"checkpoint": edits})


def last_line(why: str) -> bytes:
    """Why the record ends."""
    return _line({"end": why})


class Writer:
    """Makes the lines in between, each with its newline."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}  # by what the value is made of
        self._seen: dict[int, tuple[object, int]] = {}  # by identity, which spares looking into those that come often
        self._lines: list[bytes] = []
        self._reasons: dict[str, tuple[str, str]] = {}  # code and message by the uid of who waits

    def edit(self, name: str, arguments: Mapping[str, object], at: float, *, refused: bool = False) -> bytes:
        """The lines of an edit."""
        self._begin()
        event = {"edit": name, "at": round(at, 6), "with": self._arguments(arguments)}
        return self._with_values(event | ({"refused": True} if refused else {}))

    def copied(self, copy: int) -> bytes:
        """The line of a copy on which something is to be planned."""
        return _line({"copied": copy})

    def plan(
        self, name: str, on: int, edits: Sequence[Call], arguments: Mapping[str, object], decided: Plan, at: float
    ) -> bytes:
        """The lines of a plan. edits: of the copy."""
        self._begin()
        made = [(edit, self._arguments(of)) for edit, of in edits]
        said = {"plan": name, "on": on, "edits": made, "with": self._arguments(arguments), "decided": decided}
        return self._with_values(said | {"at": round(at, 6)})

    def happened(self, kind: str, to: str, text: str, at: float) -> bytes:
        """The line of something that people are to know."""
        return _line({"happened": kind, "to": to, "text": text, "at": round(at, 6)})

    def cycle(self, outcome: Decisions, at: float) -> bytes:
        """The line of a cycle."""
        now = dict(outcome.waiting)
        fresh: dict[tuple[str, str], list[str]] = {}
        for uid, reason in now.items():
            if self._reasons.get(uid) != reason:
                fresh.setdefault(reason, []).append(uid)
        said = {
            "binds": outcome.binds,
            "evictions": outcome.evictions,
            "held": outcome.held,
            "waiting": [[*reason, uids] for reason, uids in fresh.items()],
            "gone": sorted(self._reasons.keys() - now.keys()),
        }
        self._reasons = now
        return _line({"cycle": said, "at": round(at, 6)})

    def _begin(self) -> None:
        if len(self._seen) > _MOST_VALUES or len(self._numbers) > _MOST_VALUES:
            self._numbers.clear()
            self._seen.clear()

    def _with_values(self, event: object) -> bytes:
        lines, self._lines = self._lines, []
        return b"".join(lines) + _line(event)

    def _arguments(self, arguments: Mapping[str, object]) -> dict[str, object]:
        return {key: self._plain(value, known=True) for key, value in arguments.items()}

    def _plain(self, value: Any, *, known: bool = False) -> object:
        """known: it is the caller's own object, and may come again."""
        if value is None or isinstance(value, str | int | bool):
            return value
        if isinstance(value, Mapping):
            return {f"#{key}" if key.startswith("#") else key: self._plain(one) for key, one in value.items()}
        if type(value).__name__ not in TYPES:
            return [self._plain(one) for one in value]
        seen = self._seen.get(id(value))
        if seen is not None:
            return {"#": seen[1]}
        kind = type(value)
        said = encode({kind.__name__: {name: self._plain(getattr(value, name)) for name in kind.__match_args__}})
        number = self._numbers.get(said)
        if number is None:
            number = self._numbers[said] = len(self._numbers)
            self._lines.append(b'{"value":%d,%s\n' % (number, said[1:]))
        if known:
            self._seen[id(value)] = value, number
        return {"#": number}


def _line(said: object) -> bytes:
    return encode(said) + b"\n"
