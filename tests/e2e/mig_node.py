"""The whole of nos around one real kubelet: controller and agent as processes, the driver simulated."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nos.testbed import Testbed
from nos.testbed.nvml_sim import NvmlSim
from nos.testbed.realnode import IMAGE, RealNode

PODS = "/api/v1/namespaces/default/pods"
GPU_NODES = "/apis/nos.nebuly.com/v1alpha1/gpunodes"
_NOW = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
_NOS = (sys.executable, "-c", "from nos.cli import main; main()")


def eventually(condition: Callable[[], object], what: str, within: float = 30.0) -> None:
    """Asks until it is so."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)


class MigNode:
    """A real node whose GPUs nos cuts."""

    def __init__(self, testbed: Testbed, sim: NvmlSim, state: Path) -> None:
        assert testbed.real_node
        self.testbed = testbed
        self.node: RealNode = testbed.real_node
        self.sim = sim
        self._state = state

    def start_agent(self) -> int:
        """Its process id."""
        flags = ["--node", self.node.name, "--kubelet", str(self.node.directory / "kubelet")]
        flags += ["--state", str(self._state), "--health-address", "127.0.0.1:0"]
        flags += ["--kubeconfig", str(self.testbed.kubeconfig), "--verbose"]
        environment = [f"{name}={value}" for name, value in self.sim.environment.items()]
        argv = ["env", *environment, *_NOS, "agent", *flags]
        return self.testbed.start_program("nos-agent", argv, ready=lambda _: self.report() is not None)

    def stop_agent(self) -> None:
        self.testbed.stop_program("nos-agent")

    def report(self) -> Any:
        """The GPUNode's status; None before there is one."""
        status, answer = self.testbed.api.request("GET", f"{GPU_NODES}/{self.node.name}")
        return json.loads(answer).get("status") if status == 200 else None

    def create(self, name: str, **spec: Any) -> None:
        """A Pod for nos. Amounts of resources by keyword `limits`; everything else goes into the spec."""
        limits = spec.pop("limits")
        container = {"name": "main", "image": IMAGE, "resources": {"limits": limits}}
        body = {"schedulerName": "nos-scheduler", "terminationGracePeriodSeconds": 0, "containers": [container]}
        assert self.testbed.api.create(PODS, {"metadata": {"name": name}, "spec": body | spec})

    def delete(self, *names: str) -> None:
        """At once; back when the kubelet has let go of them."""
        for name in names:
            self.testbed.api.request("DELETE", f"{PODS}/{name}", {**_NOW})
        eventually(lambda: not set(names) & {pod["metadata"]["name"] for pod in self.pods()}, "the Pods are gone")
        eventually(lambda: not set(names) & set(self.holders().values()), "the kubelet has let go")

    def pods(self) -> list[Any]:
        return list(self.testbed.api.get(PODS)["items"])

    def pod(self, name: str) -> Any:
        return self.testbed.api.get(f"{PODS}/{name}")

    def runs(self, *names: str, within: float = 30.0) -> None:
        """Returns when all of these Pods run."""

        def all_run() -> bool:
            phases = {pod["metadata"]["name"]: pod["status"].get("phase") for pod in self.pods()}
            failed = [
                (pod["metadata"]["name"], pod["status"]) for pod in self.pods() if pod["status"]["phase"] == "Failed"
            ]
            assert not failed, failed
            return all(phases.get(name) == "Running" for name in names)

        eventually(all_run, f"{names} run", within)

    def devices(self, name: str) -> list[str]:
        """What the container's environment says that it was given."""
        eventually(lambda: self.node.environment(name), f"{name} has written its environment")
        return self.node.environment(name)["NVIDIA_VISIBLE_DEVICES"].split(",")

    def holders(self) -> dict[str, str]:
        """Device to Pod, as the agent reports."""
        report = self.report() or {}
        found = {}
        for gpu in report.get("gpus", ()):
            for thing in (gpu, *gpu.get("instances", ())):
                if thing.get("pod"):
                    found[thing["uuid"]] = thing["pod"].removeprefix("default/")
        return found

    def place_of(self, device: str) -> tuple[int, str, int]:
        """GPU, profile and start of a MIG device, by the driver's own books."""
        for gpu in range(len(self.sim.gpus)):
            for instance in self.sim.instances(gpu):
                if device in instance.devices:
                    return gpu, instance.profile, instance.start
        raise AssertionError(f"the driver has no {device}")

    def planned(self, name: str) -> list[tuple[int, str, int]]:
        """What nos decided, as the Binding wrote it onto the Pod."""
        text = self.pod(name)["metadata"]["annotations"]["nos.nebuly.com/instances"]
        parts = (part.replace("@", ":").split(":") for part in text.split(","))
        return [(int(gpu), profile, int(start)) for gpu, profile, start in parts]


@contextmanager
def mig_node(testbed: Testbed, sim: NvmlSim, state: Path) -> Iterator[MigNode]:
    """Controller and agent run; the node is empty before and after."""
    made = MigNode(testbed, sim, state)
    label = {"metadata": {"labels": {"nos.nebuly.com/gpu-partitioning": "mig"}}}
    name = made.node.name
    testbed.kubectl("patch", "node", name, "--type=merge", f"--patch={json.dumps(label)}")
    flags = ["--kubeconfig", str(testbed.kubeconfig), "--lease-namespace", "default"]
    flags += ["--health-address", "127.0.0.1:0", "--verbose"]
    try:
        made.start_agent()
        testbed.start_program(
            "nos-controller", [*_NOS, "controller", *flags], ready=lambda log: "scheduling: " in log.read_text()
        )
        yield made
    finally:
        if sys.exc_info()[0] and os.environ.get("CI"):  # what CI keeps of a failure is what was printed
            for log in ("nos-agent", "nos-controller"):
                print((testbed.layout.logs / f"{log}.log").read_text()[-8000:])
        made.delete(*(pod["metadata"]["name"] for pod in made.pods()))
        testbed.stop_program("nos-controller")
        testbed.stop_program("nos-agent")
        testbed.api.request("DELETE", f"{GPU_NODES}/{name}")
        label["metadata"]["labels"] = {"nos.nebuly.com/gpu-partitioning": None}  # type: ignore[dict-item]
        testbed.kubectl("patch", "node", name, "--type=merge", f"--patch={json.dumps(label)}")
