"""A controller process on the testbed, and the verbs that its tests speak in."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nos.kube.gpunode import GPU_NODES
from nos.testbed import Testbed

DEADLINE_S = 30.0
NAMESPACE = "default"
_MAIN = "from nos.cli import main; main()"


def eventually(what: Callable[[], Any], *, within: float = DEADLINE_S, why: str = "") -> Any:
    """The first true value of `what()`."""
    deadline = time.monotonic() + within
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within:g} s: {why or what}"
        time.sleep(0.05)


class Cluster:
    """Pods and nodes of one test, as the admin sees them."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.api = testbed.api

    def pod(self, name: str, gpus: int = 1, **more: Any) -> dict[str, Any]:
        """Create a Pod that tolerates the GPU taint; `more` is merged into its spec, `metadata` into its metadata."""
        metadata = {"name": name, "namespace": NAMESPACE} | more.pop("metadata", {})
        amounts = {"cpu": "1", "memory": "1Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
        container = {"name": "main", "image": "busybox", "resources": {"requests": amounts, "limits": amounts}}
        spec = {
            "schedulerName": "nos-scheduler",
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        } | more
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        status, answer = self.api.request("POST", f"/api/v1/namespaces/{metadata['namespace']}/pods", body)
        assert status == 201, answer.decode()
        return json.loads(answer)

    def get(self, name: str) -> dict[str, Any] | None:
        """The Pod; None when it is gone."""
        status, answer = self.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
        return json.loads(answer) if status == 200 else None

    def pods(self) -> list[dict[str, Any]]:
        """All Pods of the test."""
        return self.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]

    def delete(self, name: str) -> None:
        """Delete a Pod at once."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        self.api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", body)

    def bind(self, name: str, node: str) -> int:
        """Bind a Pod as another scheduler would; the status of the answer."""
        body = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
        return self.api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/binding", body)[0]

    def bound(self, name: str, *, within: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until the Pod has a node."""

        def node() -> dict[str, Any] | None:
            pod = self.get(name)
            return pod if pod and pod["spec"].get("nodeName") else None

        return eventually(node, within=within, why=f"{name} has a node")

    def condition(self, name: str) -> dict[str, Any]:
        """The Pod's PodScheduled condition; empty when it has none."""
        pod = self.get(name) or {}
        found = [c for c in pod.get("status", {}).get("conditions", []) if c["type"] == "PodScheduled"]
        return found[0] if found else {}

    def waits(self, name: str, because: str) -> dict[str, Any]:
        """Wait until the Pod's condition says that it waits, and why."""

        def said() -> dict[str, Any] | None:
            condition = self.condition(name)
            return condition if because in condition.get("message", "") else None

        return eventually(said, why=f"{name} waits because of {because}; it has {self.condition(name)}")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events about a Pod."""
        events = self.api.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")["items"]
        return [event for event in events if event["regarding"].get("name") == name]

    def assert_sound(self) -> None:
        """No GPU holds two Pods, and no node more than it has."""
        slots: dict[tuple[str, str], str] = {}
        used: dict[str, int] = {}
        for pod in self.pods():
            node = pod["spec"].get("nodeName")
            if not node or pod["status"]["phase"] in ("Succeeded", "Failed"):
                continue
            name = pod["metadata"]["name"]
            asks = pod["spec"]["containers"][0]["resources"].get("requests", {})
            used[node] = used.get(node, 0) + int(asks.get("nvidia.com/gpu", 0))
            decision = pod["metadata"].get("annotations", {}).get("nos.nebuly.com/gpus", "")
            for slot in filter(None, decision.split(",")):
                assert (node, slot) not in slots, f"GPU {slot} of {node}: {name} and {slots[node, slot]}"
                slots[node, slot] = name
        for node in self.api.get("/api/v1/nodes")["items"]:
            name = node["metadata"]["name"]
            assert used.get(name, 0) <= int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)), name

    def clear(self) -> None:
        """Remove the test's Pods, nodes, GPUNodes and Lease."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        lease = "/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler"
        for pod in self.pods():
            if pod["metadata"].get("finalizers"):
                path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
                bare = {"metadata": {"finalizers": None}}  # it may be gone by now: a Job's controller lets its Pods go
                self.api.request("PATCH", path, bare, "application/merge-patch+json")
        for path in (f"/api/v1/namespaces/{NAMESPACE}/pods", "/api/v1/nodes", GPU_NODES, lease):
            self.api.request("DELETE", path, body)
        eventually(lambda: not self.pods(), why="all Pods are gone")


class Controller:
    """One `nos controller` process; a context manager that leaves none behind, and checks what it said."""

    def __init__(self, kubeconfig: Path, directory: Path, **settings: Any) -> None:
        self.log = directory / f"controller-{time.monotonic_ns()}.log"
        config = directory / f"{self.log.stem}.yaml"
        chosen = {"kubeconfig": str(kubeconfig), "healthAddress": "127.0.0.1:0", "verbose": False}
        chosen |= {"dashboard": {"address": ""}} | settings
        config.write_text(json.dumps(chosen))
        self._argv = [sys.executable, "-c", _MAIN, "controller", "--config", str(config)]

    def __enter__(self) -> Controller:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.stop()
        if kind is not None or self.process.returncode:
            print(self.said())
        assert "Traceback" not in self.said(), self.said()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text()

    def schedules(self) -> Controller:
        """Wait until it leads and knows the cluster."""
        eventually(lambda: " scheduling: " in self.said() or self.process.poll() is not None, why="it schedules")
        assert self.process.poll() is None, self.said()
        return self

    @property
    def address(self) -> str:
        """Of its health, once it has one."""
        eventually(lambda: "health on" in self.said() or self.process.poll() is not None)
        return self.said().partition("health on ")[2].split()[0]

    @property
    def dashboard(self) -> str:
        """The URL of its dashboard, once it has one."""
        eventually(lambda: "dashboard on" in self.said() or self.process.poll() is not None)
        return self.said().partition("dashboard on ")[2].split()[0]

    def probe(self, path: str) -> tuple[int, str]:
        """Ask /livez, /readyz or /metrics."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode().strip()
