"""What is easy to get wrong about which nodes a Pod may use, each case with the answer.

From the documentation of Kubernetes and from its source; that kube-scheduler gives these answers is tested too.
"""

from __future__ import annotations

from tests.e2e.case import Case, NotTaken, affinity, node, pod, term, tolerating, wants

_SIZES = {
    "ten": node(size="10"),
    "two": node(size="2"),
    "text": node(size="x"),
    "fraction": node(size="10.5"),
    "none": node(),
}
_ZONES = {"a": node(zone="a"), "b": node(zone="b"), "empty": node(zone=""), "none": node()}
_TAINTS = {
    "plain": node(),
    "soft": node(taints=["k=v:PreferNoSchedule"]),
    "hard": node(taints=["k=v:NoSchedule"]),
    "evicting": node(taints=["k=v:NoExecute"]),
    "other": node(taints=["k=w:NoSchedule"]),
    "both": node(taints=["k=v:NoSchedule", "k=v:NoExecute"]),
}
_CORDONED = {"open": node(), "cordoned": node(cordoned=True)}

_LABELS = [
    Case("gt-counts-no-text", wants(("size", "Gt", ["5"])), _SIZES, {"ten"}),
    Case("lt-counts-no-text", wants(("size", "Lt", ["5"])), _SIZES, {"two"}),
    Case("gt-is-strict", wants(("size", "Gt", ["2"])), _SIZES, {"ten"}),
    Case("gt-of-a-text", wants(("size", "Gt", ["x"])), _SIZES, set()),
    Case("gt-of-more-than-64-bits", wants(("size", "Lt", ["9223372036854775808"])), _SIZES, set()),
    Case("not-in-holds-without-the-label", wants(("zone", "NotIn", ["a"])), _ZONES, {"b", "empty", "none"}),
    Case("not-in-the-empty-value", wants(("zone", "NotIn", [""])), _ZONES, {"a", "b", "none"}),
    Case("in-the-empty-value-needs-the-label", wants(("zone", "In", [""])), _ZONES, {"empty"}),
    Case("exists-takes-the-empty-value", wants(("zone", "Exists", [])), _ZONES, {"a", "b", "empty"}),
    Case("does-not-exist", wants(("zone", "DoesNotExist", [])), _ZONES, {"none"}),
    # A term that cannot be read is void, and harms no other.
    Case(
        "a-void-term-beside-a-good-one",
        pod(affinity=affinity(term(("size", "Gt", ["x"])), term(("size", "In", ["2"])))),
        _SIZES,
        {"two"},
    ),
    Case(
        "a-void-requirement-beside-a-good-one",
        pod(affinity=affinity(term(("size", "Gt", ["x"]), ("size", "In", ["2"])))),
        _SIZES,
        set(),
    ),
    Case(
        "a-value-that-is-no-label", wants(("zone", "NotIn", ["no label!"])), _ZONES, NotTaken("a valid label must be")
    ),
    Case("an-empty-term-matches-nothing", pod(affinity=affinity({})), _ZONES, set()),
    Case("an-empty-term-beside-another", pod(affinity=affinity({}, term(("zone", "In", ["a"])))), _ZONES, {"a"}),
    Case("selector-of-the-empty-value", pod(nodeSelector={"zone": ""}), _ZONES, {"empty"}),
    Case(
        "selector-and-affinity",
        pod(
            nodeSelector={"zone": "a"}, affinity=affinity(term(("zone", "NotIn", ["a"])), term(("zone", "Exists", [])))
        ),
        _ZONES,
        {"a"},
    ),
    Case(
        "fields-and-labels-in-one-term",
        pod(affinity=affinity(term(("zone", "Exists", []), names=[("metadata.name", "In", ["a"])]))),
        {"a": node(zone="a"), "b": node(zone="b")},
        {"a"},
    ),
    Case(
        "fields-and-labels-that-exclude-each-other",
        pod(affinity=affinity(term(("zone", "In", ["b"]), names=[("metadata.name", "In", ["a"])]))),
        {"a": node(zone="a"), "b": node(zone="b")},
        set(),
    ),
    Case(
        "fields-in-one-term-labels-in-the-other",
        pod(affinity=affinity(term(names=[("metadata.name", "In", ["a"])]), term(("zone", "In", ["b"])))),
        _ZONES,
        {"a", "b"},
    ),
    Case(
        "two-names-in-one-term",
        pod(affinity=affinity(term(names=[("metadata.name", "In", ["a"]), ("metadata.name", "In", ["b"])]))),
        _ZONES,
        set(),
    ),
    Case(
        "not-this-name",
        pod(affinity=affinity(term(("zone", "Exists", []), names=[("metadata.name", "NotIn", ["a"])]))),
        _ZONES,
        {"b", "empty"},
    ),
    Case(
        "two-values-of-one-field",
        pod(affinity=affinity(term(names=[("metadata.name", "In", ["a", "b"])]))),
        _ZONES,
        NotTaken("must be only one value"),
    ),
    Case("gt-of-two-values", wants(("size", "Gt", ["1", "2"])), _SIZES, NotTaken("must be specified single value")),
]

_TOLERATIONS = [
    Case("no-toleration", pod(), _TAINTS, {"plain", "soft"}),
    Case("exists", tolerating({"key": "k", "operator": "Exists"}), _TAINTS, set(_TAINTS)),
    Case("everything", tolerating({"operator": "Exists"}), _TAINTS, set(_TAINTS)),
    Case(
        "one-effect",
        tolerating({"operator": "Exists", "effect": "NoSchedule"}),
        _TAINTS,
        {"plain", "soft", "hard", "other"},
    ),
    Case(
        "a-value-and-no-operator",
        tolerating({"key": "k", "value": "v"}),
        _TAINTS,
        {"plain", "soft", "hard", "evicting", "both"},
    ),
    Case("the-empty-value", tolerating({"key": "k", "operator": "Equal"}), _TAINTS, {"plain", "soft"}),
    Case(
        "for-a-while-is-enough",
        tolerating({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}),
        _TAINTS,
        {"plain", "soft", "evicting"},
    ),
    Case(
        "equal-without-a-key",
        tolerating({"operator": "Equal", "value": "v"}),
        _TAINTS,
        NotTaken("operator must be Exists when `key` is empty"),
    ),
    Case(
        "a-taint-compared-by-number",
        tolerating({"key": "k", "operator": "Gt", "value": "1"}),
        _TAINTS,
        NotTaken("supported values"),
    ),
    Case("cordoned", pod(), _CORDONED, {"open"}),
    Case("cordon-tolerated", tolerating({"operator": "Exists"}), _CORDONED, {"open", "cordoned"}),
    Case(
        "cordon-tolerated-by-its-name",
        tolerating({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "operator": "Exists"}),
        _CORDONED,
        {"open", "cordoned"},
    ),
    Case(
        "cordon-is-no-matter-of-eviction",
        tolerating({"key": "node.kubernetes.io/unschedulable", "effect": "NoExecute", "operator": "Exists"}),
        _CORDONED,
        {"open"},
    ),
    Case(
        "runtime-class-brings-selector-and-toleration",
        pod(runtimeClassName="sv-elsewhere"),
        {"a": node(zone="a"), "b": node(zone="b"), "b-gpu": node(zone="b", taints=["gpu:NoSchedule"])},
        {"b", "b-gpu"},
    ),
]

LABELS_AND_TAINTS: list[Case] = [*_LABELS, *_TOLERATIONS]
