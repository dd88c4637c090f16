"""A namespace under two quotas, as far as admission sees it: quotas in the namespace of the new one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nos.testbed import Testbed
from tests.controller.cluster import eventually

pytestmark = pytest.mark.cluster
POLICY = Path(__file__).parents[2] / "deploy" / "kustomize" / "controller" / "policy.yaml"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
GROUP = "/apis/nos.nebuly.com/v1alpha1"
PLURALS = {"ElasticQuota": "elasticquotas", "CompositeElasticQuota": "compositeelasticquotas"}
PLACES = ("team-a", "teams")


class Quotas:
    """Quotas of one test."""

    def __init__(self, testbed: Testbed) -> None:
        self.api = testbed.api

    def write(self, kind: str, name: str, where: str, namespaces: list[str] | None = None, **query: str) -> str:
        """Create it, or change the namespaces of the one that is there; the complaint, empty where there is none."""
        spec = {"min": {"cpu": 1}} | ({"namespaces": namespaces} if namespaces else {})
        body: dict[str, Any] = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": kind, "spec": spec}
        path = f"{GROUP}/namespaces/{where}/{PLURALS[kind]}"
        status, answer = self.api.request("GET", f"{path}/{name}")
        options = "".join(f"?{key}={value}" for key, value in query.items())
        if status == 200:
            body["metadata"] = json.loads(answer)["metadata"]
            status, answer = self.api.request("PUT", f"{path}/{name}{options}", body)
        else:
            body["metadata"] = {"name": name}
            status, answer = self.api.request("POST", f"{path}{options}", body)
        return "" if status < 300 else json.loads(answer)["message"]

    def refused(self, kind: str, name: str, where: str, namespaces: list[str] | None = None) -> str:
        """The complaint. The policy knows of a quota a moment after it was made."""
        complaint: str = eventually(lambda: self.write(kind, name, where, namespaces, dryRun="All"))
        return complaint

    def clear(self) -> None:
        for place in PLACES:
            for plural in PLURALS.values():
                self.api.request("DELETE", f"{GROUP}/namespaces/{place}/{plural}")


@pytest.fixture(scope="module")
def policies(testbed: Testbed) -> Iterator[Testbed]:
    """The quotas' policies alone, as `kubectl apply` leaves them, in force."""
    testbed.install_crds()
    documents = [item for item in yaml.safe_load_all(POLICY.read_text()) if "quota" in item["metadata"]["name"]]
    testbed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))
    for place in PLACES:
        testbed.api.create("/api/v1/namespaces", {"metadata": {"name": place}})
    quotas = Quotas(testbed)
    quotas.write("ElasticQuota", "first", "team-a")
    quotas.refused("ElasticQuota", "second", "team-a")
    quotas.write("CompositeElasticQuota", "first", "teams", ["x"])
    quotas.refused("CompositeElasticQuota", "second", "teams", ["x"])
    yield testbed
    quotas.clear()
    testbed.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all(documents))


@pytest.fixture
def quotas(policies: Testbed) -> Quotas:
    quotas = Quotas(policies)
    quotas.clear()

    def nobody_is_known() -> bool:
        return not any(
            quotas.write(kind, "probe", place, ["x"] if kind != "ElasticQuota" else None, dryRun="All")
            for place in PLACES
            for kind in PLURALS
        )

    eventually(nobody_is_known, why="the policies have forgotten the quotas of the test before")
    return quotas


def test_a_namespace_has_one_elasticquota(quotas: Quotas) -> None:
    assert quotas.write("ElasticQuota", "one", "team-a") == ""
    complaint = quotas.refused("ElasticQuota", "two", "team-a")
    assert "namespace team-a has ElasticQuota one: edit that one, or delete it first" in complaint
    assert quotas.write("ElasticQuota", "one", "team-a") == ""  # an edit of the one
    assert quotas.write("ElasticQuota", "one", "teams") == ""  # another namespace has its own


def test_composites_share_no_namespace(quotas: Quotas) -> None:
    assert quotas.write("CompositeElasticQuota", "one", "teams", ["a", "b"]) == ""
    complaint = quotas.refused("CompositeElasticQuota", "two", "teams", ["c", "b"])
    assert "CompositeElasticQuota one has namespace b: take it out there first" in complaint
    assert quotas.write("CompositeElasticQuota", "two", "teams", ["c"]) == ""
    assert "has namespace a" in quotas.refused("CompositeElasticQuota", "two", "teams", ["a", "c"])  # an edit
    assert quotas.write("CompositeElasticQuota", "one", "teams", ["a", "d"]) == ""
    assert quotas.write("CompositeElasticQuota", "group", "teams") == ""  # one without namespaces takes none


def test_a_namespace_of_a_composite_gets_no_elasticquota(quotas: Quotas) -> None:
    assert quotas.write("CompositeElasticQuota", "one", "team-a", ["x", "team-a"]) == ""
    complaint = quotas.refused("ElasticQuota", "one", "team-a")
    assert "CompositeElasticQuota one has namespace team-a: take it out there first" in complaint


def test_what_was_let_in_may_be_edited(quotas: Quotas) -> None:
    assert quotas.write("ElasticQuota", "one", "team-a") == ""
    assert quotas.write("CompositeElasticQuota", "one", "team-a", ["team-a"]) == ""  # it goes before the plain one
    assert "has namespace team-a" in quotas.refused("CompositeElasticQuota", "two", "team-a", ["team-a"])
    assert quotas.write("ElasticQuota", "one", "team-a") == ""


def test_the_expressions_are_of_the_right_types(policies: Testbed) -> None:
    def checked(name: str) -> dict[str, Any]:
        policy = policies.api.get(f"{POLICIES}/{name}")
        return policy if policy.get("status", {}).get("observedGeneration") else {}

    for name in ("nos-one-elasticquota", "nos-one-quota"):
        policy = eventually(lambda name=name: checked(name), why=f"{name} has been type-checked")
        assert policy["status"].get("typeChecking", {}).get("expressionWarnings", []) == []
