"""Decisions to requests."""

import json
from datetime import UTC, datetime

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
    assert news["status"]["conditions"][0]["reason"] == "Unsupported"  # no node would help: autoscalers leave it alone


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
