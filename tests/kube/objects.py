"""Pods and nodes as the API server writes them."""

import json
from typing import Any

from nos.kube.node import Node, decode_node
from nos.kube.pod import Pod, decode_pod


def pod(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> Pod:
    body = {
        "metadata": {"name": "train", "namespace": "ml", "uid": "u-1", "resourceVersion": "7"} | metadata,
        "spec": {"schedulerName": "nos-scheduler", "containers": [container("1")]} | (spec or {}),
        "status": {"phase": "Pending"} | (status or {}),
    }
    return decode_pod(json.dumps(body).encode())


def container(gpu: str, **more: Any) -> dict[str, Any]:
    return {"name": "main", "resources": {"requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": gpu}}} | more


def node(
    name: str = "n", *, spec: dict[str, Any] | None = None, labels: dict[str, str] | None = None, **status: Any
) -> Node:
    body = {"metadata": {"name": name, "labels": labels or {}}, "spec": spec or {}, "status": status}
    return decode_node(json.dumps(body).encode())
