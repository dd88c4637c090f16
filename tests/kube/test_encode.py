"""Decisions to requests."""

import json

import pytest

from nos.controller.report import Word, by_code
from nos.kube import encode


def test_a_binding_has_its_precondition_and_the_decision() -> None:
    assert json.loads(encode.binding("train", "u-1", "node-1", [3, 0])) == {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "train", "uid": "u-1", "annotations": {"nos.nebuly.com/gpus": "0,3"}},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
    }


def test_a_binding_without_gpus_says_nothing_of_them() -> None:
    assert json.loads(encode.binding("web", "u-1", "node-1"))["metadata"] == {"name": "web", "uid": "u-1"}


def test_names_cannot_leave_their_place_in_a_path() -> None:
    assert encode.pod_path("ml", "a/../b?x=1", "binding") == "/api/v1/namespaces/ml/pods/a%2F..%2Fb%3Fx%3D1/binding"


def test_a_condition_is_written_under_the_version_that_was_seen() -> None:
    patch = json.loads(encode.not_scheduled("u-1", "7", encode.UNSCHEDULABLE, "0/3 nodes", is_news=False))
    assert patch["metadata"] == {"uid": "u-1", "resourceVersion": "7"}
    assert patch["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    ]
    news = json.loads(encode.not_scheduled("u-1", "7", "Unsupported", "0/3 nodes", is_news=True))
    assert news["status"]["conditions"][0]["lastTransitionTime"].endswith("Z")


@pytest.mark.parametrize(
    ("code", "may_help"),
    [
        *[(code, True) for code in ("InsufficientGpu", "NoNodes", "Taint", "GangDoesNotFit")],
        *[(code, False) for code in ("Unsupported", "MakingRoom", "QuotaMax", "QuotaExhausted", "GangTooSmall")],
        *[(code, False) for code in (encode.CUTTING, encode.BINDING_VOLUMES)],
    ],
)
def test_autoscalers_are_told_of_whom_a_node_would_help(code: str, may_help: bool) -> None:
    assert encode.node_may_help(code) is may_help
    assert by_code("u-1", code, "why") == Word(code, "why", wants_node=may_help)


def test_the_capacity_of_a_pod_comes_with_its_binding_or_as_a_patch() -> None:
    labels = {"nos.nebuly.com/capacity": "over-quota"}
    bound = json.loads(encode.binding("p", "u", "n", capacity="over-quota"))
    assert bound["metadata"] == {"name": "p", "uid": "u", "labels": labels}
    assert json.loads(encode.capacity_patch("u", "over-quota")) == {"metadata": {"uid": "u", "labels": labels}}
    assert json.loads(encode.capacity_patch("u", ""))["metadata"]["labels"] == {"nos.nebuly.com/capacity": None}
