"""A testbed that stays: `nos testbed up` and `status`. Stopping one is `state.down`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import nodes, realnode, state
from .api import Api, Object
from .controlplane import Layout
from .errors import TestbedError
from .progress import Progress
from .testbed import Testbed


@dataclass
class Status:
    """What `nos testbed status` shows."""

    directory: str
    running: bool
    healthy: bool = False
    server: str = ""
    kubeconfig: str = ""
    nodes: int = 0
    nodes_ready: int = 0
    components: list[Component] = field(default_factory=list)


@dataclass
class Component:
    """One process of a testbed."""

    name: str
    pid: int
    port: int | None
    healthy: bool
    memory_mib: int


def up(
    directory: Path,
    shapes: Mapping[str, int],
    *,
    scheduler: bool | str,
    progress: Progress,
    real_node: bool = False,
    gpus: Sequence[str] = (),
) -> bool:
    """Makes a testbed run in `directory`, with these nodes at least; False when it ran already. gpus: models of the
    simulated GPUs of the real node."""
    layout = Layout(directory.absolute())
    if gpus and not real_node:
        raise TestbedError("--gpus are those of the real node: give --real-node too")
    if real_node and (problem := realnode.obstacle()):
        raise TestbedError(problem)
    if state.running(layout):
        found = state.read(layout)
        if not found or not found.ready:
            raise TestbedError(f"a testbed is starting in {directory}; wait for it, or stop it: nos testbed down")
        if real_node and "kubelet" not in found.processes:
            raise TestbedError("a real node cannot be added to a running testbed; stop that: nos testbed down")
        api = _api(layout, found)
        try:
            nodes.create_nodes(api, _wanted(shapes), progress)
        finally:
            api.close()
        return False
    testbed = Testbed(directory, scheduler=scheduler, progress=progress)
    testbed.start()
    try:
        testbed.install_crds()
        nodes.create_nodes(testbed.api, _wanted(shapes), progress)
        if real_node:
            testbed.add_real_node()
        if gpus:
            testbed.add_gpus(gpus)
        testbed.detach()
    except BaseException:
        testbed.stop()
        raise
    return True


def status(directory: Path) -> Status:
    """Asks every part of the testbed in `directory` how it is."""
    layout = Layout(directory.absolute())
    found = state.read(layout) if state.running(layout) else None
    if found is None:
        return Status(str(layout.directory), running=False)
    api = _api(layout, found)
    probes = {
        "etcd": (api, "/readyz/etcd"),
        "kube-apiserver": (api, "/readyz"),
    }
    for name, path in (("kube-controller-manager", "/healthz"), ("kube-scheduler", "/readyz")):
        if name in found.processes:
            probes[name] = (Api(found.ports[name], "", layout.certificates / f"{name}.crt"), path)
    components = []
    for name, process in found.processes.items():
        healthy = process.alive()
        if healthy and name in probes:
            asked, path = probes[name]
            healthy = asked.answers(path)
        components.append(
            Component(name, process.pid, found.ports.get(name), healthy, _memory_mib(process) if healthy else 0)
        )
    result = Status(
        str(layout.directory),
        running=True,
        healthy=found.ready and all(component.healthy for component in components),
        server=found.server,
        kubeconfig=str(layout.kubeconfig),
        components=components,
    )
    if result.healthy:
        result.nodes = len(api.get("/api/v1/nodes?resourceVersion=0")["items"])
        result.nodes_ready = len(nodes.ready_nodes(api))
    for asked, _ in probes.values():
        asked.close()
    return result


def _wanted(shapes: Mapping[str, int]) -> list[Object]:
    return [nodes.make_node(shape, number) for shape, count in shapes.items() for number in range(count)]


def _api(layout: Layout, found: state.State) -> Api:
    token = json.loads(layout.kubeconfig.read_text())["users"][0]["user"]["token"]
    return Api(found.ports["kube-apiserver"], token, layout.ca_file)


def _memory_mib(process: state.Process) -> int:
    try:
        # The real node's programs are children of what brought them into their namespaces.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in (process.pid, *children)]
    except OSError:
        return 0
    lines = (line.split() for status in statuses for line in status.splitlines())
    return sum(int(words[1]) for words in lines if words[0] == "VmRSS:") // 1024
