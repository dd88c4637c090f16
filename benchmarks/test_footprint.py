"""What nos takes where it runs: the controller of 1,000 nodes with 10,000 Pods, and a node's agent with its front.

All of them find the API server as they do in a Pod, by the files of a service account. The controller's clock starts
with its process, and ends when it leads and /readyz says 200 (one that stands by says so sooner). It is started twice:
with the nodes alone, and when the Pods are bound and one waits; that one's Binding is a second end. On a machine that
others use, the seconds of CPU say more than the others. Memory: RSS counts the pages of programs
that others have in memory too, PSS a share of them; most is the RSS at its highest. Checked: each Pod was bound once,
no GPU was given twice, the agent's slices run, its front hands on what it says.

    pytest benchmarks/test_footprint.py -s     # as root: the agent has a real kubelet
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tests.e2e.mig_node import install, mig_node
from tests.real_node import require_real_node

import on_testbed
from nos.testbed import Testbed
from nos.testbed.gpus import AGENT
from nos.testbed.progress import Progress

NODES, GPU_PODS, CPU_PODS = 1_000, 7_000, 3_000
WAITING = "waiting"
IDLE_S = 60
CONTROLLER_MB, OF_A_CORE, AGENT_MB = 250, 0.02, 60
FRONT = "nos-front"


class Memory(NamedTuple):
    """In MB."""

    rss: float
    pss: float
    most: float

    @classmethod
    def of(cls, pid: int) -> Memory:
        """Of a process, now."""
        lines = [Path(f"/proc/{pid}/{file}").read_text() for file in ("smaps_rollup", "status")]
        return cls(*(_kilobytes(name, "".join(lines)) * 1024 / 1e6 for name in ("Rss", "Pss", "VmHWM")))

    def __str__(self) -> str:
        return f"{self.rss:.0f} MB RSS, {self.pss:.0f} MB PSS, {self.most:.0f} MB at most"


def _kilobytes(name: str, text: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found, name
    return int(found[1])


def test_controller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_real_node()  # which needs what `in_a_pod` needs
    with Testbed(scheduler=False, users=on_testbed.USERS, progress=Progress()) as testbed:
        on_testbed.grant(testbed)
        testbed.add_nodes({"8xH100": NODES})
        pod = on_testbed.in_a_pod(testbed, testbed.tokens[on_testbed.NOS], tmp_path)
        began = time.monotonic()
        with on_testbed.controller(testbed, inside=pod) as pid:
            alone = _leads(testbed, 1) - began, on_testbed.cpu_seconds(pid)
            asyncio.run(on_testbed.bind(testbed, GPU_PODS, CPU_PODS))
        asyncio.run(_wait(testbed))
        began = time.monotonic()
        with on_testbed.controller(testbed, inside=pod) as pid:
            full = _leads(testbed, 2) - began, on_testbed.cpu_seconds(pid)
            bound = _bound(testbed) - began
            time.sleep(15)  # the Event about that Pod, and the last of the garbage, are no part of idleness
            cpu, since = on_testbed.cpu_seconds(pid), time.monotonic()
            time.sleep(IDLE_S)
            share = (on_testbed.cpu_seconds(pid) - cpu) / (time.monotonic() - since)
            memory = Memory.of(pid)
        _check(asyncio.run(_pods(testbed)))
    with capsys.disabled():
        print(f"\ncontroller, {NODES:,} nodes of 8 GPUs, {GPU_PODS + CPU_PODS:,} Pods; load {_load()}")
        print("  leads and /readyz is 200 after   {:.2f} s, {:.2f} s of CPU".format(*full))
        print("  ... before there were Pods       {:.2f} s, {:.2f} s of CPU".format(*alone))
        print(f"  a Pod that waited is bound after {bound:.2f} s")
        print(f"  memory                           {memory}")
        print(f"  idle, over {IDLE_S} s                  {100 * share:.2f} % of a core")
    assert memory.rss < CONTROLLER_MB
    assert share < OF_A_CORE


def test_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_real_node()
    with Testbed(scheduler=False, kwok=False) as testbed:
        testbed.add_real_node()
        kubeconfigs = install(testbed, tmp_path)
        with mig_node(testbed, kubeconfigs, ["a100-40gb"] * 8) as node:
            node.gpus.stop_agent()
            token = yaml.safe_load(kubeconfigs[1].read_text())["users"][0]["user"]["token"]
            pod = on_testbed.in_a_pod(testbed, token, tmp_path)
            pod += [f"{name}={value}" for name, value in node.sim.environment.items() if name not in os.environ]
            socket = f"unix:{tmp_path}/agent.sock"
            directories = ["--kubelet", node.node.directory / "kubelet", "--state", node.node.directory / "agent"]
            flags = ["--node", node.node.name, *directories, "--health-address", socket]
            # Under the name of the one that was stopped: the node's end is its end too.
            agent = _start(testbed, AGENT, [*pod, *_nos("agent"), *flags], "GPUs: ")
            slices = [f"slices-{gpu}" for gpu in range(8)]
            for name in slices:
                node.create(name, limits={"nvidia.com/mig-1g.5gb": 7})
            node.runs(*slices, within=120)
            assert len({device for name in slices for device in node.devices(name)}) == 8 * 7
            flags = ["--agent", socket, "--health-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
            front = _start(testbed, FRONT, [*pod, *_nos("front"), *flags], "health on ")
            assert _status(f"http://{_address(testbed, FRONT)}/agent/readyz") == 200
            time.sleep(35)  # it looks at its GPUs twice a minute
            memory = Memory.of(agent), Memory.of(front)
            testbed.stop_program(FRONT)
    with capsys.disabled():
        print(f"\nagent, 8 GPUs in 56 instances, all in use; load {_load()}")
        print(f"  memory           {memory[0]}")
        print(f"  that of nos front {memory[1]}")
    assert memory[0].pss < AGENT_MB


async def _wait(testbed: Testbed) -> None:
    async with on_testbed.admin(testbed) as client:
        await on_testbed.create(client, on_testbed.PODS, [on_testbed.pod(WAITING)])


async def _pods(testbed: Testbed) -> list[on_testbed.Pod]:
    async with on_testbed.admin(testbed) as client:
        return await on_testbed.pods(client)


def _check(pods: list[on_testbed.Pod]) -> None:
    """All are bound; no GPU is given twice, and no node more than it has."""
    assert len(pods) == GPU_PODS + CPU_PODS + 1
    assert all(pod.spec.node_name for pod in pods)
    given = Counter(
        (pod.spec.node_name, gpu) for pod in pods if (gpu := pod.metadata.annotations.get("nos.nebuly.com/gpus"))
    )
    assert len(given) == GPU_PODS + 1
    assert max(given.values()) == 1


def _leads(testbed: Testbed, number: int) -> float:
    """When that one of the controllers said so, by the monotonic clock."""
    log = testbed.layout.logs / f"{on_testbed.CONTROLLER}.log"
    while (text := log.read_text()).count("scheduling: ") < number:
        assert text.count("stopping") < number, text[-2000:]
        time.sleep(0.005)
    now = time.monotonic()
    assert _status(f"http://{_address(testbed, on_testbed.CONTROLLER)}/readyz") == 200
    return now


def _bound(testbed: Testbed) -> float:
    path = f"{on_testbed.PODS}/{WAITING}"
    while not json.loads(testbed.api.request("GET", path)[1])["spec"].get("nodeName"):
        time.sleep(0.005)
    return time.monotonic()


def _start(testbed: Testbed, name: str, argv: list[str | Path], said: str) -> int:
    """One of ours; its process id, when it has said that."""
    log = testbed.layout.logs / f"{name}.log"
    before = log.read_text().count(said) if log.exists() else 0
    return testbed.start_program(name, argv, ready=lambda log: log.read_text().count(said) > before)


def _nos(command: str) -> list[str]:
    return [sys.executable, "-c", "from nos.cli import main; main()", command]


def _address(testbed: Testbed, name: str) -> str:
    return (testbed.layout.logs / f"{name}.log").read_text().rpartition("health on ")[2].split()[0]


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())
