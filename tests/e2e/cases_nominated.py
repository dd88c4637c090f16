"""What is easy to get wrong about Pods that are nominated to a node and may come or not, each case with the answer.

From the documentation of Kubernetes and from its source; that kube-scheduler gives these answers is tested too. A node
must do for a Pod both as it is and as it will be when those nominated to it have come, unless the Pod is more important
than they are. What comes to other nodes is left out of account, and who looks for company finds none in them.
"""

from __future__ import annotations

from typing import Any

from tests.e2e.case import Case, container, pod
from tests.e2e.neighbours import HOST, ZONE, called, even, near, place, select, spread, there, with_terms
from tests.e2e.world import Object, Resident

_NODES = {"a1": place("a", "a1"), "a2": place("a", "a2"), "b1": place("b", "b1"), "bare": place("", "bare")}
_ALL = set(_NODES)
_WEB = select(app="web")


def _asks(cpu: str, **spec: Any) -> Object:
    return pod(container({"cpu": cpu}), **spec)


def _to_come(like: Object) -> Resident:
    return Resident(like, "", nominated=True)


_BIG = _to_come(_asks("3"))
_COMING = there("web", nominated=True)

NOMINATED: list[Case] = [
    Case("room-that-is-kept", _asks("2"), _NODES, _ALL - {"a1"}, [("a1", _BIG)]),
    Case("room-that-is-kept-and-enough-beside-it", _asks("1"), _NODES, _ALL, [("a1", _BIG)]),
    Case("room-for-one-less-important", _asks("2", priorityClassName="sv-high"), _NODES, _ALL, [("a1", _BIG)]),
    Case("room-for-one-more-important", _asks("2", priorityClassName="sv-low"), _NODES, _ALL - {"a1"}, [("a1", _BIG)]),
    Case(
        "near-one-that-may-never-come",
        called(like=with_terms(near=[near(ZONE, _WEB)])),
        _NODES,
        set(),
        [("a1", _COMING)],
    ),
    Case(
        "first-though-one-is-to-come",
        called("web", like=with_terms(near=[near(ZONE, _WEB)])),
        _NODES,
        {"a1", "a2", "b1"},
        [("b1", _COMING)],
    ),
    Case(
        "first-though-one-is-to-come-where-no-zone-is",
        called("web", like=with_terms(near=[near(ZONE, _WEB), near(HOST, _WEB)])),
        _NODES,
        {"a1", "a2", "b1"},
        [("bare", _COMING)],
    ),
    Case(
        "apart-from-one-that-is-to-come",
        called(like=with_terms(apart=[near(ZONE, _WEB)])),
        _NODES,
        _ALL - {"a1"},
        [("a1", _COMING)],
    ),
    # kube-scheduler forgets the terms of one that is to come where a Pod without terms is kept off by nobody who is
    # there; nos minds them always. On b1 there is one.
    Case(
        "kept-off-by-one-that-is-to-come",
        called("web"),
        _NODES,
        {"a2", "bare"},
        [
            ("a1", _to_come(called("hermit", like=with_terms(apart=[near(ZONE, _WEB)])))),
            ("b1", Resident(called("hermit", like=with_terms(apart=[near(HOST, _WEB)])), "")),
        ],
    ),
    # a1 with it: 1 + 1 - 0 = 2; a2 without it: 0 + 1 - 0
    Case("spread-beside-one-that-is-to-come", spread(even(ZONE, _WEB)), _NODES, {"a2", "b1"}, [("a1", _COMING)]),
    # Nobody counts on it: b has none for the nodes of a, where it is 1 + 1 - 0 = 2; b1 with it: 1 + 1 - 1
    Case(
        "spread-with-one-to-come-where-there-are-fewest",
        spread(even(ZONE, _WEB)),
        _NODES,
        {"b1"},
        [("a1", there("web")), ("b1", _COMING)],
    ),
    # An empty selector counts nobody who is there, and yet who is to come: a1 is 1 + 1 - 0 = 2.
    Case(
        "spread-by-an-empty-selector-beside-one-that-is-to-come",
        spread(even(ZONE, {})),
        _NODES,
        {"a2", "b1"},
        [("a1", _COMING), ("a2", there("web"))],
    ),
]
