"""What is easy to get wrong about Pods that want to be near others, or far from them, each case with the answer.

From the documentation of Kubernetes and from its source; that kube-scheduler gives these answers is tested too.
Everywhere below there are two nodes in zone a, one in zone b, and one without a zone.
"""

from __future__ import annotations

from tests.e2e.case import Case, NotTaken, pod
from tests.e2e.neighbours import HOST, ZONE, called, near, place, select, there, where, with_terms
from tests.e2e.world import BARE, BLUE, HOME, RED, Object, Resident

_NODES = {"a1": place("a", "a1"), "a2": place("a", "a2"), "b1": place("b", "b1"), "bare": place("", "bare")}
_ALL = set(_NODES)
_WEB, _DB = select(app="web"), select(app="db")
_TEAM_A = {"matchLabels": {"team": "a"}}
_RACKS = {
    "a-1": place("a", rack="1"),
    "b-2": place("b", rack="2"),
    "a-2": place("a", rack="2"),
    "b-3": place("b", rack="3"),
}
_NAMED = {
    name: {**node, "metadata": {"labels": {**node["metadata"]["labels"], "kubernetes.io/hostname": f"*{name}"}}}
    for name, node in _NODES.items()
    if name != "bare"
} | {"bare": _NODES["bare"]}


def _near(*terms: Object, app: str = "", within: str = HOME, **labels: str) -> Object:
    return called(app, within=within, like=with_terms(near=list(terms)), **labels)


def _apart(*terms: Object, app: str = "", within: str = HOME, **labels: str) -> Object:
    return called(app, within=within, like=with_terms(apart=list(terms)), **labels)


def _hermit(*terms: Object, within: str = HOME, **how: bool) -> Resident:
    """A resident that wants none of those near it."""
    return Resident(called("hermit", within=within, like=with_terms(apart=list(terms))), "", **how)  # type: ignore[arg-type]


_NEAR = [
    Case("in-the-zone-of-another", _near(near(ZONE, _DB)), _NODES, {"a1", "a2"}, [("a1", there("db"))]),
    Case("on-the-node-of-another", _near(near(HOST, _DB)), _NODES, {"a1"}, [("a1", there("db"))]),
    Case(
        "on-the-node-of-another-by-its-hostname",
        _near(near("kubernetes.io/hostname", _DB)),
        _NAMED,
        {"a1"},
        [("a1", there("db")), ("bare", there("db"))],
    ),
    Case("near-nobody", _near(near(ZONE, _DB)), _NODES, set(), [("a1", there("web"))]),
    Case("its-node-lacks-the-key", _near(near(ZONE, _DB)), _NODES, set(), [("bare", there("db"))]),
    Case("near-one-that-is-going", _near(near(ZONE, _DB)), _NODES, {"b1"}, [("b1", there("db", terminating=True))]),
    Case("near-one-that-is-done", _near(near(ZONE, _DB)), _NODES, set(), [("b1", there("db", phase="Succeeded"))]),
    Case(
        "two-terms-two-keys",
        _near(near(ZONE, _DB), near(HOST, _DB)),
        _NODES,
        {"a1"},
        [("a1", there("db"))],
    ),
    # Every term must be met by Pods that all terms select; two that share the work are none.
    Case(
        "one-pod-must-match-all-terms",
        _near(near(ZONE, _DB), near(ZONE, select(tier="x"))),
        _NODES,
        {"b1"},
        [("a1", there("db")), ("a2", there("", tier="x")), ("b1", there("db", tier="x"))],
    ),
    Case(
        "pods-that-match-all-terms-may-be-in-different-places",
        _near(near(ZONE, _DB), near("*rack", _DB)),
        _RACKS,
        {"a-1", "b-2", "a-2"},  # a-2: the one on a-1 is in its zone, the one on b-2 in its rack
        [("a-1", there("db")), ("b-2", there("db"))],
    ),
    Case(
        "near-some-and-not-too-near",
        called(like=with_terms(near=[near(ZONE, _DB)], apart=[near(HOST, _DB)])),
        _NODES,
        {"a2"},
        [("a1", there("db"))],
    ),
    Case(
        "preferred-terms-forbid-nothing",
        called(
            like=pod(
                affinity={
                    kind: {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 100, "podAffinityTerm": near(ZONE, _DB)}
                        ]
                    }
                    for kind in ("podAffinity", "podAntiAffinity")
                }
            )
        ),
        _NODES,
        _ALL,
        [("a1", there("db"))],
    ),
]

_FIRST = [
    Case("first-of-a-group", _near(near(ZONE, _WEB), app="web"), _NODES, {"a1", "a2", "b1"}),
    Case("second-of-a-group", _near(near(ZONE, _WEB), app="web"), _NODES, {"b1"}, [("b1", there("web"))]),
    # Whoever is in no zone is near nobody by zone: the group has not begun.
    Case(
        "first-though-one-is-where-no-zone-is",
        _near(near(ZONE, _WEB), app="web"),
        _NODES,
        {"a1", "a2", "b1"},
        [("bare", there("web"))],
    ),
    # By host it has: one of the two keys is enough to have begun, and then all terms must be met.
    Case(
        "not-first-where-one-key-counts",
        _near(near(ZONE, _WEB), near(HOST, _WEB), app="web"),
        _NODES,
        set(),
        [("bare", there("web"))],
    ),
    Case("first-needs-all-keys", _near(near(ZONE, _WEB), near("*rack", _WEB), app="web"), _RACKS, set(_RACKS)),
    Case("first-where-no-node-has-the-key", _near(near("*rack", _WEB), app="web"), _NODES, set()),
    Case("first-must-match-itself", _near(near(ZONE, _WEB), app="db"), _NODES, set()),
    Case(
        "first-must-match-all-its-terms",
        _near(near(ZONE, _WEB), near(ZONE, select(tier="x")), app="web"),
        _NODES,
        set(),
    ),
    Case("first-by-another-namespace", _near(near(ZONE, _WEB, namespaces=[RED]), app="web"), _NODES, set()),
    Case(
        "first-by-hostname",
        _near(near("kubernetes.io/hostname", _WEB), app="web"),
        _NAMED,
        {"a1", "a2", "b1"},
    ),
]

_APART = [
    Case("not-in-the-zone-of-another", _apart(near(ZONE, _DB)), _NODES, {"b1", "bare"}, [("a1", there("db"))]),
    Case("not-on-the-node-of-another", _apart(near(HOST, _DB)), _NODES, _ALL - {"a1"}, [("a1", there("db"))]),
    Case(
        "not-on-the-node-of-another-by-its-hostname",
        _apart(near("kubernetes.io/hostname", _DB)),
        _NAMED,
        {"a1", "b1", "bare"},
        [("a2", there("db")), ("bare", there("db"))],
    ),
    Case("apart-from-its-own-kind", _apart(near(ZONE, _WEB), app="web"), _NODES, _ALL),
    Case(
        "one-term-of-two-is-enough",
        _apart(near(ZONE, _DB), near(HOST, select(tier="x"))),
        _NODES,
        {"a2", "bare"},
        [("b1", there("db")), ("a1", there("", tier="x"))],
    ),
    Case(
        "apart-from-one-that-is-going",
        _apart(near(ZONE, _DB)),
        _NODES,
        {"b1", "bare"},
        [("a1", there("db", terminating=True)), ("b1", there("db", phase="Failed"))],
    ),
    Case("kept-off-by-another", called("web"), _NODES, {"b1", "bare"}, [("a1", _hermit(near(ZONE, _WEB)))]),
    Case("not-kept-off-by-another", called("db"), _NODES, _ALL, [("a1", _hermit(near(ZONE, _WEB)))]),
    Case(
        "kept-off-by-one-that-is-going",
        called("web"),
        _NODES,
        {"b1", "bare"},
        [("a1", _hermit(near(ZONE, _WEB), terminating=True))],
    ),
    Case("kept-off-by-one-without-a-zone", called("web"), _NODES, _ALL, [("bare", _hermit(near(ZONE, _WEB)))]),
    Case(
        "kept-off-by-hostname",
        called("web"),
        _NAMED,
        {"a2", "b1", "bare"},
        [("a1", _hermit(near("kubernetes.io/hostname", _WEB)))],
    ),
    Case(
        "kept-off-by-one-of-two-terms",
        called("web"),
        _NODES,
        {"a2", "b1", "bare"},
        [("a1", _hermit(near(HOST, _WEB), near(ZONE, _DB)))],
    ),
]

_NAMESPACES = [
    Case(
        "its-own-namespace",
        _near(near(ZONE, _DB)),
        _NODES,
        {"b1"},
        [("a1", there("db", within=RED)), ("b1", there("db"))],
    ),
    Case(
        "a-namespace-by-its-name",
        _near(near(ZONE, _DB, namespaces=[RED])),
        _NODES,
        {"a1", "a2"},
        [("a1", there("db", within=RED)), ("b1", there("db"))],
    ),
    Case(
        "namespaces-by-their-labels",
        _near(near(ZONE, _DB, namespaceSelector=_TEAM_A)),
        _NODES,
        {"a1", "a2"},
        [("a1", there("db", within=RED)), ("b1", there("db", within=BLUE)), ("b1", there("db"))],
    ),
    Case(
        "by-name-or-by-labels",
        _near(near(ZONE, _DB, namespaces=[BLUE], namespaceSelector=_TEAM_A)),
        _NODES,
        {"a1", "a2", "b1"},
        [("a1", there("db", within=RED)), ("b1", there("db", within=BLUE))],
    ),
    Case(
        "an-empty-namespace-selector-is-every-namespace",
        _near(near(ZONE, _DB, namespaceSelector={})),
        _NODES,
        {"a1", "a2", "b1"},
        [("a1", there("db", within=BARE)), ("b1", there("db"))],
    ),
    Case(
        "labels-of-no-namespace",
        _near(near(ZONE, _DB, namespaceSelector={"matchLabels": {"team": "z"}})),
        _NODES,
        set(),
        [("a1", there("db"))],
    ),
    Case(
        "a-namespace-without-the-label",
        _near(
            near(
                ZONE,
                _DB,
                namespaceSelector={"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["b"]}]},
            )
        ),
        _NODES,
        {"a1", "a2"},
        [("a1", there("db", within=BARE)), ("b1", there("db", within=BLUE))],
    ),
    Case(
        "kept-off-in-its-own-namespace-only",
        called("web"),
        _NODES,
        _ALL,
        [("a1", _hermit(near(ZONE, _WEB), within=RED))],
    ),
    Case(
        "kept-off-by-name-from-another-namespace",
        called("web"),
        _NODES,
        {"b1", "bare"},
        [("a1", _hermit(near(ZONE, _WEB, namespaces=[HOME]), within=RED))],
    ),
    Case(
        "kept-off-everywhere",
        called("web", within=BARE),
        _NODES,
        {"b1", "bare"},
        [("a1", _hermit(near(ZONE, _WEB, namespaceSelector={})))],
    ),
    Case(
        "kept-off-by-the-labels-of-its-namespace",
        called("web", within=RED),
        _NODES,
        {"b1", "bare"},
        [("a1", _hermit(near(ZONE, _WEB, namespaceSelector=_TEAM_A)))],
    ),
    Case(
        "not-kept-off-by-the-labels-of-another",
        called("web", within=BLUE),
        _NODES,
        _ALL,
        [("a1", _hermit(near(ZONE, _WEB, namespaceSelector=_TEAM_A)))],
    ),
]

_SELECTORS = [
    Case("no-selector-selects-nobody", _apart(near(ZONE, None)), _NODES, _ALL, [("a1", there("db"))]),
    Case("near-whom-no-selector-selects", _near(near(ZONE, None)), _NODES, set(), [("a1", there("db"))]),
    Case("an-empty-selector-selects-everybody", _apart(near(ZONE, {})), _NODES, {"b1", "bare"}, [("a1", there())]),
    Case("near-anybody", _near(near(ZONE, {})), _NODES, {"b1"}, [("b1", there())]),
    Case("near-anybody-and-first", _near(near(ZONE, {})), _NODES, {"a1", "a2", "b1"}),
    Case("kept-off-by-no-selector", called("web"), _NODES, _ALL, [("a1", _hermit(near(ZONE, None)))]),
    Case("kept-off-as-everybody", called("web"), _NODES, {"b1", "bare"}, [("a1", _hermit(near(ZONE, {})))]),
    Case(
        "not-in-selects-who-lacks-the-label",
        _near(near(ZONE, where(("app", "NotIn", ["web"])))),
        _NODES,
        {"b1"},
        [("a1", there("web")), ("b1", there())],
    ),
    Case(
        "labels-and-expressions",
        _near(near(ZONE, {**_DB, **where(("tier", "DoesNotExist", []))})),
        _NODES,
        {"b1"},
        [("a1", there("db", tier="x")), ("b1", there("db"))],
    ),
    Case(
        "keys-that-must-match",
        _near(near(ZONE, _WEB, matchLabelKeys=["*version"]), app="web", version="2"),
        _NODES,
        {"b1"},
        [("a1", there("web", version="1")), ("b1", there("web", version="2"))],
    ),
    Case(
        "keys-that-must-not-match",
        _near(near(ZONE, _WEB, mismatchLabelKeys=["*version"]), app="web", version="2"),
        _NODES,
        {"a1", "a2"},
        [("a1", there("web", version="1")), ("b1", there("web", version="2"))],
    ),
    Case(
        "keys-that-the-pod-lacks",
        _near(near(ZONE, _WEB, matchLabelKeys=["*version"]), app="web"),
        _NODES,
        {"a1", "a2", "b1"},
        [("a1", there("web", version="1")), ("b1", there("web", version="2"))],
    ),
    Case(
        "first-of-its-version",
        _near(near(ZONE, _WEB, matchLabelKeys=["*version"]), app="web", version="2"),
        _NODES,
        {"a1", "a2", "b1"},
        [("a1", there("web", version="1"))],
    ),
    Case(
        "kept-off-by-its-version",
        called("web", version="2"),
        _NODES,
        {"b1", "bare"},
        [("a1", Resident(_apart(near(ZONE, _WEB, matchLabelKeys=["*version"]), app="web", version="2"), ""))],
    ),
    Case(
        "not-kept-off-by-another-version",
        called("web", version="3"),
        _NODES,
        _ALL,
        [("a1", Resident(_apart(near(ZONE, _WEB, matchLabelKeys=["*version"]), app="web", version="2"), ""))],
    ),
    Case(
        "keys-without-a-selector",
        _near(near(ZONE, None, matchLabelKeys=["*version"]), version="2"),
        _NODES,
        NotTaken("must not be specified when labelSelector is not set"),
    ),
    Case("a-term-without-a-key", _near(near("", _WEB)), _NODES, NotTaken("can not be empty")),
]

PODS_NEAR_BY: list[Case] = [*_NEAR, *_FIRST, *_APART, *_NAMESPACES, *_SELECTORS]
