"""Which nodes a volume can be used on, or made on, as node terms.

An OR of terms is a tuple; None in its place means every node, an empty one none. The rules are kube-scheduler's.
"""

from collections.abc import Iterable

from nos.kube.node import Node
from nos.kube.selectors import NodeTerm, Requirement, node_matches
from nos.kube.storage import CSIStorageCapacity, PersistentVolume, StorageClass

Terms = tuple[NodeTerm, ...]

_ZONE, _REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
_SUCCESSORS = {  # of each label that says where a volume is, the one that a node may have in its place
    "failure-domain.beta.kubernetes.io/zone": _ZONE,
    "failure-domain.beta.kubernetes.io/region": _REGION,
    _ZONE: _ZONE,
    _REGION: _REGION,
}
_NOWHERE_IN_PARTICULAR = NodeTerm(tuple(Requirement(key, "DoesNotExist") for key in _SUCCESSORS))


def usable_on(volume: PersistentVolume) -> Terms | None:
    """The volume's own node affinity. Its fields are not looked at: kube-scheduler, too, has only labels there."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return None
    terms = [t for t in affinity.required.node_selector_terms or () if t.match_expressions or t.match_fields]
    if any(not term.match_expressions for term in terms):
        return None
    return tuple(NodeTerm(term.match_expressions) for term in terms)


def zones(volume: PersistentVolume) -> tuple[Terms, ...]:
    """An AND of ORs out of the zone and region labels of a bound volume.

    Each OR lets in nodes without any such label, nodes with one of the values (a volume may have several, joined by
    `__`), and those that lack the old label but have the one that came after it.
    """
    labels = volume.metadata.labels or {}
    found = []
    for key, successor in _SUCCESSORS.items():
        values = tuple(value.strip() for value in labels[key].split("__")) if key in labels else ()
        if not values or not all(values):
            continue
        terms = [_NOWHERE_IN_PARTICULAR, NodeTerm((Requirement(key, "In", values),))]
        if successor != key:
            terms.append(NodeTerm((Requirement(key, "DoesNotExist"), Requirement(successor, "In", values))))
        found.append(tuple(terms))
    return tuple(found)


def allowed(storage_class: StorageClass) -> Terms | None:
    """Where the class lets volumes be made."""
    if not storage_class.allowed_topologies:
        return None
    return tuple(
        NodeTerm(tuple(Requirement(label.key, "In", label.values) for label in term.match_label_expressions))
        for term in storage_class.allowed_topologies
        if term.match_label_expressions and all(label.values for label in term.match_label_expressions)
    )


def reached(capacities: Iterable[CSIStorageCapacity]) -> Terms | None:
    """The nodes that have access to one of these."""
    terms: dict[NodeTerm, None] = {}
    for capacity in sorted(capacities, key=lambda capacity: capacity.metadata.key):
        if capacity.node_topology is None:
            continue
        requirements = capacity.node_topology.requirements()
        if not requirements:
            return None
        terms[NodeTerm(requirements)] = None
    return tuple(terms)


def on_node(name: str) -> Terms:
    """That node alone."""
    return (NodeTerm(match_fields=(Requirement("metadata.name", "In", (name,)),)),)


def not_on_nodes(names: Iterable[str]) -> Terms:
    """All but these."""
    fields = tuple(Requirement("metadata.name", "NotIn", (name,)) for name in sorted(names))
    return (NodeTerm(match_fields=fields),)


def of_use(terms: Terms | None, node: Node) -> bool:
    """Whether the node is meant."""
    return terms is None or node_matches(terms, node)
