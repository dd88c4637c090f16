"""What a Pod's affinity says: of nodes, and of the Pods beside it."""

from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.json import Decoder

from nos import _core
from nos.kube.selectors import LabelSelector, NodeSelector, NodeTerm, core_requirements, core_term, core_terms

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class _PreferredNodes(Struct):
    weight: int = 0
    preference: NodeTerm = field(default_factory=NodeTerm)


class _NodeAffinity(Struct):
    required: NodeSelector | None = field(default=None, name=_REQUIRED)
    preferred: list[_PreferredNodes] | None = field(default=None, name=_PREFERRED)


class _PodTerm(Struct, rename="camel"):
    topology_key: str = ""
    label_selector: LabelSelector | None = None
    namespaces: list[str] | None = None
    namespace_selector: LabelSelector | None = None


class _PreferredPods(Struct, rename="camel"):
    weight: int = 0
    pod_affinity_term: _PodTerm = field(default_factory=_PodTerm)


class _PodAffinity(Struct):
    required: list[_PodTerm] | None = field(default=None, name=_REQUIRED)
    preferred: list[_PreferredPods] | None = field(default=None, name=_PREFERRED)


class _Affinity(Struct, rename="camel"):
    node_affinity: _NodeAffinity | None = None
    pod_affinity: _PodAffinity | None = None
    pod_anti_affinity: _PodAffinity | None = None


_affinity = Decoder(_Affinity | None).decode


def names_pods(raw: bytes) -> bool:
    """Whether an affinity may speak of Pods; then it means something else in each namespace."""
    return b'"podA' in raw


class Affinity:
    """One affinity, in the core's words. ValueError for what makes no sense."""

    def __init__(self, raw: bytes, namespace: str) -> None:
        affinity = _affinity(raw) or _Affinity()
        self._nodes = affinity.node_affinity or _NodeAffinity()
        self._pods = affinity.pod_affinity or _PodAffinity()
        self._anti = affinity.pod_anti_affinity or _PodAffinity()
        self._namespace = namespace

    def required_nodes(self) -> list[_core.SelectorTerm] | None:
        """An OR of terms; None where every node will do."""
        required = self._nodes.required
        return None if required is None else core_terms(required.node_selector_terms)

    def preferred_nodes(self) -> list[tuple[int, _core.SelectorTerm]]:
        """Terms with their weights. An empty one matches no node, as a required one."""
        return [
            (preferred.weight, core_term(preferred.preference))
            for preferred in self._nodes.preferred or ()
            if preferred.weight and preferred.preference != NodeTerm()
        ]

    def required_pods(self) -> list[_core.PodTerm]:
        """Pods of which there must be one near by, for each term."""
        return [self._term(term) for term in self._pods.required or ()]

    def required_anti_pods(self) -> list[_core.PodTerm]:
        """Pods of which there must be none near by."""
        return [self._term(term) for term in self._anti.required or ()]

    def preferred_pods(self) -> list[tuple[int, _core.PodTerm]]:
        """Pods that are liked near by, with a weight; a negative one: disliked."""
        return [*self._weighted(self._pods, 1), *self._weighted(self._anti, -1)]

    def _weighted(self, affinity: _PodAffinity, sign: int) -> Iterator[tuple[int, _core.PodTerm]]:
        for preferred in affinity.preferred or ():
            if preferred.weight:
                yield sign * preferred.weight, self._term(preferred.pod_affinity_term)

    def _term(self, term: _PodTerm) -> _core.PodTerm:
        # matchLabelKeys and mismatchLabelKeys are no more than what the API server made of them in labelSelector.
        namespaces, others = term.namespaces or [], term.namespace_selector
        if not namespaces and others is None:
            namespaces = [self._namespace]
        return _core.PodTerm(
            term.topology_key,
            _core.PodSelector(
                _core_selector(term.label_selector), namespaces=namespaces, namespace_labels=_core_selector(others)
            ),
        )


def _core_selector(selector: LabelSelector | None) -> list[_core.Requirement] | None:
    return None if selector is None else core_requirements(selector.requirements())
