"""What the benchmarks on the testbed share: the controller under its own role; many Pods, made and removed quickly."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder, encode

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


@contextmanager
def controller(testbed: Testbed) -> Iterator[int]:
    """`nos controller` with its defaults, from its start on; its process id."""
    flags = ["--kubeconfig", str(testbed.kubeconfig_of(NOS)), "--health-address", "127.0.0.1:0"]
    argv = [sys.executable, "-c", "from nos.cli import main; main()", "controller", *flags]
    yield testbed.start_program(CONTROLLER, argv, ready=lambda _: True)
    testbed.stop_program(CONTROLLER)


def pod(name: str) -> dict[str, Any]:
    """A Pod of one GPU, for nos or for a kube-scheduler under its name."""
    amounts = {"cpu": "1", "memory": "4Gi", "nvidia.com/gpu": "1"}
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


async def create(client: Client, names: Sequence[str]) -> None:
    """Make these Pods."""
    await _each(names, lambda name: client.request("POST", PODS, body=encode(pod(name)), timeout=60))


async def delete_all(client: Client) -> None:
    """Remove all Pods; back when they are gone, at once as they have no grace period."""
    body = encode({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
    names = [each.metadata.name for each in await pods(client)]
    await _each(names, lambda name: client.request("DELETE", pod_path("default", name), body=body, timeout=60))
    assert not await pods(client)


async def pods(client: Client) -> list[Pod]:
    """All there are now."""
    return _list(await client.request("GET", PODS, timeout=60)).items


def pid_of(testbed: Testbed, name: str) -> int:
    """The process id of a part of the control plane."""
    return int(json.loads((testbed.state_dir / "state.json").read_text())["processes"][name]["pid"])


def cpu_seconds(pid: int) -> float:
    """Of all its threads, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _each(names: Sequence[str], work: Any) -> None:
    """Do it for each, many in flight."""
    left = iter(names)

    async def worker() -> None:
        for name in left:
            await work(name)

    await asyncio.gather(*(worker() for _ in range(_IN_FLIGHT)))
