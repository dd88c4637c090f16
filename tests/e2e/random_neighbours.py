"""Random labels, namespaces, terms and spread constraints: few of each, so that most of them meet somebody."""

from __future__ import annotations

from random import Random

from tests.e2e.world import BARE, BLUE, HOME, RED, Object

KEYS = ("zone", "rack", "topology.kubernetes.io/zone", "kubernetes.io/hostname")
_APPS, _TIERS = ("a", "b", "c"), ("x", "y")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def random_places(random: Random, name: str) -> dict[str, str]:
    """Where a node is, as its labels say it. Each may be missing."""
    zone = random.choice("abc")
    labels = {
        "zone": zone,
        "rack": random.choice("123456"),
        "topology.kubernetes.io/zone": zone if random.random() < 0.8 else random.choice("abc"),
        "topology.kubernetes.io/region": random.choice("rs"),
        "kubernetes.io/hostname": name,
    }
    return {key: value for key, value in labels.items() if random.random() < 0.88}


def random_namespaces(random: Random) -> dict[str, dict[str, str]]:
    """HOME and BARE have no labels, or none of these."""
    chosen = {name: {"team": random.choice("ab"), "tier": random.choice("ab")} for name in (RED, BLUE)}
    return {HOME: {"team": "a"} if random.random() < 0.3 else {}, BARE: {}} | chosen


def random_metadata(random: Random, *, often: str = HOME) -> Object:
    labels = {}
    if random.random() < 0.85:
        labels["app"] = random.choice(_APPS)
    if random.random() < 0.6:
        labels["tier"] = random.choice(_TIERS)
    return {"labels": labels, "namespace": often if random.random() < 0.7 else random.choice((HOME, RED, BLUE, BARE))}


def random_terms(random: Random, *kinds: str) -> Object:
    """Required terms of these kinds (podAffinity, podAntiAffinity), and sometimes preferred ones."""
    affinity: Object = {}
    for kind in kinds:
        affinity[kind] = {_REQUIRED: [_term(random) for _ in range(random.choice((1, 1, 1, 1, 2)))]}
    if random.random() < 0.2:
        weighted = [{"weight": random.choice((1, 50, 100)), "podAffinityTerm": _term(random)}]
        affinity.setdefault(random.choice(("podAffinity", "podAntiAffinity")), {})[_PREFERRED] = weighted
    return affinity


def random_spread(random: Random, labels: Object) -> list[Object]:
    """One to three constraints, each with its own key. Their selector mostly selects the Pod itself."""
    keys = random.sample(KEYS, random.choice((1, 1, 2, 3))) if random.random() < 0.6 else ["zone"]
    return [_constraint(random, key, labels) for key in keys]


def _term(random: Random) -> Object:
    term: Object = {"topologyKey": random.choice(KEYS) if random.random() < 0.97 else "absent"}
    if (selector := _selector(random)) is not None:
        term["labelSelector"] = selector
    match random.randrange(10):
        case 0:
            term["namespaces"] = random.sample((HOME, RED, BLUE, BARE), random.choice((1, 2)))
        case 1:
            term["namespaceSelector"] = {}
        case 2:
            term["namespaceSelector"] = {"matchLabels": {"team": random.choice("ab")}}
        case 3:
            operator = random.choice(("NotIn", "In", "Exists", "DoesNotExist"))
            values = {"values": ["a"]} if operator.endswith("In") else {}
            term["namespaceSelector"] = {"matchExpressions": [{"key": "tier", "operator": operator, **values}]}
            term["namespaces"] = [random.choice((HOME, BARE))]
    if "labelSelector" in term and random.random() < 0.5:
        chosen = {"app", "tier"} - set(term["labelSelector"].get("matchLabels", {}))
        if chosen:
            term[random.choice(("matchLabelKeys", "mismatchLabelKeys"))] = [sorted(chosen)[0]]
    return term


def _constraint(random: Random, key: str, labels: Object) -> Object:
    constraint: Object = {
        "topologyKey": key,
        "maxSkew": random.choice((1, 1, 1, 2, 3)),
        "whenUnsatisfiable": "DoNotSchedule" if random.random() < 0.85 else "ScheduleAnyway",
    }
    broad = random.random()
    if broad < 0.4 and "app" in labels:
        constraint["labelSelector"] = {"matchLabels": {"app": labels["app"]}}
    elif broad < 0.7:
        constraint["labelSelector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    elif (selector := _selector(random)) is not None:
        constraint["labelSelector"] = selector
    if constraint["whenUnsatisfiable"] == "DoNotSchedule" and random.random() < 0.3:
        constraint["minDomains"] = random.choice((2, 4, 7) if "zone" in key else (1, 5, 7, 20))
    for policy, other in (("nodeAffinityPolicy", "Ignore"), ("nodeTaintsPolicy", "Honor")):  # than by default
        if random.random() < 0.4:
            constraint[policy] = other if random.random() < 0.8 else random.choice(("Honor", "Ignore"))
    if "labelSelector" in constraint and "tier" not in str(constraint["labelSelector"]) and random.random() < 0.3:
        constraint["matchLabelKeys"] = ["tier"]
    return constraint


def _selector(random: Random) -> Object | None:
    match random.randrange(25):
        case 0:
            return None
        case 1:
            return {}
        case 2 | 3:
            operator = random.choice(("Exists", "DoesNotExist"))
            return {"matchExpressions": [{"key": random.choice(("app", "tier")), "operator": operator}]}
        case 4 | 5 | 6:
            values = random.sample(_APPS, random.choice((1, 2)))
            operator = random.choice(("In", "In", "NotIn"))
            return {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}
        case 7 | 8:
            return {"matchLabels": {"tier": random.choice(_TIERS)}}
        case 9:
            return {
                "matchLabels": {"app": random.choice(_APPS)},
                "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}],
            }
    return {"matchLabels": {"app": random.choice(_APPS)}}
