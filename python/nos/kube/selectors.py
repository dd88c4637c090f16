"""Label requirements and node terms as the API has them: hashable, so that what is made of them can be remembered."""

from msgspec import Struct

from nos import _core


class Requirement(Struct, frozen=True, gc=False):
    """One requirement on a label, or on a field of a node."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class NodeTerm(Struct, rename="camel", frozen=True, gc=False):
    """Requirements on a node that must all hold."""

    match_expressions: tuple[Requirement, ...] | None = None
    match_fields: tuple[Requirement, ...] | None = None


class NodeSelector(Struct, rename="camel", frozen=True, gc=False):
    """Terms of which one must match."""

    node_selector_terms: tuple[NodeTerm, ...] | None = None


def core_requirements(requirements: tuple[Requirement, ...] | None) -> list[_core.Requirement]:
    """The core's spelling. ValueError for an unknown operator."""
    return [_core.Requirement(r.key, r.operator, r.values or ()) for r in requirements or ()]


def core_terms(terms: tuple[NodeTerm, ...] | None) -> list[_core.SelectorTerm]:
    """The core's spelling, without the empty terms, which match no node. ValueError for an unknown operator."""
    return [
        _core.SelectorTerm(core_requirements(term.match_expressions), core_requirements(term.match_fields))
        for term in terms or ()
        if term.match_expressions or term.match_fields
    ]
