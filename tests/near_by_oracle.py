"""A slow judge of what is near what: required Pod affinity and anti-affinity, and topology spread.

Written from Kubernetes' documentation, and sharing no code with the core: at every question it looks at all Pods anew.
Pods and nodes are plain dicts, as in tests/oracle.py, with these keys more on a Pod:

- namespace, labels, terminating (it has a node still, but is being deleted);
- near, apart: required terms; liked: preferred ones, with a weight that may be negative;
- spread: constraints.

A term is a topology key and a selector; a selector has `labels` (None selects nobody), `namespaces` and
`namespace_labels` (None adds none, an empty list adds all).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nos._core import PodLabels, PodSelector, PodSpec, PodTerm, Requirement, SelectorTerm, SpreadConstraint, Toleration
from tests.oracle import Held, Ledger, requirement_holds, tolerates

Pod = dict[str, Any]
Selector = dict[str, Any]


@dataclass
class NearBy(Ledger):
    """Who is where. Namespaces have labels; one that nobody told of has none."""

    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    nominated: dict[str, Held] = field(default_factory=dict)  # by uid
    coming: list[Held] = field(default_factory=list)  # of those whom the question counts as if they were there

    def feasible(self, pod: Pod, priority: int = 0) -> set[str]:
        return {name for name in self.nodes if self.has_place(pod, name) and self._with_nominated(pod, name, priority)}

    def has_place(self, pod: Pod, name: str) -> bool:
        return self.fits(pod, name) and self.near_enough(pod, name)

    def _with_nominated(self, pod: Pod, name: str, priority: int) -> bool:
        """There is a place on the node also when those have come who are nominated to it and may not be overtaken."""
        coming = {uid: held for uid, held in self.nominated.items() if held.node == name and held.priority >= priority}
        return replace(self, pods={**self.pods, **coming}, nominated={}, coming=[*coming.values()]).has_place(pod, name)

    def near_enough(self, pod: Pod, name: str) -> bool:
        return (
            not any(self._is_there(term, pod["namespace"], name) for term in pod.get("apart", []))
            and not self._is_kept_off(pod, name)
            and self._has_company(pod, name)
            and self._is_spread(pod, name)
        )

    def selects(self, selector: Selector, home: str, pod: Pod) -> bool:
        """home: where the Pod that has the selector is. Terms always say which namespaces, spread constraints never."""
        theirs = self.namespaces.get(pod["namespace"], {})
        wanted = selector.get("namespace_labels")
        reached = pod["namespace"] in selector.get("namespaces", [home]) or (
            wanted is not None and all(requirement_holds(op, values, theirs.get(key)) for key, op, values in wanted)
        )
        labels = selector["labels"]
        return (
            reached
            and labels is not None
            and all(requirement_holds(op, values, pod["labels"].get(key)) for key, op, values in labels)
        )

    def _settled(self) -> Iterator[tuple[Pod, Mapping[str, str]]]:
        """Pods and the labels of their node. What is on record for a node that is gone is near nothing."""
        for held in self.pods.values():
            if held.node in self.nodes:
                yield held.pod, self.nodes[held.node]["labels"]

    def _is_there(self, term: tuple[str, Selector], home: str, name: str) -> bool:
        key, selector = term
        place = self.nodes[name]["labels"].get(key)
        return place is not None and any(
            labels.get(key) == place and self.selects(selector, home, other) for other, labels in self._settled()
        )

    def _is_kept_off(self, pod: Pod, name: str) -> bool:
        """By the anti-affinity of a Pod that is there."""
        here = self.nodes[name]["labels"]
        return any(
            key in labels and labels[key] == here.get(key) and self.selects(selector, other["namespace"], pod)
            for other, labels in self._settled()
            for key, selector in other.get("apart", [])
        )

    def _has_company(self, pod: Pod, name: str) -> bool:
        """Each term is met by a Pod that all terms select; the first of a kind may be alone."""
        terms, here = pod.get("near", []), self.nodes[name]["labels"]
        if any(key not in here for key, _ in terms):
            return False
        friends = [
            labels
            for other, labels in self._settled()
            if all(self.selects(selector, pod["namespace"], other) for _, selector in terms)
        ]
        if all(any(labels.get(key) == here[key] for labels in friends) for key, _ in terms):
            return True
        alone = not any(key in labels for labels in friends for key, _ in terms)
        return alone and all(self.selects(selector, pod["namespace"], pod) for _, selector in terms)

    def _is_spread(self, pod: Pod, name: str) -> bool:
        required = [constraint for constraint in pod.get("spread", []) if constraint["required"]]
        keys = [constraint["key"] for constraint in required]
        if any(key not in self.nodes[name]["labels"] for key in keys):
            return False
        return all(self._skew(pod, constraint, keys, name) <= constraint["max_skew"] for constraint in required)

    def _skew(self, pod: Pod, constraint: dict[str, Any], keys: list[str], name: str) -> int:
        key, selector = constraint["key"], constraint["selector"]
        there: Counter[str] = Counter()
        for node, facts in self.nodes.items():
            if all(key in facts["labels"] for key in keys) and self._counts(pod, constraint, node):
                there[facts["labels"][key]] += sum(
                    1
                    for held in self.on(node)
                    # An empty selector selects everybody, and yet counts nobody but who is about to come.
                    if (selector["labels"] != [] or any(held is coming for coming in self.coming))
                    and held.pod["namespace"] == pod["namespace"]
                    and not held.pod.get("terminating")
                    and self.selects(selector, pod["namespace"], held.pod)
                )
        fewest = min(there.values()) if len(there) >= max(1, constraint["min_domains"]) else 0
        itself = 1 if self.selects(selector, pod["namespace"], pod) else 0
        return there[self.nodes[name]["labels"][key]] + itself - fewest

    def _counts(self, pod: Pod, constraint: dict[str, Any], name: str) -> bool:
        node = self.nodes[name]
        if constraint["honor_affinity"] and any(
            node["labels"].get(key) != value for key, value in pod.get("selector", {}).items()
        ):
            return False
        return not constraint["honor_taints"] or all(
            any(tolerates(toleration, taint) for toleration in pod.get("tolerations", []))
            for taint in node.get("taints", [])
            if taint[2] in ("NoSchedule", "NoExecute")
        )


def core_labels(pod: Pod) -> PodLabels:
    return PodLabels(pod["namespace"], pod["labels"])


def core_spec(pod: Pod) -> PodSpec:
    """The same Pod for the core; node affinity comes as a selector only."""
    home = pod["namespace"]
    return PodSpec(
        pod["requests"],
        node_selector=pod.get("selector", {}),
        tolerations=[Toleration(*toleration) for toleration in pod.get("tolerations", [])],
        pod_affinity=[PodTerm(key, _selector(selector, home)) for key, selector in pod.get("near", [])],
        pod_anti_affinity=[PodTerm(key, _selector(selector, home)) for key, selector in pod.get("apart", [])],
        preferred_pod_affinity=[
            (weight, PodTerm(key, _selector(selector, home))) for weight, (key, selector) in pod.get("liked", [])
        ],
        preferred_affinity=[
            (weight, SelectorTerm([Requirement(key, "In", [value])])) for weight, key, value in pod.get("drawn_to", [])
        ],
        spread=[
            SpreadConstraint(
                each["key"],
                _selector(each["selector"], home),
                **{name: each[name] for name in ("max_skew", "min_domains", "required", "honor_affinity")},
                honor_taints=each["honor_taints"],
            )
            for each in pod.get("spread", [])
        ],
    )


def _selector(selector: Selector, home: str) -> PodSelector:
    return PodSelector(
        _requirements(selector["labels"]),
        namespaces=selector.get("namespaces", [home]),
        namespace_labels=_requirements(selector.get("namespace_labels")),
    )


def _requirements(each: list[tuple[str, str, list[str]]] | None) -> list[Requirement] | None:
    return None if each is None else [Requirement(*one) for one in each]
