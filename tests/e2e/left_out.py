"""What a Pod says, piece by piece: each can be left out, to see whether it made a difference.

So it is known that no field is drawn in vain: of each, some Pods must have had another answer without it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random

from tests.e2e.world import Object

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
# The rarer comes first; what nearly all have is left out where there is nothing else.
_COMMON = {
    "podAffinity": 1,
    "podAntiAffinity": 1,
    "spread": 1,
    "volumes": 1,
    "labels": 2,
    "tolerations": 2,
}
Cut = Callable[[Object], bool]  # whether there was something to leave out


def without_each(random: Random, pod: Object, most: int) -> Iterator[tuple[Object, str]]:
    """Copies of the Pod with one piece less, and which; at most so many of them."""
    for piece in sorted(random.sample(sorted(PIECES), len(PIECES)), key=lambda piece: _COMMON.get(piece, 0)):
        less = copy.deepcopy(pod)
        if most and PIECES[piece](less):
            most -= 1
            yield less, piece


def _terms(pod: Object, *kinds: str) -> Iterator[Object]:
    for kind in kinds or ("podAffinity", "podAntiAffinity"):
        yield from pod["spec"].get("affinity", {}).get(kind, {}).get(_REQUIRED, [])


def _constraints(pod: Object) -> Iterator[Object]:
    for constraint in pod["spec"].get("topologySpreadConstraints", []):
        if constraint["whenUnsatisfiable"] == "DoNotSchedule":
            yield constraint


def _of_each(find: Callable[[Object], Iterator[Object]], key: str) -> Cut:
    return lambda pod: sum(each.pop(key, None) is not None for each in find(pod)) > 0


def _of_spec(key: str) -> Cut:
    return lambda pod: bool(pod["spec"].pop(key, None))


def _kind(kind: str) -> Cut:
    return lambda pod: bool(pod["spec"].get("affinity", {}).pop(kind, None))


def _all_but_the_first_term(pod: Object) -> bool:
    affinity = pod["spec"].get("affinity", {})
    several = [each[_REQUIRED] for kind, each in affinity.items() if kind != "nodeAffinity" and _REQUIRED in each]
    several = [terms for terms in several if len(terms) > 1]
    for terms in several:
        del terms[1:]
    return bool(several)


def _all_but_the_first_constraint(pod: Object) -> bool:
    constraints = list(_constraints(pod))
    pod["spec"]["topologySpreadConstraints"] = constraints[:1]
    return len(constraints) > 1


def _all_but_the_first_volume(pod: Object) -> bool:
    volumes = pod["spec"].get("volumes", [])
    pod["spec"]["volumes"] = volumes[:1]
    return len(volumes) > 1


def _more_skew_than_one(pod: Object) -> bool:
    more = [constraint for constraint in _constraints(pod) if constraint["maxSkew"] > 1]
    for constraint in more:
        constraint["maxSkew"] = 1
    return bool(more)


def _rules(pod: Object) -> bool:
    return sum(each.pop("restartPolicyRules", None) is not None for each in pod["spec"]["containers"]) > 0


PIECES: dict[str, Cut] = {
    "podAffinity": _kind("podAffinity"),
    "podAntiAffinity": _kind("podAntiAffinity"),
    "more than one term": _all_but_the_first_term,
    "namespaces": _of_each(_terms, "namespaces"),
    "namespaceSelector": _of_each(_terms, "namespaceSelector"),
    "matchLabelKeys": _of_each(_terms, "matchLabelKeys"),
    "mismatchLabelKeys": _of_each(_terms, "mismatchLabelKeys"),
    "labels": lambda pod: bool(pod["metadata"].pop("labels", None)),
    "spread": _of_spec("topologySpreadConstraints"),
    "more than one constraint": _all_but_the_first_constraint,
    "maxSkew": _more_skew_than_one,
    "minDomains": _of_each(_constraints, "minDomains"),
    "nodeAffinityPolicy": _of_each(_constraints, "nodeAffinityPolicy"),
    "nodeTaintsPolicy": _of_each(_constraints, "nodeTaintsPolicy"),
    "matchLabelKeys of a constraint": _of_each(_constraints, "matchLabelKeys"),
    "nodeSelector": _of_spec("nodeSelector"),
    "tolerations": _of_spec("tolerations"),
    "priority": _of_spec("priorityClassName"),
    "volumes": _of_spec("volumes"),
    "more than one volume": _all_but_the_first_volume,
    "restartPolicyRules": _rules,
}
