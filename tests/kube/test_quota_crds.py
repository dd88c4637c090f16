"""Quotas on the real API server: what it takes, what it refuses and how it says so, what kubectl shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from nos.testbed import Testbed
from nos.testbed.errors import TestbedError

pytestmark = pytest.mark.cluster
Object = dict[str, Any]
GROUP = "/apis/nos.nebuly.com/v1alpha1"
PLURALS = {"ElasticQuota": "elasticquotas", "CompositeElasticQuota": "compositeelasticquotas"}
KINDS = tuple(PLURALS)

# As the documentation of the old nos has them.
OLD = """
apiVersion: nos.nebuly.com/v1alpha1
kind: ElasticQuota
metadata:
  name: quota-a
  labels: {team: a}
spec:
  max: {cpu: 2000m}
  min: {cpu: 2000m}
---
apiVersion: nos.nebuly.com/v1alpha1
kind: ElasticQuota
metadata: {name: quota-b}
spec:
  min:
    nos.nebuly.com/gpu-memory: 16
    nvidia.com/gpu: "2"
    memory: 1.5Gi
  max:
    nos.nebuly.com/gpu-memory: 16
---
apiVersion: nos.nebuly.com/v1alpha1
kind: ElasticQuota
metadata: {name: quota-without-bounds}
spec: {}
---
apiVersion: nos.nebuly.com/v1alpha1
kind: CompositeElasticQuota
metadata: {name: composite}
spec:
  namespaces: [ns-1, ns-2]
  max: {nos.nebuly.com/gpu-memory: "30"}
  min: {nos.nebuly.com/gpu-memory: 20, cpu: 4}
---
apiVersion: nos.nebuly.com/v1alpha1
kind: CompositeElasticQuota
metadata: {name: composite-without-namespaces}
spec:
  min: {cpu: 1}
"""


@pytest.fixture
def served(testbed: Testbed) -> Iterator[Testbed]:
    testbed.install_crds()
    yield testbed
    for plural in PLURALS.values():
        testbed.api.request("DELETE", f"{GROUP}/namespaces/default/{plural}")


def create(testbed: Testbed, kind: str, spec: Object, name: str = "q") -> str:
    """The API server's complaint, empty where it has none."""
    body = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    status, answer = testbed.api.request("POST", f"{GROUP}/namespaces/default/{PLURALS[kind]}", body)
    return "" if status == 201 else json.loads(answer)["message"]


def test_manifests_of_the_old_nos_are_taken_as_they_are(served: Testbed) -> None:
    said = served.kubectl("apply", "--validate=strict", "-f", "-", stdin=OLD)
    assert said.count(" created") == len(list(yaml.safe_load_all(OLD)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"min": {"cpu": "4"}, "max": {"cpu": "3999m"}}, "spec: Invalid value: max of cpu is below its min: raise max"),
        ({"min": {"nvidia.com/gpu": "1k"}, "max": {"nvidia.com/gpu": 999}}, "max of nvidia.com/gpu is below its min"),
        ({"min": {"cpu": "-1"}}, "spec.min: Invalid value: cpu is negative: give 0 or more"),
        ({"max": {"nvidia.com/gpu": -1}}, "spec.max: Invalid value: nvidia.com/gpu is negative: give 0 or more"),
        ({"min": {"nvidia.com/gpu": "500m"}}, "spec.min: Invalid value: nvidia.com/gpu is not a whole number: round"),
        ({"max": {"nvidia.com/gpu": "0.5"}}, "spec.max: Invalid value: nvidia.com/gpu is not a whole number: round"),
        ({"min": {"cpu": "4 cores"}}, "spec.min.cpu"),
        ({"parent": "a/b/c"}, "spec.parent"),
        ({"parent": "Department"}, "spec.parent"),
        ({"min": {f"x/{number}": 1 for number in range(65)}}, "spec.min"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_field_and_remedy(
    served: Testbed, kind: str, spec: Object, said: str
) -> None:
    assert said in create(served, kind, spec)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spec",
    [
        {"min": {"cpu": "1", "memory": "1Gi"}, "max": {"cpu": "1000m", "memory": "1073741824"}},  # equal
        {"min": {"cpu": 2}, "max": {"memory": "1"}},  # nothing in common to compare
        {"min": {"memory": "1.5Gi", "cpu": "0.5", "ephemeral-storage": "1e9"}},
        {"min": {"nvidia.com/gpu": 0}, "max": {"nvidia.com/gpu": 0}},
        {"parent": "ml"},
        {"parent": "teams/ml.research-2"},
        {"min": {f"x/{number}": 1 for number in range(64)}, "max": {f"x/{number}": 1 for number in range(64)}},
    ],
)
def test_what_can_be_meant_is_taken(served: Testbed, kind: str, spec: Object) -> None:
    assert create(served, kind, spec) == ""


@pytest.mark.parametrize(
    ("namespaces", "said"),
    [
        ([], "spec.namespaces: Invalid value: 0: spec.namespaces in body should have at least 1 items"),
        (["a", "b", "a"], 'spec.namespaces[2]: Duplicate value: "a"'),
        (["Team_A"], "spec.namespaces[0]"),
        ([""], "spec.namespaces[0]"),
        (["a" * 64], "spec.namespaces[0]"),
    ],
)
def test_namespaces_are_names_and_each_is_named_once(served: Testbed, namespaces: list[str], said: str) -> None:
    assert said in create(served, "CompositeElasticQuota", {"namespaces": namespaces})


def test_only_a_composite_has_namespaces(served: Testbed) -> None:
    manifest = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "ElasticQuota", "metadata": {"name": "q"}}
    with pytest.raises(TestbedError, match="unknown field"):
        served.kubectl("create", "-f", "-", stdin=json.dumps(manifest | {"spec": {"namespaces": ["a"]}}))


def test_an_edit_is_checked_like_a_creation(served: Testbed) -> None:
    assert create(served, "ElasticQuota", {"min": {"cpu": 1}, "max": {"cpu": 2}}) == ""
    with pytest.raises(TestbedError, match="max of cpu is below its min"):
        served.kubectl("patch", "eq", "q", "--type=merge", '-p={"spec":{"min":{"cpu":3}}}')


@pytest.mark.parametrize("kind", KINDS)
def test_spec_and_status_are_written_apart_and_only_a_spec_is_a_generation(served: Testbed, kind: str) -> None:
    path = f"{GROUP}/namespaces/default/{PLURALS[kind]}/q"
    assert create(served, kind, {"min": {"cpu": 1}}) == ""
    body = served.api.get(path) | {"spec": {"min": {"cpu": 9}}, "status": {"observedGeneration": 1, "used": {"cpu": 1}}}
    assert served.api.request("PUT", f"{path}/status", body)[0] == 200
    written = served.api.get(path)
    assert (written["spec"]["min"], written["status"]["used"]) == ({"cpu": 1}, {"cpu": 1})
    assert written["metadata"]["generation"] == 1
    assert served.api.request("PUT", path, written | {"spec": {"min": {"cpu": 2}}, "status": {}})[0] == 200
    written = served.api.get(path)
    assert (written["spec"]["min"], written["status"]["used"]) == ({"cpu": 2}, {"cpu": 1})
    assert written["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("ElasticQuota", ("eq", "eqs", "elasticquotas")),
        ("CompositeElasticQuota", ("ceq", "ceqs", "compositeelasticquotas")),
    ],
)
def test_kubectl_shows_what_matters(served: Testbed, kind: str, names: tuple[str, ...]) -> None:
    assert create(served, kind, {"min": {"nvidia.com/gpu": 4}, "parent": "teams/ml"}) == ""
    path = f"{GROUP}/namespaces/default/{PLURALS[kind]}/q"
    ready = {"type": "Ready", "status": "True", "reason": "Counting", "message": ""}
    status = {
        "used": {"nvidia.com/gpu": "6"},
        "usage": "gpu 6/4",
        "conditions": [ready | {"lastTransitionTime": "2026-11-25T00:00:00Z"}],
    }
    assert served.api.request("PUT", f"{path}/status", served.api.get(path) | {"status": status})[0] == 200
    for name in names:
        heading, line = served.kubectl("get", name).splitlines()
        assert heading.split() == ["NAME", "USAGE", "READY", "REASON", "AGE"]
        shown = [cell.strip() for cell in re.split(r" {2,}", line)]
        assert shown[:4] == ["q", "gpu 6/4", "True", "Counting"]
    assert "teams/ml" in served.kubectl("get", names[0], "-o", "wide")
    assert served.kubectl("get", "nos", "-o", "name") != ""  # the category
    assert "What is guaranteed" in served.kubectl("explain", f"{PLURALS[kind]}.spec.min")
