"""Decisions to requests."""

import json
from datetime import UTC, datetime

import pytest

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
    patch = json.loads(encode.not_scheduled("u-1", "7", "InsufficientGpu", "0/3 nodes", is_news=False))
    assert patch["metadata"] == {"uid": "u-1", "resourceVersion": "7"}
    assert patch["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    ]
    news = json.loads(encode.not_scheduled("u-1", "7", "Unsupported", "0/3 nodes", is_news=True))
    assert news["status"]["conditions"][0]["lastTransitionTime"].endswith("Z")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *[(code, "Unschedulable") for code in ("InsufficientGpu", "NoNodes", "Taint", "GangDoesNotFit")],
        *[(code, code) for code in ("Unsupported", "MakingRoom", "QuotaMax", "QuotaExhausted", "GangTooSmall")],
        *[(code, code) for code in (encode.CUTTING, encode.BINDING_VOLUMES)],
    ],
)
def test_autoscalers_are_told_of_whom_a_node_would_help(code: str, reason: str) -> None:
    patch = json.loads(encode.not_scheduled("u-1", "7", code, "why", is_news=False))
    assert patch["status"]["conditions"][0]["reason"] == reason


def test_the_capacity_of_a_pod_comes_with_its_binding_or_as_a_patch() -> None:
    labels = {"nos.nebuly.com/capacity": "over-quota"}
    bound = json.loads(encode.binding("p", "u", "n", capacity="over-quota"))
    assert bound["metadata"] == {"name": "p", "uid": "u", "labels": labels}
    assert json.loads(encode.capacity_patch("u", "over-quota")) == {"metadata": {"uid": "u", "labels": labels}}
    assert json.loads(encode.capacity_patch("u", ""))["metadata"]["labels"] == {"nos.nebuly.com/capacity": None}


def test_an_event_may_name_another_pod() -> None:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    said = {"at": at, "reporter": "r", "type_": "Normal", "reason": "Preempted", "action": "Preempting", "note": "n"}
    _, body = encode.event("ml", "p", "u", related=("other", "q", "v"), **said)
    assert json.loads(body)["related"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "other",
        "name": "q",
        "uid": "v",
    }
    assert "related" not in json.loads(encode.event("ml", "p", "u", **said)[1])


def test_an_event_fits_what_the_api_server_takes() -> None:
    path, body = encode.event(
        "ml",
        "p" * 253,
        "u",
        at=datetime(2026, 11, 23, 22, 0, 0, 1, UTC),
        reporter="r" * 300,
        type_="Normal",
        reason="Scheduled",
        action="Binding",
        note="n" * 5000,
    )
    event = json.loads(body)
    assert path == "/apis/events.k8s.io/v1/namespaces/ml/events"
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["note"].encode()) <= 1024
    assert len(event["reportingInstance"]) == 128
    assert event["eventTime"] == "2026-11-23T22:00:00.000001Z"
