"""Pods that a real kubelet does not admit: nos sees it, and says so."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nos.testbed import Testbed
from nos.testbed.realnode import IMAGE
from tests.e2e.mig_node import CONTROLLER, PODS, eventually, install, start_controller

pytestmark = pytest.mark.cluster
_NOW = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}


class Node:
    """A real node, and nos beside another scheduler: the test."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._log = testbed.layout.logs / f"{CONTROLLER}.log"

    def create(self, name: str, cpu: str, **spec: Any) -> None:
        container = {"name": "main", "image": IMAGE, "resources": {"requests": {"cpu": cpu}}}
        body = {"schedulerName": "nos-scheduler", "terminationGracePeriodSeconds": 0, "containers": [container]} | spec
        assert self._testbed.api.create(PODS, {"metadata": {"name": name}, "spec": body})

    def bind(self, name: str) -> None:
        assert self._testbed.real_node
        target = {"kind": "Node", "name": self._testbed.real_node.name}
        self._testbed.api.create(f"{PODS}/{name}/binding", {"metadata": {"name": name}, "target": target})

    def fails(self, name: str) -> Any:
        """Its status, when the kubelet has said no."""
        status: dict[str, Any] = {}

        def failed() -> bool:
            status.update(self._testbed.api.get(f"{PODS}/{name}")["status"])
            return status["phase"] == "Failed"

        eventually(failed, f"the kubelet does not admit {name}")
        return status

    def counted(self) -> dict[str, float]:
        """nos_kubelet_rejections_total by reason."""
        address = self._log.read_text().rpartition("health on ")[2].split()[0]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        lines = re.findall(r'^nos_kubelet_rejections_total\{reason="([^"]*)"\} (\S+)$', text, re.MULTILINE)
        return {reason: float(value) for reason, value in lines}

    def told(self, name: str) -> list[str]:
        """What nos's events say of it."""
        events = self._testbed.api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
        return [e["note"] for e in events if e["regarding"].get("name") == name and e["reason"] == "RejectedByKubelet"]


@pytest.fixture
def node(real_testbed: Testbed, tmp_path: Path) -> Iterator[Node]:
    controller, _ = install(real_testbed, tmp_path)
    start_controller(real_testbed, controller)
    yield Node(real_testbed)
    real_testbed.stop_program(CONTROLLER)
    for pod in real_testbed.api.get(PODS)["items"]:
        real_testbed.api.request("DELETE", f"{PODS}/{pod['metadata']['name']}", {**_NOW})


def test_what_a_kubelet_does_not_admit_is_counted_and_told(node: Node) -> None:
    # Another scheduler that counts wrongly: no node has a million cores.
    node.create("theirs", "1M", schedulerName="another")
    node.bind("theirs")
    assert node.fails("theirs")["reason"] == "OutOfcpu"
    # No scheduler looks at the system that a Pod is for; its kubelet does.
    node.create("ours", "1m", os={"name": "windows"})
    status = node.fails("ours")
    assert status["reason"] == "PodOSNotSupported"
    eventually(lambda: node.counted() == {"OutOfcpu": 1, "PodOSNotSupported": 1}, f"both are counted: {node.counted()}")
    eventually(lambda: node.told("ours"), "an event")
    assert status["message"] in node.told("ours")[0]
    assert node.told("theirs") == []
