"""Namespaces of teams, with their quotas and Pods."""

from __future__ import annotations

import json
from typing import Any

from tests.controller.cluster import Cluster, eventually

Object = dict[str, Any]
GROUP = "/apis/nos.nebuly.com/v1alpha1"
PLURALS = {"eq": "elasticquotas", "ceq": "compositeelasticquotas"}
KINDS = {"eq": "ElasticQuota", "ceq": "CompositeElasticQuota"}
TEAMS = ("team-a", "team-b")


class Teams:
    """Namespaces, their quotas and Pods."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.api = cluster.api

    def quota(self, kind: str, where: str, name: str = "q", **spec: Any) -> None:
        """Create it, or make this its spec."""
        body = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": KINDS[kind]}
        body |= {"metadata": {"name": name, "namespace": where}, "spec": spec}
        self.cluster.testbed.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def drop(self, kind: str, where: str, name: str = "q") -> None:
        self.api.request("DELETE", f"{GROUP}/namespaces/{where}/{PLURALS[kind]}/{name}")

    def status(self, kind: str, where: str, name: str = "q") -> Object:
        return self.api.get(f"{GROUP}/namespaces/{where}/{PLURALS[kind]}/{name}").get("status", {})

    def ready(self, kind: str, where: str, name: str = "q") -> Object:
        """Its condition, about its present spec; empty where there is none yet."""
        quota = self.api.get(f"{GROUP}/namespaces/{where}/{PLURALS[kind]}/{name}")
        found = [c for c in quota.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
        return found[0] if found and found[0]["observedGeneration"] == quota["metadata"]["generation"] else {}

    def used(self, kind: str, where: str, **used: str) -> None:
        """Wait until so much is reported; `gpu` and the like."""
        eventually(
            lambda: self.status(kind, where).get("usage") == used["usage"],
            why=f"usage {used['usage']}; it is {self.status(kind, where)}",
        )

    def pod(self, team: str, name: str, gpus: int = 1, **more: Any) -> None:
        self.cluster.pod(name, gpus, metadata={"namespace": team, "labels": {"app": name}}, **more)

    def pods(self, team: str) -> list[Object]:
        return self.api.get(f"/api/v1/namespaces/{team}/pods")["items"]

    def names(self, team: str) -> set[str]:
        """Of those that are there and not leaving."""
        return {pod["metadata"]["name"] for pod in self.pods(team) if "deletionTimestamp" not in pod["metadata"]}

    def get(self, team: str, name: str) -> Object:
        return self.api.get(f"/api/v1/namespaces/{team}/pods/{name}")

    def bound(self, team: str, name: str) -> Object:
        return eventually(
            lambda: (pod := self.get(team, name))["spec"].get("nodeName") and pod, why=f"{team}/{name} is bound"
        )

    def capacity(self, team: str, name: str) -> str:
        return self.get(team, name)["metadata"].get("labels", {}).get("nos.nebuly.com/capacity", "")

    def delete(self, team: str, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        self.api.request("DELETE", f"/api/v1/namespaces/{team}/pods/{name}", body)

    def keep(self, team: str, name: str, *, on: bool = True) -> None:
        """While it is on, the Pod stays, terminating, when it is deleted."""
        patch = {"metadata": {"finalizers": ["nos.test/keep"] if on else None}}
        self.cluster.testbed.kubectl("patch", "pod", "-n", team, name, "--type=merge", f"-p={json.dumps(patch)}")

    def clear(self) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        for team in TEAMS:
            for pod in self.pods(team):
                if pod["metadata"].get("finalizers"):
                    self.keep(team, pod["metadata"]["name"], on=False)
            self.api.request("DELETE", f"/api/v1/namespaces/{team}/pods", body)
        for where in (*TEAMS, "default"):
            for plural in PLURALS.values():
                self.api.request("DELETE", f"{GROUP}/namespaces/{where}/{plural}")
        eventually(lambda: not any(self.pods(team) for team in TEAMS))
