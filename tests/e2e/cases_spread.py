"""What is easy to get wrong about topology spread, each case with the answer and its arithmetic.

From the documentation of Kubernetes and from its source; that kube-scheduler gives these answers is tested too. A node
will do where (Pods in its domain) + (1 if the Pod counts itself) - (fewest in any domain) is at most maxSkew.
"""

from __future__ import annotations

from tests.e2e.case import Case, NotTaken, node, pod
from tests.e2e.neighbours import HOST, ZONE, called, even, only_in, place, select, spread, there, where
from tests.e2e.world import RED, Object

_NODES = {"a1": place("a", "a1"), "a2": place("a", "a2"), "b1": place("b", "b1"), "bare": place("", "bare")}
_THREE = {**_NODES, "c1": place("c", "c1")}
_ZONED = {"a1", "a2", "b1"}
_WEB = select(app="web")
_A_AND_B = [("a1", there("web")), ("b1", there("web"))]


def _with(nodes: dict[str, Object], **others: Object) -> dict[str, Object]:
    return {**nodes, **others}


_EVEN = [
    # a: 1 + 1 - 0 = 2; b: 0 + 1 - 0 = 1
    Case("even", spread(even(ZONE, _WEB)), _NODES, {"b1"}, [("a1", there("web"))]),
    Case("skew-of-two", spread(even(ZONE, _WEB, 2)), _NODES, _ZONED, [("a1", there("web"))]),
    # Who is not counted adds nothing: a is 1 + 0 - 0 = 1.
    Case("counts-others-only", spread(even(ZONE, _WEB), app="cron"), _NODES, _ZONED, [("a1", there("web"))]),
    Case(
        "counts-others-only-but-too-many",
        spread(even(ZONE, _WEB), app="cron"),
        _NODES,
        {"b1"},  # a: 2 + 0 - 0 = 2
        [("a1", there("web")), ("a2", there("web"))],
    ),
    Case("a-zone-without-any", spread(even(ZONE, _WEB)), _THREE, {"c1"}, _A_AND_B),
    Case("all-zones-have-one", spread(even(ZONE, _WEB)), _NODES, _ZONED, _A_AND_B),
    Case("a-pod-without-a-zone", spread(even(ZONE, _WEB)), _NODES, _ZONED, [("bare", there("web"))]),
    Case("one-that-is-going", spread(even(ZONE, _WEB)), _NODES, _ZONED, [("a1", there("web", terminating=True))]),
    Case("one-that-is-done", spread(even(ZONE, _WEB)), _NODES, _ZONED, [("a1", there("web", phase="Failed"))]),
    Case("one-of-another-namespace", spread(even(ZONE, _WEB)), _NODES, _ZONED, [("a1", there("web", within=RED))]),
    Case(
        "in-another-namespace", spread(even(ZONE, _WEB), within=RED), _NODES, {"b1"}, [("a1", there("web", within=RED))]
    ),
    Case(
        "anyway",
        called("web", like=pod(topologySpreadConstraints=[even(ZONE, _WEB) | {"whenUnsatisfiable": "ScheduleAnyway"}])),
        _NODES,
        set(_NODES),
        [("a1", there("web"))],
    ),
    Case("no-skew", spread(even(ZONE, _WEB, 0)), _NODES, NotTaken("must be greater than zero")),
    Case("twice-the-same-key", spread(even(ZONE, _WEB), even(ZONE, {})), _NODES, NotTaken("Duplicate value")),
]

_DOMAINS = [
    # Two zones where three are wanted: the fewest count as 0, and a and b are 1 + 1 - 0 = 2.
    Case("fewer-domains-than-wanted", spread(even(ZONE, _WEB, minDomains=3)), _NODES, set(), _A_AND_B),
    Case("as-many-domains-as-wanted", spread(even(ZONE, _WEB, minDomains=2)), _NODES, _ZONED, _A_AND_B),
    Case("fewer-domains-and-more-skew", spread(even(ZONE, _WEB, 2, minDomains=9)), _NODES, _ZONED, _A_AND_B),
    Case("fewer-domains-and-none-there", spread(even(ZONE, _WEB, minDomains=9)), _NODES, _ZONED),
    Case(
        "domains-of-a-wish",
        spread(even(ZONE, _WEB, minDomains=2) | {"whenUnsatisfiable": "ScheduleAnyway"}),
        _NODES,
        NotTaken("can only use minDomains if whenUnsatisfiable=DoNotSchedule"),
    ),
]

_POLICIES = [
    # c may not be used, and so is not counted.
    Case(
        "only-where-it-may-go", spread(even(ZONE, _WEB), affinity=only_in("zone", "a", "b")), _THREE, _ZONED, _A_AND_B
    ),
    Case(
        "also-where-it-may-not-go",
        spread(even(ZONE, _WEB, nodeAffinityPolicy="Ignore"), affinity=only_in("zone", "a", "b")),
        _THREE,
        set(),
        _A_AND_B,
    ),
    Case(
        "pods-where-it-may-not-go",
        spread(even(ZONE, _WEB), nodeSelector={"*disk": "ssd"}),
        {"a1": place("a", disk="ssd"), "a2": place("a"), "b1": place("b", disk="ssd")},
        {"a1", "b1"},
        [("a2", there("web")), ("a2", there("web"))],
    ),
    Case(
        "pods-where-it-may-not-go-counted",
        spread(even(ZONE, _WEB, nodeAffinityPolicy="Ignore"), nodeSelector={"*disk": "ssd"}),
        {"a1": place("a", disk="ssd"), "a2": place("a"), "b1": place("b", disk="ssd")},
        {"b1"},  # a: 2 + 1 - 0
        [("a2", there("web")), ("a2", there("web"))],
    ),
    Case(
        "domains-where-it-may-go",
        spread(even(ZONE, _WEB, minDomains=3), affinity=only_in("zone", "a", "b")),
        _THREE,
        set(),  # two domains, three wanted
        [*_A_AND_B, ("c1", there("web"))],
    ),
    Case(
        "taints-are-ignored",
        spread(even(ZONE, _WEB)),
        _with(_NODES, c1=place("c", taints=["k:NoSchedule"])),
        set(),
        _A_AND_B,
    ),
    Case(
        "taints-are-honoured",
        spread(even(ZONE, _WEB, nodeTaintsPolicy="Honor")),
        _with(_NODES, c1=place("c", taints=["k:NoSchedule"])),
        _ZONED,
        _A_AND_B,
    ),
    Case(
        "taints-that-only-evict-are-honoured",
        spread(even(ZONE, _WEB, nodeTaintsPolicy="Honor")),
        _with(_NODES, c1=place("c", taints=["k:NoExecute"])),
        _ZONED,
        _A_AND_B,
    ),
    Case(
        "soft-taints-are-no-matter",
        spread(even(ZONE, _WEB, nodeTaintsPolicy="Honor")),
        _with(_NODES, c1=place("c", taints=["k:PreferNoSchedule"])),
        {"c1"},
        _A_AND_B,
    ),
    Case(
        "tolerated-taints-are-no-matter",
        spread(even(ZONE, _WEB, nodeTaintsPolicy="Honor"), tolerations=[{"key": "k", "operator": "Exists"}]),
        _with(_NODES, c1=place("c", taints=["k:NoSchedule"])),
        {"c1"},
        _A_AND_B,
    ),
    # A full node is none that it may not use.
    Case(
        "a-full-node-counts",
        spread(even(ZONE, _WEB)),
        _with(_NODES, c1={**node({"pods": "0"}), "metadata": {"labels": {ZONE: "c"}}}),
        set(),
        _A_AND_B,
    ),
]

_SELECTORS = [
    # It counts itself: 0 + 1 - 0 = 1 everywhere, whoever is there.
    Case("an-empty-selector-counts-itself-only", spread(even(ZONE, {})), _NODES, _ZONED, [("a1", there("web"))] * 3),
    Case("no-selector-counts-nobody", spread(even(ZONE, None)), _NODES, _ZONED, [("a1", there("web"))] * 3),
    Case(
        "an-empty-selector-with-a-key-that-must-match",
        spread(even(ZONE, {}, matchLabelKeys=[f"{'*app'}"])),
        _NODES,
        {"b1"},
        [("a1", there("web")), ("b1", there("db"))],
    ),
    Case(
        "per-version",
        called("web", version="2", like=pod(topologySpreadConstraints=[even(ZONE, _WEB, matchLabelKeys=["*version"])])),
        _NODES,
        _ZONED,
        [("a1", there("web", version="1"))] * 3,
    ),
    Case(
        "per-version-of-which-there-is-one",
        called("web", version="2", like=pod(topologySpreadConstraints=[even(ZONE, _WEB, matchLabelKeys=["*version"])])),
        _NODES,
        {"b1"},
        [("a1", there("web", version="2")), ("b1", there("web", version="1"))],
    ),
    Case(
        "per-version-without-one",
        spread(even(ZONE, _WEB, matchLabelKeys=["*version"])),
        _NODES,
        {"b1"},
        [("a1", there("web", version="1"))],
    ),
    Case(
        "not-in-counts-who-lacks-the-label",
        spread(even(ZONE, where(("app", "NotIn", ["db"])))),
        _NODES,
        {"b1"},
        [("a1", there()), ("b1", there("db"))],
    ),
    Case(
        "keys-without-a-selector-to-spread",
        spread(even(ZONE, None, matchLabelKeys=["*version"])),
        _NODES,
        NotTaken("must not be specified when labelSelector is not set"),
    ),
    Case(
        "a-key-in-both",
        spread(even(ZONE, _WEB, matchLabelKeys=["*app"])),
        _NODES,
        NotTaken("exists in both matchLabelKeys and labelSelector"),
    ),
]

_SEVERAL = [
    # By zone a and b are even; by host only a2 has none.
    Case("by-zone-and-by-host", spread(even(ZONE, _WEB), even(HOST, _WEB)), _THREE, {"c1"}, _A_AND_B),
    Case(
        "by-zone-and-by-host-in-two-zones",
        spread(even(ZONE, _WEB), even(HOST, _WEB)),
        {name: _NODES[name] for name in ("a1", "a2", "b1")},
        {"a2"},
        _A_AND_B,
    ),
    # A node that lacks one of the keys is in no domain of the other either: what is on it does not count.
    Case(
        "a-node-that-lacks-one-key",
        spread(even(ZONE, _WEB), even(HOST, _WEB)),
        _with(_NODES, a3=place("a")),
        {"a1", "a2", "b1"},
        [("a3", there("web")), ("a3", there("web"))],
    ),
    Case(
        "a-zone-that-lacks-one-key",
        spread(even(ZONE, _WEB), even(HOST, _WEB)),
        _with(_NODES, c1=place("c")),
        {"a2"},  # c is no zone, so a and b are even; a1 and b1 have one by host
        _A_AND_B,
    ),
    Case(
        "the-key-of-a-wish-is-not-needed",
        spread(even(ZONE, _WEB), even(HOST, _WEB) | {"whenUnsatisfiable": "ScheduleAnyway"}),
        _with(_NODES, b2=place("b")),
        {"b1", "b2"},
        [("a1", there("web"))],
    ),
    Case(
        "each-has-its-own-policy",
        spread(
            even(ZONE, _WEB, nodeTaintsPolicy="Honor"),
            even(HOST, _WEB, 2),
        ),
        _with(_NODES, c1=place("c", "c1", taints=["k:NoSchedule"])),
        _ZONED,  # zone: c is out, a and b even; host: c1 has 0, 1 + 1 - 0 = 2
        _A_AND_B,
    ),
]

SPREAD: list[Case] = [*_EVEN, *_DOMAINS, *_POLICIES, *_SELECTORS, *_SEVERAL]
