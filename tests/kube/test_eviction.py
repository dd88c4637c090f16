"""What makes Pods go, and how many may: budgets to core, evictions to JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nos import _core
from nos.kube.budget import Budget, decode_budget
from nos.kube.errors import ApiError
from nos.kube.eviction import deletion, disruption, eviction, is_refused_by_budget, nomination


def budget(spec: dict[str, Any], status: dict[str, Any] | None = None, generation: int = 1) -> Budget:
    metadata = {"name": "b", "namespace": "a", "generation": generation}
    return decode_budget(json.dumps({"metadata": metadata, "spec": spec, "status": status or {}}).encode())


def protects(selector: dict[str, Any] | None) -> set[str]:
    """Who is not evicted for one of higher priority while there is another: the core is asked."""
    cluster = _core.Cluster()
    spec = _core.PodSpec({"nvidia.com/gpu": 1})
    labels = {"web": {"app": "web"}, "db": {"app": "db", "tier": "1"}, "none": {}}
    asked = budget({"selector": selector} if selector is not None else {})
    protected = set()
    for name, of in labels.items():
        cluster.upsert_node(name, _core.NodeSpec({"cpu": 1000, "pods": 9, "nvidia.com/gpu": 1}))
        cluster.upsert_node("other", _core.NodeSpec({"cpu": 1000, "pods": 9, "nvidia.com/gpu": 1}))
        cluster.upsert_pod("it", spec, labels=_core.PodLabels("a", of), node=name)
        cluster.upsert_pod("other", spec, labels=_core.PodLabels("elsewhere", of), node="other", priority=1)
        cluster.upsert_pod("urgent", spec, priority=9)
        cluster.upsert_budget("a/b", asked.selector(), 0)
        (evicted,) = _core.Scheduler(cluster).schedule().evictions
        protected |= {name} if evicted.uid == "other" else set()
        cluster = _core.Cluster()
    return protected


@pytest.mark.parametrize(
    ("selector", "whom"),
    [
        (None, set()),
        ({}, {"web", "db", "none"}),
        ({"matchLabels": {"app": "web"}}, {"web"}),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, {"db"}),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, {"db", "none"}),
    ],
)
def test_whom_a_budget_protects(selector: dict[str, Any] | None, whom: set[str]) -> None:
    assert protects(selector) == whom


@pytest.mark.parametrize(
    ("status", "generation", "allowed"),
    [
        ({}, 1, 0),
        ({"observedGeneration": 1, "disruptionsAllowed": 2}, 1, 2),
        ({"observedGeneration": 1, "disruptionsAllowed": 2}, 2, 0),  # about a spec before the last edit
        ({"observedGeneration": 1, "disruptionsAllowed": -1}, 1, 0),
    ],
)
def test_how_many_may_go(status: dict[str, Any], generation: int, allowed: int) -> None:
    assert budget({}, status, generation).allowed == allowed


def test_a_pod_is_evicted_under_its_uid() -> None:
    body = json.loads(eviction("a", "p", "u"))
    assert body["metadata"] == {"namespace": "a", "name": "p"}
    assert body["deleteOptions"]["preconditions"] == {"uid": "u"}
    assert json.loads(deletion("u"))["preconditions"] == {"uid": "u"}


def test_what_is_written_on_a_status() -> None:
    body = json.loads(disruption("u", "why"))
    assert body["metadata"] == {"uid": "u"}
    (condition,) = body["status"]["conditions"]
    assert condition.pop("lastTransitionTime").endswith("Z")
    assert condition == {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "why",
    }
    assert json.loads(nomination("u", "n"))["status"] == {"nominatedNodeName": "n"}
    assert json.loads(nomination("u", ""))["status"] == {"nominatedNodeName": None}


@pytest.mark.parametrize(
    ("error", "by_budget"),
    [
        (ApiError(429, "TooManyRequests", "would violate", 10, ("DisruptionBudget",)), True),
        (ApiError(429, "TooManyRequests", "too many requests", 1), False),
        (ApiError(500, "", "This pod has more than one PodDisruptionBudget, which ..."), True),
        (ApiError(500, "InternalError", "etcd"), False),
    ],
)
def test_who_refuses(error: ApiError, by_budget: bool) -> None:
    assert is_refused_by_budget(error) == by_budget
