"""Quotas: JSON to bounds, and what is written back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nos.kube.quantity import nano, text, units
from nos.kube.quota import (
    COMPOSITE,
    ELASTIC,
    Bounds,
    Quota,
    bounds,
    decode_composite,
    decode_elastic,
    name_of,
    quota_path,
)
from nos.kube.quota_status import NO_USE, Use, differs, status, status_patch

GI = 2**30


def elastic(status: dict[str, Any] | None = None, **spec: Any) -> Quota:
    metadata = {"name": "q", "namespace": "a", "uid": "u", "resourceVersion": "7", "generation": 3}
    body = {"metadata": metadata, "spec": spec} | ({"status": status} if status is not None else {})
    return decode_elastic(json.dumps(body).encode())


def test_names() -> None:
    quota = elastic()
    assert quota.name == "ElasticQuota a/q"
    assert name_of(COMPOSITE, "a/q") == "CompositeElasticQuota a/q"
    assert quota_path(quota, "status") == "/apis/nos.nebuly.com/v1alpha1/namespaces/a/elasticquotas/q/status"


def test_whose_pods_count() -> None:
    assert elastic().namespaces == ("a",)
    composite = decode_composite(b'{"metadata":{"name":"c","namespace":"a"},"spec":{"namespaces":["x","y","x"]}}')
    assert (composite.kind, composite.namespaces) == (COMPOSITE, ("x", "y"))
    assert decode_composite(b'{"metadata":{"name":"c","namespace":"a"}}').namespaces == ()


@pytest.mark.parametrize(("written", "meant"), [("", ""), ("ml", "a/ml"), ("teams/ml", "teams/ml")])
def test_a_parent_is_in_the_same_namespace_or_names_its_own(written: str, meant: str) -> None:
    assert elastic(parent=written).parent == meant


def test_amounts_count_as_those_of_pods_do() -> None:
    spec = elastic(
        min={"cpu": "2", "memory": "1.5Gi", "nvidia.com/gpu": 2, "nos.nebuly.com/gpu-memory": "16"},
        max={"cpu": "2500m", "ephemeral-storage": "0.5"},  # half a byte is a byte
    ).spec
    assert bounds(spec) == Bounds(
        {"cpu": 2000, "memory": 3 * GI // 2, "nvidia.com/gpu": 2, "nos.nebuly.com/gpu-memory": 16},
        {"cpu": 2500, "ephemeral-storage": 1},
        (),
    )
    assert bounds(elastic(min=None, max=None).spec) == Bounds({}, {}, ())


@pytest.mark.parametrize(
    ("min_", "max_", "counts", "said"),
    [
        (
            {"nvidia.com/gpu": "500m", "cpu": 1},
            {},
            ({"cpu": 1000}, {}),
            "The min of nvidia.com/gpu is not a whole number",
        ),
        ({"cpu": "-1", "x/y": 1}, {}, ({"x/y": 1}, {}), "The min of cpu does not count, '-1' is negative"),
        (
            {},
            {"cpu": "many", "x/y": 1},
            ({}, {"x/y": 1}),
            "The max of cpu does not count, 'many' is not a Kubernetes quantity",
        ),
        ({"cpu": 4}, {"cpu": 3}, ({"cpu": 3000}, {"cpu": 3000}), "The max of cpu is below its min"),
        ({"memory": "1E"}, {}, ({"memory": 2**50}, {}), f"The min of memory counts as {2**50}"),
    ],
)
def test_an_amount_without_sense_costs_itself_alone(min_: Any, max_: Any, counts: Any, said: str) -> None:
    lower, upper, faults = bounds(elastic(min=min_, max=max_).spec)
    assert (lower, upper) == counts
    assert len(faults) == 1
    assert said in faults[0]


def test_a_status_says_what_is_used_of_what_is_bound() -> None:
    use = Use(
        {"nvidia.com/gpu": 6, "memory": 8 * GI, "cpu": 1500, "x/unbound": 9},
        {"nvidia.com/gpu": 4, "nos.nebuly.com/gpu-memory": 80},
        {"nvidia.com/gpu": 8, "memory": 16 * GI, "cpu": 2000},
    )
    written = status(elastic(), use, ready=True, reason="Counting", message="")
    assert written.used == {"cpu": "1500m", "memory": "8Gi", "nos.nebuly.com/gpu-memory": "0", "nvidia.com/gpu": "6"}
    assert written.usage == "cpu 1500m (max 2), gpu 6/4 (max 8), gpu-memory 0/80, memory 8Gi (max 16Gi)"
    assert (written.observed_generation, written.ready.observed_generation) == (3, 3)


def of(quota: Quota) -> dict[str, Any]:
    """The status that a quota is to have, as the API server would store it."""
    wanted = status(quota, Use({"cpu": 1}, {"cpu": 2}, {}), ready=True, reason="Counting", message="")
    stored = json.loads(status_patch(quota, wanted))["status"]
    stored["used"] = {resource: amount for resource, amount in stored["used"].items() if amount is not None}
    return stored


def test_a_status_is_written_when_it_differs_and_only_then() -> None:
    stored = of(elastic())
    quota = elastic(stored)
    use = Use({"cpu": 1}, {"cpu": 2}, {})
    assert not differs(quota, status(quota, use, ready=True, reason="Counting", message=""))
    assert differs(quota, status(quota, use, ready=True, reason="Counting", message="else"))
    assert differs(quota, status(quota, Use({"cpu": 2}, {"cpu": 2}, {}), ready=True, reason="Counting", message=""))
    assert differs(quota, status(quota, NO_USE, ready=True, reason="Counting", message=""))
    other = elastic(stored | {"observedGeneration": 2})
    assert differs(other, status(other, use, ready=True, reason="Counting", message=""))
    as_number = elastic(stored | {"used": {"cpu": 1}})  # as the old nos wrote some
    wanted = status(as_number, Use({"cpu": 1000}, {"cpu": 1000}, {}), ready=True, reason="Counting", message="")
    assert wanted.used == {"cpu": "1"}
    assert differs(as_number, wanted) == (wanted.usage != "cpu 1m/2m")


def test_readiness_has_its_time_and_others_their_conditions() -> None:
    theirs = {
        "type": "Audited",
        "status": "True",
        "reason": "r",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    mine = theirs | {"type": "Ready", "reason": "Counting"}
    quota = elastic({"conditions": [mine, theirs]})
    kept = status(quota, NO_USE, ready=True, reason="NamespaceContested", message="")
    assert {c.type: c.last_transition_time for c in kept.conditions} == dict.fromkeys(
        ("Ready", "Audited"), "2026-01-01T00:00:00Z"
    )
    turned = status(quota, NO_USE, ready=False, reason="InvalidAmount", message="x" * 5000)
    assert turned.ready.last_transition_time > "2026-01-01T00:00:00Z"
    assert len(turned.ready.message) == 4096


def test_a_patch_takes_away_what_is_not_named_any_more() -> None:
    quota = elastic({"used": {"cpu": "1", "memory": "1Gi"}})
    patch = json.loads(status_patch(quota, status(quota, Use({}, {"cpu": 1}, {}), ready=True, reason="r", message="")))
    assert patch["status"]["used"] == {"cpu": "0", "memory": None}
    assert patch["metadata"] == {"uid": "u", "resourceVersion": "7"}
    condition = patch["status"]["conditions"][0]
    assert condition["observedGeneration"] == 3
    assert set(condition) == {"type", "status", "reason", "message", "observedGeneration", "lastTransitionTime"}


@pytest.mark.parametrize(
    ("resource", "amount", "written"),
    [
        ("cpu", 1500, "1500m"),
        ("cpu", 2000, "2"),
        ("memory", 3 * GI // 2, "1536Mi"),
        ("memory", 1000, "1000"),
        ("memory", 0, "0"),
        ("hugepages-2Mi", 2**21, "2Mi"),
        ("nvidia.com/gpu", 1024, "1024"),
    ],
)
def test_an_amount_is_written_as_people_do_and_means_the_same(resource: str, amount: int, written: str) -> None:
    assert text(resource, amount) == written
    assert units(resource, nano(written)) == amount


def test_kinds_are_told_apart() -> None:
    assert elastic().kind == ELASTIC
