"""Which quota counts for what: all quotas as they are written, to the quotas that the core counts.

Who claims a namespace gets it in this order: a CompositeElasticQuota before an ElasticQuota, the older one, the one
with the smaller uid. Nothing here depends on the order in which the quotas came, so a restart changes nothing. What is
wrong with a quota is said of it and costs it no more than it must:

- A namespace that another quota got does not count. A quota that got none of those that it claims counts for nothing.
- An amount that makes no sense is left out, the others count.
- A parent that is not there, or is itself below the quota, is left out: the quota is a root.
- Where the mins of children add up to more than their parent's, the sum counts as its min.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nos.kube.quantity import text
from nos.kube.quota import COMPOSITE, ELASTIC, Bounds, Quota, bounds, name_of


@dataclass(frozen=True, slots=True)
class Counted:
    """A quota as the core is to have it. parent: the core's name of one; empty for a root."""

    namespaces: tuple[str, ...]
    min: Mapping[str, int]
    max: Mapping[str, int]
    parent: str = ""


class Verdict(NamedTuple):
    """What became of a quota, and what to say of it. counted: None where it does not count."""

    counted: Counted | None
    ready: bool
    reason: str
    message: str


@dataclass(slots=True)
class _Findings:
    won: list[str] = field(default_factory=list)  # namespaces
    faults: list[tuple[str, str]] = field(default_factory=list)  # reason, message
    remarks: list[str] = field(default_factory=list)  # of a quota that is in order


def resolve(quotas: Collection[Quota]) -> dict[str, Verdict]:
    """By the core's names of the quotas."""
    known = {quota.name: quota for quota in quotas}
    found = {name: _Findings() for name in known}
    _share_namespaces(known.values(), found)
    bound = {name: bounds(quota.spec) for name, quota in known.items()}
    for name, (_, _, faults) in bound.items():
        found[name].faults += [("InvalidAmount", fault) for fault in faults]
    counts = {name for name, quota in known.items() if found[name].won or not quota.namespaces}
    parents = _parents(known, counts, found)
    _compare_with_children(bound, parents, found)
    return {name: _verdict(found[name], bound[name], name in counts, parents.get(name, "")) for name in known}


def _verdict(found: _Findings, bound: Bounds, counts: bool, parent: str) -> Verdict:
    counted = Counted(tuple(sorted(found.won)), bound.min, bound.max, parent) if counts else None
    if found.faults:
        reason, _ = found.faults[0]
        return Verdict(counted, False, reason, _sentences(message for _, message in found.faults))
    if found.remarks:
        return Verdict(counted, True, "NamespaceContested", _sentences(found.remarks))
    return Verdict(counted, True, "Counting", "")


def _sentences(said: Iterable[str]) -> str:
    return " ".join(f"{one}." for one in said)


def _share_namespaces(quotas: Iterable[Quota], found: Mapping[str, _Findings]) -> None:
    claims: dict[str, list[Quota]] = {}
    for quota in sorted(quotas, key=_rank):
        for namespace in quota.namespaces:
            claims.setdefault(namespace, []).append(quota)
    for namespace, (winner, *losers) in sorted(claims.items()):
        found[winner.name].won.append(namespace)
        for loser in losers:
            found[loser.name].faults.append(
                ("NamespaceTaken", f"Namespace {namespace} counts under {winner.name}: take it out of one of the two")
            )
            found[winner.name].remarks.append(f"Namespace {namespace} is also in {loser.name}, where it does not count")


def _rank(quota: Quota) -> tuple[bool, str, str]:
    # Timestamps of one format, UTC and to the second, sort as text.
    return quota.kind != COMPOSITE, quota.metadata.creation_timestamp, quota.metadata.uid


def _parents(known: Mapping[str, Quota], counts: Collection[str], found: Mapping[str, _Findings]) -> dict[str, str]:
    """By the names of children that count; without the circles."""
    parents: dict[str, str] = {}
    for name in sorted(counts):
        if not (key := known[name].parent):
            continue
        named = [of_kind for kind in (COMPOSITE, ELASTIC) if (of_kind := name_of(kind, key)) in known]
        if not named:
            found[name].faults.append(("ParentNotFound", f"There is no quota {key}, its parent: it counts without one"))
        elif named[0] not in counts:
            found[name].faults.append(
                (
                    "ParentNotCounted",
                    f"Its parent, {known[named[0]].name}, does not count itself: it counts without one",
                )
            )
        else:
            parents[name] = named[0]
    for circle in _circles(parents):
        path = " -> ".join(known[name].name for name in [*circle, circle[0]])
        for name in circle:
            del parents[name]
            found[name].faults.append(("ParentCircle", f"Its parents form a circle, {path}: it counts without one"))
    return parents


def _circles(parents: Mapping[str, str]) -> list[list[str]]:
    """Each begins with its smallest name."""
    circles, done = [], set[str]()
    for start in sorted(parents):
        path: dict[str, None] = {}
        name = start
        while name in parents and name not in done and name not in path:
            path[name] = None
            name = parents[name]
        if name in path:
            way = list(path)
            circle = way[way.index(name) :]
            first = circle.index(min(circle))
            circles.append([*circle[first:], *circle[:first]])
        done.update(path)
    return circles


def _compare_with_children(
    bound: Mapping[str, Bounds], parents: Mapping[str, str], found: Mapping[str, _Findings]
) -> None:
    children: dict[str, list[str]] = {}
    for child, parent in sorted(parents.items()):
        children.setdefault(parent, []).append(child)
    guaranteed = {name: dict(own.min) for name, own in bound.items()}
    for parent in _below_first(children):
        own = bound[parent]
        promised: dict[str, int] = {}
        for child in children[parent]:
            for resource, amount in guaranteed[child].items():
                promised[resource] = promised.get(resource, 0) + amount
        for resource, amount in sorted(promised.items()):
            have = f"The mins of its children add up to {text(resource, amount)} of {resource}"
            if amount > own.min.get(resource, amount):
                own_min = text(resource, own.min[resource])
                said = f"{have}, its own min is {own_min}: their sum counts, raise it or lower theirs"
                found[parent].faults.append(("MinBelowChildren", said))
            if amount > own.max.get(resource, amount):
                own_max = text(resource, own.max[resource])
                said = f"{have}, its max is {own_max}, which holds: raise it or lower theirs"
                found[parent].faults.append(("MaxBelowChildren", said))
            guaranteed[parent][resource] = max(amount, own.min.get(resource, 0))


def _below_first(children: Mapping[str, list[str]]) -> list[str]:
    """Parents, each after those below it. There are no circles."""
    ordered: dict[str, None] = {}
    for parent in children:
        way = [parent]
        while way:
            waits = [child for child in children[way[-1]] if child in children and child not in ordered]
            if waits:
                way += waits
            else:
                ordered[way.pop()] = None
    return list(ordered)
