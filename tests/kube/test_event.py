"""The bodies of Events, as events.k8s.io/v1 wants them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from nos.kube.event import event, event_name, events_path, series_patch

AT = datetime(2026, 11, 23, 22, 0, 0, 1, UTC)
SAID: dict[str, Any] = {"at": AT, "reporter": "r", "type_": "Normal", "reason": "Preempted", "action": "Preempting"}


def test_an_event_may_name_another_pod() -> None:
    body = event("ml", "p", "u", name="e", note="n", related=("other", "q", "v"), **SAID)
    related = {"apiVersion": "v1", "kind": "Pod", "namespace": "other", "name": "q", "uid": "v"}
    assert json.loads(body)["related"] == related
    assert "related" not in json.loads(event("ml", "p", "u", name="e", note="n", **SAID))


def test_an_event_fits_what_the_api_server_takes() -> None:
    name = event_name("p" * 253)
    body = json.loads(event("ml", "p" * 253, "u", name=name, note="\u00e9" * 5000, **SAID | {"reporter": "r" * 300}))
    assert len(body["metadata"]["name"]) <= 253
    assert len(body["note"].encode()) <= 1024
    assert len(body["reportingInstance"]) == 128
    assert body["eventTime"] == "2026-11-23T22:00:00.000001Z"
    assert event_name("p") != event_name("p")


def test_a_series_begins_with_the_second() -> None:
    assert "series" not in json.loads(event("ml", "p", "u", name="e", note="n", **SAID))
    series = {"count": 2, "lastObservedTime": "2026-11-23T22:00:00.000001Z"}
    assert json.loads(event("ml", "p", "u", name="e", note="n", count=2, last=AT, **SAID))["series"] == series
    assert json.loads(series_patch(2, AT)) == {"series": series}


def test_paths() -> None:
    assert events_path("ml") == "/apis/events.k8s.io/v1/namespaces/ml/events"
    assert events_path("ml", "p.1") == "/apis/events.k8s.io/v1/namespaces/ml/events/p.1"
