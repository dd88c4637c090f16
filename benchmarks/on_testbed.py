"""What the benchmarks on the testbed share: the controller under its own role; many Pods, made and removed quickly."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import Decoder, encode

import nos.kube.pod
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.encode import pod_path
from nos.testbed import Testbed
from nos.testbed.credentials import service_account

PODS = "/api/v1/namespaces/default/pods"
RBAC = Path(__file__).parents[1] / "deploy" / "kustomize" / "controller" / "rbac.yaml"
NOS, GROUPS = service_account("nebuly-nos", "nos-scheduler")
USERS = {NOS: GROUPS}  # for Testbed(users=...)
CONTROLLER = "nos-controller"
_IN_FLIGHT = 32


class _Metadata(Struct):
    name: str
    uid: str
    annotations: dict[str, str] = {}


class _Spec(Struct, rename="camel"):
    node_name: str = ""


class Pod(Struct):
    """What the checks look at."""

    metadata: _Metadata
    spec: _Spec


class _List(Struct):
    items: list[Pod]


_list = Decoder(_List).decode


def grant(testbed: Testbed) -> None:
    """The role that users install."""
    testbed.kubectl("create", "namespace", "nebuly-nos")
    testbed.kubectl("apply", "-f", str(RBAC))


def in_a_pod(testbed: Testbed, token: str, directory: Path) -> list[str]:
    """What before a command line has it run as in a Pod whose service account has this token: the kubelet's files are
    where they are there, for it alone. Needs root. directory: where they are kept."""
    (directory / "token").write_text(token)
    shutil.copy(testbed.ca_file, directory / "ca.crt")
    there = "/run/secrets/kubernetes.io/serviceaccount"
    script = f'mount -t tmpfs none /run && mkdir -p {there} && mount --bind "$0" {there} && exec "$@"'
    server = urlsplit(testbed.server)
    where = f"KUBERNETES_SERVICE_HOST={server.hostname}", f"KUBERNETES_SERVICE_PORT={server.port}"
    return ["unshare", "--mount", "sh", "-c", script, str(directory), "env", "-u", "KUBECONFIG", *where]


@contextmanager
def controller(
    testbed: Testbed,
    *,
    dashboard: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
    inside: Sequence[str] = (),
) -> Iterator[int]:
    """`nos controller` with its defaults, from its start on; its process id. dashboard: its address, if there is to
    be one. environment: on top of ours. inside: what `in_a_pod` gives; nothing: with a kubeconfig."""
    flags = [] if inside else ["--kubeconfig", str(testbed.kubeconfig_of(NOS))]
    flags += ["--health-address", "127.0.0.1:0", "--dashboard-address", dashboard]
    more = [f"{name}={value}" for name, value in environment.items()]
    argv = [
        *(inside or ("env",)),
        *more,
        sys.executable,
        "-c",
        "from nos.cli import main; main()",
        "controller",
        *flags,
    ]
    yield testbed.start_program(CONTROLLER, argv, ready=lambda _: True)
    testbed.stop_program(CONTROLLER)


def pod(name: str, gpus: int = 1) -> dict[str, Any]:
    """A Pod for nos or for a kube-scheduler under its name."""
    amounts = {"cpu": "1", "memory": "4Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    spec = {
        "schedulerName": "nos-scheduler",
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [{"name": "main", "image": "busybox", "resources": {"requests": amounts, "limits": amounts}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def admin(testbed: Testbed) -> Client:
    """A client of the cluster's admin."""
    return Client(Access.load(str(testbed.kubeconfig)))


async def create(client: Client, path: str, objects: Sequence[Any]) -> None:
    """Make all of these there."""
    await _each(objects, lambda made: client.request("POST", path, body=encode(made), timeout=60))


async def bind(testbed: Testbed, count: int, without_gpu: int = 0) -> None:
    """Give its scheduler Pods, pod-0 and so on, and wait until it has bound them. without_gpu: more that need none."""
    async with admin(testbed) as client:
        made = [pod(f"pod-{number}", 1 if number < count else 0) for number in range(count + without_gpu)]
        await create(client, PODS, made)
        deadline = time.monotonic() + 120
        while not all(one.spec.node_name for one in await pods(client)):
            assert time.monotonic() < deadline, "not all Pods were bound within 2 minutes"
            await asyncio.sleep(1)


async def delete(client: Client, paths: Sequence[str]) -> None:
    """Remove all of these, at once."""
    body = encode({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
    await _each(paths, lambda path: client.request("DELETE", path, body=body, timeout=60))


async def delete_all(client: Client, namespace: str = "default") -> None:
    """Remove all Pods; back when they are gone, at once as they have no grace period."""
    await delete(client, [pod_path(namespace, each.metadata.name) for each in await pods(client, namespace)])
    assert not await pods(client, namespace)


async def pods(client: Client, namespace: str = "default") -> list[Pod]:
    """All there are now."""
    return _list(await client.request("GET", f"/api/v1/namespaces/{namespace}/pods", timeout=60)).items


class Bound:
    """The Sink of a watch on Pods: sees each of them get its node."""

    def __init__(self, expected: int) -> None:
        self.first = self.last = 0.0
        self.nodes: dict[str, str] = {}
        self.all = asyncio.Event()
        self._expected = expected

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""

    def changed(self, pod: nos.kube.pod.Pod) -> None:
        """See nos.kube.watch.Sink."""
        uid, node = pod.metadata.uid, pod.spec.node_name
        if node:
            assert self.nodes.setdefault(uid, node) == node, f"{pod.metadata.name} was bound twice"
            self.last = time.monotonic()
            self.first = self.first or self.last
            if len(self.nodes) == self._expected:
                self.all.set()

    def deleted(self, pod: nos.kube.pod.Pod) -> None:
        """See nos.kube.watch.Sink."""


@contextmanager
def kube_scheduler(testbed: Testbed, config: str) -> Iterator[int]:
    """The testbed's own, so configured; its process id."""
    testbed.start_scheduler(config)
    yield pid_of(testbed, "kube-scheduler")
    testbed.stop_scheduler()


def pid_of(testbed: Testbed, name: str) -> int:
    """The process id of a part of the control plane."""
    return int(json.loads((testbed.state_dir / "state.json").read_text())["processes"][name]["pid"])


def cpu_seconds(pid: int) -> float:
    """Of all its threads, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _each(items: Sequence[Any], work: Any) -> None:
    """Do it for each, many in flight."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(_IN_FLIGHT)))
