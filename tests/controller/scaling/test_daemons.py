"""What DaemonSets take of nodes that are still to come."""

from __future__ import annotations

import json
from typing import Any

from nos.controller.scaling.daemons import Daemons
from nos.kube.client import Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.node import Metadata, Node, Status, Taint
from nos.kube.node import Spec as NodeSpec
from nos.kube.quantity import nano
from tests.controller.in_loop import in_loop


def daemon_set(name: str, cpu: str, memory: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return {
        "metadata": {"name": name, "namespace": "sys"},
        "spec": {"template": {"spec": {"containers": [container]} | spec}},
    }


class Server(Client):
    """Answers as an API server with these DaemonSets, two on a page."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = list(items)
        self.error: Exception | None = None
        self.reads = 0

    async def request(self, *_: Any, params: Any = None, **__: Any) -> bytes:
        self.reads += 1
        if self.error:
            raise self.error
        start = int(params.get("continue", 0))
        more = {"continue": str(start + 2)} if start + 2 < len(self.items) else {}
        return json.dumps({"metadata": more, "items": self.items[start : start + 2]}).encode()


def node(taints: tuple[Taint, ...] = (), **labels: str) -> Node:
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "1"}
    return Node(Metadata(labels=labels), NodeSpec(list(taints)), Status(allocatable=allocatable))


def left(daemons: Daemons, template: Node) -> tuple[int, int, int]:
    """milli-CPU, MiB and Pods."""
    offered = daemons.leave(template).status.allocatable
    return nano(offered["cpu"]) // 10**6, nano(offered["memory"]) // 10**9 // 2**20, nano(offered["pods"]) // 10**9


@in_loop
async def test_what_those_take_that_would_run_there_is_not_offered() -> None:
    on_gpus = {"nodeSelector": {"gpu": "yes"}}
    tolerant = {"tolerations": [{"operator": "Exists"}]}
    daemons = Daemons(
        Server(
            daemon_set("log", "100m", "64Mi"),
            daemon_set("gpu", "500m", "1Gi", **on_gpus),
            daemon_set("net", "1", "0", **tolerant),
        )
    )
    assert left(daemons, node()) == (4000, 8192, 110)
    await daemons.look()
    # log and net: 4000 - 100 - 1000, 8192 - 64, 110 - 2.
    assert left(daemons, node()) == (2900, 8128, 108)
    assert left(daemons, node(gpu="yes")) == (2400, 7104, 107)
    assert left(daemons, node((Taint("a", "b", "NoSchedule"),), gpu="yes")) == (3000, 8192, 109)
    assert daemons.leave(node()).status.allocatable["nvidia.com/gpu"] == "1"


@in_loop
async def test_they_are_read_once_a_minute_and_kept_when_that_fails() -> None:
    server = Server(daemon_set("log", "1", "0"))
    daemons = Daemons(server)
    await daemons.look()
    await daemons.look()
    assert server.reads == 1
    daemons._read = None
    for error in (ApiError(403, "Forbidden", "no"), Unreachable("cut")):
        server.error = error
        daemons._read = None
        await daemons.look()
        assert left(daemons, node())[0] == 3000
