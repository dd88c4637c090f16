"""The real Karpenter, with the provider that it is tested with: its machines are nodes of kwok.

    with Testbed() as testbed:
        karpenter = testbed.add_karpenter([InstanceType("p5", {"cpu": "192", ...}, {("zone-a", "on-demand"): 55.0})])
        # NodePools, NodeClaims and KWOKNodeClasses are served, and acted upon

Its nodes offer what the instance type says, less 100m of CPU and 10Mi of memory. Its KWOKNodeClass is the caller's to
make: a NodeClaim whose NodeClass is not there fails for want of capacity. It listens on two free ports, and cannot be
told to do so on loopback alone.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import binaries
from .port import free_port
from .process import Supervisor, is_ready
from .versions import KARPENTER, KARPENTER_MODULE

NAME = "karpenter"
_CRDS = ("pkg/apis/crds", "kwok/apis/crds")
_PROBE = re.compile(r'"message":"starting server".*"name":"health probe".*"addr":"[^"]*:(\d+)"')


@dataclass(frozen=True)
class InstanceType:
    """A kind of machine. resources: its capacity. prices: dollars per hour, by zone and capacity type."""

    name: str
    resources: Mapping[str, str]
    prices: Mapping[tuple[str, str], float]

    def told(self) -> dict[str, Any]:
        """As its file of instance types has it."""
        offerings = [
            {
                "Price": price,
                "Available": True,
                "Requirements": [
                    {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]},
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": [capacity_type]},
                ],
            }
            for (zone, capacity_type), price in self.prices.items()
        ]
        return {
            "name": self.name,
            "architecture": "amd64",
            "operatingSystems": ["linux"],
            "resources": dict(self.resources),
            "offerings": offerings,
        }


class Karpenter:
    """One process of a testbed, outside the cluster."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        supervisor: Supervisor,
        start: Callable[[str, Sequence[str | Path], Mapping[str, str] | None], int],
        kubeconfig: Path,
        instance_types: Sequence[InstanceType],
        feature_gates: Mapping[str, bool],
        environment: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._binary = binary
        self._directory = directory
        self._supervisor = supervisor
        self._start = start
        self._kubeconfig = kubeconfig
        self._instance_types = instance_types
        self._feature_gates = feature_gates
        self._environment = environment
        self._metrics_port = 0
        self._timeout = timeout

    def start(self) -> None:
        """Starts it; returns when it says that it is ready."""
        types = self._directory / "instance-types.json"
        types.write_text(json.dumps([one.told() for one in self._instance_types]))
        self._metrics_port = free_port()
        environment = {
            "KUBECONFIG": str(self._kubeconfig),
            "DISABLE_LEADER_ELECTION": "true",
            "SYSTEM_NAMESPACE": "kube-system",
            "METRICS_PORT": str(self._metrics_port),
            "HEALTH_PROBE_PORT": "0",  # any; it says in its log which
            "INSTANCE_TYPES_FILE_PATH": str(types),
            "FEATURE_GATES": ",".join(f"{name}={str(on).lower()}" for name, on in self._feature_gates.items()),
        }
        log = self._supervisor.log(NAME)
        log.unlink(missing_ok=True)  # the port in it is that of the last one
        self._start(NAME, [self._binary], {**os.environ, **environment, **self._environment})
        self._supervisor.wait_until(lambda: is_ready(log, _PROBE), NAME, what="it was ready", timeout=self._timeout)

    def stop(self) -> None:
        """Stops it; what it made stays."""
        self._supervisor.stop(NAME)

    def metrics(self) -> str:
        """What it counts of itself, as Prometheus reads it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


def crds() -> list[dict[str, Any]]:
    """The kinds that it serves."""
    folders = binaries.ensure_folders(f"{KARPENTER_MODULE}@{KARPENTER}", _CRDS)
    return [yaml.safe_load(file.read_text()) for folder in folders for file in sorted(folder.glob("*.yaml"))]
