"""Simulated GPUs on the real node, and the agent that cuts them and hands them to the kubelet.

with Testbed(scheduler=False) as testbed:
    testbed.add_real_node()
    gpus = testbed.add_gpus(["a100-40gb"] * 2)
    # with `nos controller` running, Pods that ask for nvidia.com/mig-3g.20gb run
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nos.mig import find

from .api import Api
from .errors import TestbedError
from .nvml_sim import NvmlSim
from .process import Supervisor
from .realnode import RealNode

AGENT = "nos-agent"
_LABEL = "nos.nebuly.com/gpu-partitioning"
_GPU_NODES = "/apis/nos.nebuly.com/v1alpha1/gpunodes"
_TIMEOUT_S = 60.0
_MOST_GPUS = 16


def parse_models(text: str) -> list[str]:
    """`a100-40gb=2,a30-24gb=1` as one model id per GPU. TestbedError."""
    found: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        model, _, count = part.partition("=")
        if not (count or "1").isdecimal() or not 1 <= int(count or "1") <= _MOST_GPUS:
            raise TestbedError(f"--gpus {part}: write MODEL=COUNT, with 1 to {_MOST_GPUS} of them")
        if find(model) is None:
            raise TestbedError(f"--gpus {part}: no model {model!r} can be cut; `nos mig models` lists those that can")
        found += [model] * int(count or "1")
    if len(found) > _MOST_GPUS:
        raise TestbedError(f"--gpus {text}: a node has at most {_MOST_GPUS} GPUs")
    return found


class SimulatedGpus:
    """The driver's side is `sim`; the agent is a process of the testbed, with its admin's kubeconfig or another."""

    def __init__(
        self,
        node: RealNode,
        models: Sequence[str],
        supervisor: Supervisor,
        start: Callable[[str, Sequence[str | Path], Mapping[str, str] | None], int],
        api: Api,
        kubeconfig: Path,
    ) -> None:
        self.sim = NvmlSim(node.directory / "nvml", models)
        self._node = node
        self._supervisor = supervisor
        self._start = start
        self._api = api
        self._kubeconfig = kubeconfig

    def start_agent(self) -> int:
        """Starts it; returns its process id when it has reported."""
        directory = self._node.directory
        argv = [sys.executable, "-c", "from nos.cli import main; main()", "agent", "--verbose"]
        argv += [
            "--node",
            self._node.name,
            "--kubelet",
            str(directory / "kubelet"),
            "--state",
            str(directory / "agent"),
        ]
        argv += ["--kubeconfig", str(self._kubeconfig), "--health-address", "127.0.0.1:0"]
        pid = self._start(AGENT, argv, {**os.environ, **self.sim.environment})
        self._supervisor.wait_until(self._reported, AGENT, what="it reported its GPUs", timeout=_TIMEOUT_S)
        return pid

    def stop_agent(self) -> None:
        """Stops it; Pods run on."""
        self._supervisor.stop(AGENT)

    def label_node(self, value: str | None = "mig") -> None:
        """Says that nos owns how the node's GPUs are cut; None takes that back."""
        self._api.merge(f"/api/v1/nodes/{self._node.name}", {"metadata": {"labels": {_LABEL: value}}})

    def _reported(self) -> bool:
        status, answer = self._api.request("GET", f"{_GPU_NODES}/{self._node.name}")
        return status == 200 and "status" in json.loads(answer)
