"""A node with a real kubelet: that Pods run on it, and that nothing of it is left, whatever ends it."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nos.testbed import Testbed, TestbedError, image, realnode, state
from nos.testbed.controlplane import Layout
from nos.testbed.realnode import IMAGE, KERNEL_PARAMETERS, RealNode
from tests.real_node import require_real_node

from .processes import eventually, processes_of

PODS = "/api/v1/namespaces/default/pods"


def pod(name: str, node: str, *arguments: str, **spec: Any) -> dict[str, Any]:
    """A Pod that is already bound."""
    container = {"name": "main", "image": IMAGE, "args": arguments, "env": [{"name": "WHO", "value": f"a={name}"}]}
    metadata = {"name": name, "namespace": "default"}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [container], **spec}}


def phase(testbed: Testbed, name: str) -> str:
    return str(testbed.api.get(f"{PODS}/{name}")["status"].get("phase"))


@pytest.fixture
def node(real_testbed: Testbed) -> RealNode:
    assert real_testbed.real_node
    return real_testbed.real_node


@pytest.mark.cluster
def test_a_pod_runs_and_its_environment_can_be_read(real_testbed: Testbed, node: RealNode) -> None:
    real_testbed.api.create(PODS, pod("runs", node.name))
    eventually(lambda: phase(real_testbed, "runs") == "Running", "the Pod runs")
    eventually(lambda: node.environment("runs").get("WHO") == "a=runs", "its environment is in its log")
    eventually(lambda: "KUBERNETES_SERVICE_HOST" in node.environment("runs"), "all of it is, a line at a time")
    address = real_testbed.api.get(f"{PODS}/runs")["status"]["podIP"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(real_testbed.layout.networks[0])
    # Where it looks for the API server somebody listens, for Pods alone.
    with socket.create_connection((node.environment("runs")["KUBERNETES_SERVICE_HOST"], 443)) as stranger:
        assert stranger.recv(1) == b""
    real_testbed.kubectl("delete", "pod", "runs", "--timeout=60s")
    eventually(lambda: not node.environment("runs"), "its log goes with it")


@pytest.mark.cluster
def test_a_pod_ends_by_itself_with_the_code_it_is_told(real_testbed: Testbed, node: RealNode) -> None:
    real_testbed.api.create(PODS, pod("succeeds", node.name, "0s", restartPolicy="Never"))
    real_testbed.api.create(PODS, pod("fails", node.name, "0s", "3", restartPolicy="Never"))
    eventually(lambda: phase(real_testbed, "succeeds") == "Succeeded", "the Pod ends")
    eventually(lambda: phase(real_testbed, "fails") == "Failed", "the Pod ends")
    (status,) = real_testbed.api.get(f"{PODS}/fails")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 3
    real_testbed.kubectl("delete", "pod", "succeeds", "fails", "--timeout=60s")


@pytest.mark.cluster
@pytest.mark.parametrize("kill", [False, True])
def test_pods_outlive_a_kubelet(real_testbed: Testbed, node: RealNode, kill: bool) -> None:
    real_testbed.api.create(PODS, pod("stays", node.name))
    eventually(lambda: phase(real_testbed, "stays") == "Running", "the Pod runs")
    before = real_testbed.api.get(f"{PODS}/stays")["status"]["containerStatuses"][0]["containerID"]
    node.restart_kubelet(kill=kill)
    real_testbed.api.create(PODS, pod("comes", node.name))
    eventually(lambda: phase(real_testbed, "comes") == "Running", "the new kubelet runs Pods")
    (status,) = real_testbed.api.get(f"{PODS}/stays")["status"]["containerStatuses"]
    assert (status["containerID"], status["restartCount"]) == (before, 0)
    real_testbed.kubectl("delete", "pod", "stays", "comes", "--timeout=60s")


@pytest.mark.cluster
def test_there_is_one(real_testbed: Testbed) -> None:
    with pytest.raises(TestbedError, match="has a real node already, real-0"):
        real_testbed.add_real_node()


# What the machine has that is not in the testbed's directory.


def machine() -> dict[str, Any]:
    """The kernel's parameters, the network interfaces, the mounts."""
    parameters = {name: Path("/proc/sys", name).read_text() for name in KERNEL_PARAMETERS}
    mounts = Path("/proc/self/mountinfo").read_text().count("\n")
    return {"parameters": parameters, "interfaces": sorted(os.listdir("/sys/class/net")), "mounts": mounts}


@pytest.fixture
def unchanged() -> Iterator[None]:
    """The machine is afterwards as it was before."""
    require_real_node()
    before = machine()
    yield
    # The kernel removes a namespace's interfaces in its own time.
    eventually(lambda: machine()["interfaces"] == before["interfaces"], "the interfaces are gone")
    assert machine() == before


IN_PROCESS = """
import json, pathlib, signal, sys, nos.testbed as t
signal.signal(signal.SIGINT, signal.default_int_handler)
with t.Testbed(pathlib.Path(sys.argv[1]), scheduler=False, kwok=False) as testbed:
    node = testbed.add_real_node()
    testbed.api.create("/api/v1/namespaces/default/pods", json.loads(sys.argv[2]))
    signal.pause()
"""

MOMENTS: dict[str, Callable[[Layout], bool]] = {
    "namespaces": lambda layout: (layout.logs / "node.log").exists(),
    "containerd": lambda layout: (layout.real_node / "containerd.sock").exists(),
    "kubelet": lambda layout: "kubelet" in (found.processes if (found := state.read(layout)) else ()),
    "pod": lambda layout: any(layout.real_node.glob("logs/default_runs_*/main/0.log")),
}


@contextmanager
def started(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", IN_PROCESS, str(directory), json.dumps(pod("runs", "real-0"))]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.cluster
@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("moment", "number"),
    [*((moment, signal.SIGINT) for moment in MOMENTS), ("containerd", signal.SIGKILL), ("pod", signal.SIGKILL)],
)
def test_however_it_ends_nothing_is_left(tmp_path: Path, moment: str, number: int) -> None:
    layout = Layout(tmp_path / "t")
    with started(layout.directory) as process:
        eventually(lambda: MOMENTS[moment](layout), f"the start comes to {moment}")
        if moment == "pod":
            assert any(path.exists() for path in layout.cgroups())
        process.send_signal(number)
        process.wait(60)
    eventually(lambda: not layout.directory.exists(), "the supervisor cleaned up")
    eventually(lambda: not processes_of(layout.directory), "its processes are gone")
    assert not any(path.exists() for path in layout.cgroups())  # which cannot go while a process is in one


@pytest.mark.cluster
@pytest.mark.usefixtures("unchanged")
def test_a_crash_of_everything_is_cleaned_up_later(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "t")
    with started(layout.directory):
        eventually(lambda: MOMENTS["pod"](layout), "the Pod runs")
        found = state.read(layout)
        assert found
        found.supervisor.signal(signal.SIGKILL)
        eventually(
            lambda: not [line for line in processes_of(layout.directory) if " -c " not in line], "all are killed"
        )
    assert state.down(layout) is False
    assert not layout.directory.exists()
    assert not any(path.exists() for path in layout.cgroups())


@pytest.mark.cluster
@pytest.mark.usefixtures("unchanged")
def test_up_with_a_real_node(tmp_path: Path) -> None:
    directory = tmp_path / "t"

    def nos(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nos.cli.testbed", *arguments, "--state-dir", str(directory)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    up = nos("up", "--real-node", "--no-scheduler")
    assert up.returncode == 0, up.stderr
    status = json.loads(nos("status", "-o", "json").stdout)
    assert (status["healthy"], status["nodes"], status["nodes_ready"]) == (True, 1, 1)
    memory = {part["name"]: part["memory_mib"] for part in status["components"]}
    assert memory["kubelet"] > 40  # its own, not that of what started it
    assert nos("up", "--real-node").returncode == 0
    assert nos("down").returncode == 0
    assert not directory.exists()
    assert processes_of(directory) == []


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realnode, "PACKAGES", {"no-such-program": "some-package"})
    assert realnode.obstacle() == "a real node needs some-package: apt install some-package"
    monkeypatch.setattr(realnode, "PACKAGES", {})
    monkeypatch.setattr(realnode, "CNI_DIRECTORIES", ("/nowhere",))
    assert "apt install containernetworking-plugins" in (realnode.obstacle() or "")
    monkeypatch.setattr(realnode, "CNI_PLUGINS", ())
    monkeypatch.setattr(realnode, "CNI_DIRECTORIES", ("/",))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in (realnode.obstacle() or "")


def test_an_image_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    for path in (first, second):
        image.write_archive(path, b"program", name=IMAGE)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        (manifest,) = json.load(archive.extractfile("index.json") or pytest.fail("no index"))["manifests"]
        digest = manifest["digest"].replace(":", "/")
        content = json.load(archive.extractfile(f"blobs/{digest}") or pytest.fail("no manifest"))
        for blob in (content["config"], *content["layers"]):
            assert archive.getmember(f"blobs/{blob['digest'].replace(':', '/')}").size == blob["size"]
