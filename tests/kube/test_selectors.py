"""Selectors evaluated here, as Kubernetes does it."""

import json

import pytest
from msgspec.json import decode

from nos.kube.selectors import LabelSelector, NodeSelector, Requirement, matches, node_matches
from tests.kube.objects import node

LABELS = {"zone": "a", "cores": "64", "gpu": ""}


@pytest.mark.parametrize(
    ("key", "operator", "values", "holds"),
    [
        ("zone", "In", ("a", "b"), True),
        ("zone", "In", ("b",), False),
        ("absent", "In", ("a",), False),
        ("zone", "NotIn", ("b",), True),
        ("zone", "NotIn", ("a",), False),
        ("absent", "NotIn", ("a",), True),
        ("gpu", "Exists", (), True),
        ("absent", "Exists", (), False),
        ("absent", "DoesNotExist", (), True),
        ("gpu", "DoesNotExist", (), False),
        ("cores", "Gt", ("63",), True),
        ("cores", "Gt", ("64",), False),
        ("cores", "Lt", ("65",), True),
        ("zone", "Gt", ("1",), False),
        ("absent", "Lt", ("1",), False),
        ("cores", "Gt", ("one",), False),
        ("cores", "Gt", (), False),
        ("cores", "Near", ("64",), False),
    ],
)
def test_a_requirement(key: str, operator: str, values: tuple[str, ...], holds: bool) -> None:
    assert matches([Requirement(key, operator, values)], LABELS) is holds


def test_all_requirements_must_hold_and_none_ask_nothing() -> None:
    zone, absent = Requirement("zone", "Exists"), Requirement("absent", "Exists")
    assert matches([], LABELS)
    assert matches([zone], LABELS)
    assert not matches([zone, absent], LABELS)


def test_one_term_must_match_and_an_empty_one_does_not() -> None:
    by_label = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    by_name = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n-2"]}]}

    def match(*terms: object) -> list[str]:
        selector = decode(json.dumps({"nodeSelectorTerms": terms}), type=NodeSelector)
        nodes = node("n-1", labels={"zone": "a"}), node("n-2", labels={"zone": "b"})
        return [n.metadata.name for n in nodes if node_matches(selector.node_selector_terms or (), n)]

    assert match() == []
    assert match({}) == []
    assert match(by_label) == ["n-1"]
    assert match(by_name) == ["n-2"]
    assert match(by_label, by_name) == ["n-1", "n-2"]
    assert match(by_label | by_name) == []


def test_labels_and_expressions_are_one_list() -> None:
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}
    found = decode(json.dumps(selector), type=LabelSelector).requirements()
    assert found == (Requirement("app", "In", ("web",)), Requirement("old", "DoesNotExist"))
