"""A record done again: the same edits on a Cluster of its own, and what is decided beside what is on record."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct, field
from msgspec.json import encode

from nos import _core
from nos.record.decisions import PLANS, Decisions, Plan, plan_of
from nos.record.reader import Copy, Cycle, Edit, Planned, Reader, RecordError

_REFUSALS = KeyError, ValueError, TypeError, RuntimeError  # by the core, and by how it is bound
_MOST_TOLD = 10  # differences
_MOST_SAID = 300  # characters of a part of a plan


class Replayed(Struct, rename="camel"):
    """What came of it."""

    cycles: int = 0
    plans: int = 0  # of nodes to order and to remove
    edits: int = 0
    decisions: int = 0
    seconds: float = 0.0  # that the record took
    ended: str = ""
    different: int = 0  # cycles and plans that decided otherwise
    differences: list[str] = field(default_factory=list)  # the first ones, in words


def replay(lines: Iterable[bytes], progress: Callable[[Replayed], None] = lambda _: None) -> Replayed:
    """Do it all again. Raises RecordError for a file that cannot be used."""
    reader, done = Reader(lines), Replayed()
    for event, now in again(reader):
        done.edits = reader.edits
        done.seconds = event.at
        if isinstance(event, Cycle):
            done.cycles += 1
            done.decisions += event.decided.count
            what = f"cycle {done.cycles}"
        else:
            done.plans += 1
            what = event.name
        found = differences(event.decided, now)
        done.different += bool(found)
        where = f"line {event.line}, {what}, {event.at:.3f} s"
        done.differences += [f"{where}: {one}" for one in found][: _MOST_TOLD - len(done.differences)]
        progress(done)
    done.edits, done.ended = reader.edits, reader.end
    return done


def again(reader: Reader) -> Iterator[tuple[Cycle | Planned, Decisions | Plan]]:
    """Each cycle and plan, with what is decided now. Raises RecordError."""
    cluster, copies = _core.Cluster(), dict[int, _core.Cluster]()
    try:
        policy = _core.Policy(reader.policy)
    except ValueError as error:
        raise RecordError(f"line 1: {error}; use the nos that wrote it") from None
    scheduler = _core.Scheduler(cluster, policy)
    for event in reader:
        match event:
            case Edit():
                _edit(cluster, event)
            case Cycle():
                yield event, Decisions.of(scheduler.schedule())
            case Copy():
                copies[event.number] = cluster.copy()
            case Planned():
                yield event, _plan(copies.pop(event.on, None), event, policy)


def _plan(copy: _core.Cluster | None, event: Planned, policy: _core.Policy) -> Plan:
    if copy is None:
        raise RecordError(f"line {event.line}: there is no copy {event.on}; lines are missing, so record again")
    try:
        for name, arguments in event.edits:
            getattr(copy, name)(**arguments)
        return plan_of(PLANS[event.name](copy, **event.arguments, policy=policy))
    except _REFUSALS as error:
        raise RecordError(f"line {event.line}: the core refuses {event.name}: {error}; record again") from None


def _edit(cluster: _core.Cluster, event: Edit) -> None:
    try:
        getattr(cluster, event.name)(**event.arguments)
    except _REFUSALS as error:
        if not event.refused:
            raise RecordError(f"line {event.line}: the core refuses {event.name}: {error}; record again") from None
    else:
        if event.refused:
            raise RecordError(f"line {event.line}: the core refused this {event.name} and now takes it; record again")


def differences(then: Decisions | Plan, now: Decisions | Plan) -> list[str]:
    """In words; empty: none."""
    if isinstance(then, Decisions) and isinstance(now, Decisions):
        return _of_cycles(then, now)
    if isinstance(then, Decisions) or isinstance(now, Decisions):
        raise TypeError("a cycle is no plan")
    found = []
    for part in {**then, **now}:
        was, is_ = then.get(part), now.get(part)
        if was != is_:
            found.append(f"{part}: {_only(was, is_)} then, and {_only(is_, was)} now")
    return found


def _only(said: Any, other: Any) -> str:
    """What the other does not say, or all, where that is said in another order."""
    if isinstance(said, tuple) and isinstance(other, tuple):
        said = [one for one in said if one not in other] or said
    text = encode(said).decode()
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}..."


def _of_cycles(then: Decisions, now: Decisions) -> list[str]:
    """Pod by Pod. The order counts of binds alone: it says who went first."""
    found = _moved(then.binds, now.binds, lambda bind: f"bound to {_place(bind)}")
    if not found and then.binds != now.binds:
        found.append("Pods were bound in another order")
    found += _moved(then.evictions, now.evictions, lambda one: f"evicted from {one[1]} ({one[2]}) for Pod {one[3]}")
    found += _moved(then.held, now.held, lambda one: f"given room on {one[1]} that others make")
    waits = [[(uid, *reason) for uid, reason in one.waiting.items()] for one in (then, now)]
    return found + _moved(waits[0], waits[1], lambda one: f"left waiting with {one[1]}: {one[2]}")


def _moved(then: Iterable[Any], now: Iterable[Any], words: Callable[[Any], str]) -> list[str]:
    before, after = {one[0]: one for one in then}, {one[0]: one for one in now}
    found = []
    for uid in {**before, **after}:
        was, is_ = before.get(uid), after.get(uid)
        if was != is_:
            told = [words(one) if one else "not" for one in (was, is_)]
            if was is None:
                found.append(f"Pod {uid} was not then, and is now, {told[1]}")
            elif is_ is None:
                found.append(f"Pod {uid} was {told[0]}, and is not now")
            else:
                found.append(f"Pod {uid} was {told[0]}, and is now {told[1]}")
    return found


def _place(bind: Any) -> str:
    _, node, gpus, instances, volumes, ready = bind
    parts = [node]
    if gpus:
        parts.append("GPUs " + ",".join(map(str, gpus)))
    if instances:
        parts.append("slices " + ", ".join(f"{slot}:{profile}@{start}" for slot, profile, start in instances))
    if volumes:
        parts.append("volumes " + ", ".join(name or "(to be made)" for name in volumes))
    return ", ".join(parts) + ("" if ready else ", after a cut")
