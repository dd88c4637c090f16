"""Selectors as the API has them: hashable, so that what is made of them can be remembered."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from nos import _core


class Requirement(Struct, frozen=True, gc=False):
    """One requirement on a label, or on a field of a node."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class LabelSelector(Struct, rename="camel", gc=False):
    """Requirements that must all hold; none at all: everything matches. Where there is no selector nothing does."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Requirement, ...] | None = None

    def requirements(self) -> tuple[Requirement, ...]:
        """All of them, in one form."""
        return (*equal(self.match_labels or {}), *(self.match_expressions or ()))


class NodeTerm(Struct, rename="camel", frozen=True, gc=False):
    """Requirements on a node that must all hold; one without any matches no node."""

    match_expressions: tuple[Requirement, ...] | None = None
    match_fields: tuple[Requirement, ...] | None = None


class NodeSelector(Struct, rename="camel", frozen=True, gc=False):
    """Terms of which one must match."""

    node_selector_terms: tuple[NodeTerm, ...] | None = None


def equal(labels: Mapping[str, str]) -> Iterable[Requirement]:
    """That each label has this value."""
    return (Requirement(key, "In", (value,)) for key, value in labels.items())


def core_requirements(requirements: Iterable[Requirement] | None) -> list[_core.Requirement]:
    """The core's spelling. ValueError for an unknown operator."""
    return [_core.Requirement(r.key, r.operator, r.values or ()) for r in requirements or ()]


def core_terms(terms: Iterable[NodeTerm] | None) -> list[_core.SelectorTerm]:
    """The core's spelling, without the empty terms, which match no node. ValueError for an unknown operator."""
    return [core_term(term) for term in terms or () if term.match_expressions or term.match_fields]


def core_term(term: NodeTerm) -> _core.SelectorTerm:
    """The core's spelling. ValueError for an unknown operator."""
    return _core.SelectorTerm(core_requirements(term.match_expressions), core_requirements(term.match_fields))
