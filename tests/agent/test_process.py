"""`nos agent` as a process: how it begins and ends, and what it does while no API server answers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from nos.agent.gpus import WHOLE
from nos.agent.journal import Journal, alone
from nos.kube.gpunode import Spec
from nos.testbed.nvml_sim import NvmlSim
from tests.prometheus import promtool

from .conftest import Machine
from .fake_kubelet import eventually
from .node import Node, write_kubeconfig
from .rig import places, there, want

SMALL = "nvidia.com/mig-1g.6gb"


def play(folder: Path, scene: Callable[[Node], Awaitable[None]], server: str = "http://127.0.0.1:1") -> None:
    async def all_of_it() -> None:
        async with Node(folder, "node", write_kubeconfig(folder / "kubeconfig", server)) as node:
            await scene(node)

    asyncio.run(asyncio.wait_for(all_of_it(), 120))


def refusal(sim: NvmlSim | None, *arguments: str) -> str:
    """What `nos agent` says when it does not start: one line, and exit code 2."""
    environment = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "NODE_NAME")}
    environment |= dict(sim.environment) if sim else {"LD_LIBRARY_PATH": ""}
    argv = [sys.executable, "-c", "from nos.cli import main; main()", "agent", *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def test_bad_input_is_answered_in_one_line(folder: Path, machine: Machine) -> None:
    sim = machine("a30-24gb")
    config = write_kubeconfig(folder / "kubeconfig", "http://127.0.0.1:1")
    good = ["--node", "n", "--kubeconfig", str(config), "--state", str(folder / "state")]
    assert "--hand by-mail: choose environment or cdi" in refusal(sim, *good, "--hand", "by-mail")
    assert "--log-format xml: choose text or json" in refusal(sim, *good, "--log-format", "xml")
    assert "nvmlInit: " in refusal(None, *good)
    said = refusal(sim, "--node", "n", "--kubeconfig", str(folder / "none"), "--state", str(folder / "state"))
    assert str(folder / "none") in said
    (folder / "file").write_text("")
    assert f"--state {folder / 'file'}" in refusal(sim, *good[:4], "--state", str(folder / "file"))
    assert "health" in refusal(sim, *good, "--health-address", "127.0.0.1:99999")
    with alone(folder / "state"):
        assert "another agent is at work here" in refusal(sim, *good)


def test_without_an_api_server_the_cut_is_restored_and_served(folder: Path, machine: Machine) -> None:
    """After a reboot: from the journal alone. Then it ends as it is told, and as it is not."""
    sim = machine("a30-24gb", "a30-24gb")

    async def scene(node: Node) -> None:
        Journal(node.settings.state).write_spec(Spec((want(0, True, places("1g.6gb@0 2g.12gb@2")),)))
        await node.start(sim.environment)
        await eventually(lambda: SMALL in node.kubelet.lists, "the instances are advertised", 30)
        await eventually(lambda: set(there(sim, 0)) == set(places("1g.6gb@0 2g.12gb@2")), "it is cut")
        before = there(sim, 0)
        device = before[places("1g.6gb@0")[0]]
        await eventually(lambda: node.kubelet.knows(device), "the kubelet knows it")
        assert await node.kubelet.admit("runs", SMALL, device)
        assert await node.stop(signal.SIGINT) == 0
        assert "stopping; the GPUs stay as they are" in node.said()
        await eventually(lambda: not node.kubelet.lists, "it took leave of the kubelet")
        for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
            await node.start(sim.environment)
            await eventually(lambda: set(node.kubelet.lists.get(SMALL, ())) == {device}, "it serves again", 30)
            assert await node.stop(number) == code
            await eventually(lambda: not node.kubelet.lists, "the kubelet has seen it go")
        assert there(sim, 0) == before
        sim.reboot()
        node.kubelet.held.clear()
        await node.start(sim.environment)
        await eventually(
            lambda: there(sim, 0).keys() == before.keys() and all(there(sim, 0).values()), "it is back", 30
        )
        await eventually(lambda: node.kubelet.knows(sim.gpus[1].uuid), "the other one is whole")
        assert await node.stop() == 0

    play(folder, scene)


def test_metrics_are_served_and_prometheus_has_nothing_to_say_of_them(folder: Path, machine: Machine) -> None:
    sim = machine("a30-24gb")

    async def scene(node: Node) -> None:
        Journal(node.settings.state).write_spec(Spec((want(0, True, places("1g.6gb@0")),)))
        await node.start(sim.environment)
        await eventually(lambda: len(node.kubelet.lists.get(SMALL, ())) == 1, "it is cut", 40)
        address = node.said().partition("health on ")[2].split()[0]

        def scrape() -> str:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                return str(answer.read().decode())

        text = await asyncio.to_thread(scrape)
        assert 'nos_agent_instance_memory_bytes{gpu="0",profile="1g.6gb",start="0"}' in text
        assert 'nos_agent_operation_seconds_count{operation="create",result="done"} 1.0' in text
        assert await asyncio.to_thread(promtool, "check", "metrics", text=text) == ""
        assert await node.stop() == 0

    play(folder, scene)


def test_an_api_server_that_never_answers(folder: Path, machine: Machine) -> None:
    sim = machine("a30-24gb")

    async def scene(node: Node) -> None:
        Journal(node.settings.state).write_spec(Spec((want(0, True, places("1g.6gb@0")),)))
        await node.start(sim.environment)
        await eventually(lambda: len(node.kubelet.lists.get(SMALL, ())) == 1, "it cuts and serves all the same", 40)
        assert await node.stop() == 0

    with socket.create_server(("127.0.0.1", 0)) as deaf:  # connections are made, and nobody reads them
        play(folder, scene, f"http://127.0.0.1:{deaf.getsockname()[1]}")


def test_a_node_without_gpus(folder: Path, machine: Machine) -> None:
    async def none(node: Node) -> None:
        await node.start(machine().environment)
        await eventually(lambda: node.kubelet.lists.get(WHOLE) == {}, "it says that there are none", 30)
        assert await node.stop() == 0

    play(folder, none)


def test_a_gpu_that_the_driver_says_nothing_of_is_served_when_it_does(folder: Path, machine: Machine) -> None:
    sim = machine("a30-24gb", "a30-24gb")

    async def scene(node: Node) -> None:
        Journal(node.settings.state).write_spec(Spec((want(1, True, places("1g.6gb@0")),)))
        sim.permit(False)
        await node.start(sim.environment)
        await eventually(lambda: node.kubelet.lists.get(WHOLE) == {}, "nothing is served", 30)
        sim.permit(True)
        await eventually(lambda: len(node.kubelet.lists.get(SMALL, ())) == 1, "the one is cut", 30)
        assert await node.stop() == 0
        assert "handed out no more" in node.said()

    play(folder, scene)


@pytest.mark.parametrize("harmless", [True, False])
def test_an_error_of_an_instance(folder: Path, machine: Machine, harmless: bool) -> None:
    sim = machine("a30-24gb")

    async def scene(node: Node) -> None:
        Journal(node.settings.state).write_spec(Spec((want(0, True, places("1g.6gb@0 1g.6gb@1")),)))
        await node.start(sim.environment)
        await eventually(lambda: len(node.kubelet.lists.get(SMALL, ())) == 2, "both are served", 30)
        first, second = sim.instances(0)
        await eventually(lambda: "GPUs:" in node.said(), "it listens")
        for _ in range(50):  # until it listens to the driver
            sim.xid(0, 31 if harmless else 48, gpu_instance=first.id)
            await asyncio.sleep(0.02)
            if "Unhealthy" in node.kubelet.lists.get(SMALL, {}).values():
                break
        health = {first.devices[0]: "Healthy" if harmless else "Unhealthy", second.devices[0]: "Healthy"}
        await eventually(lambda: node.kubelet.lists.get(SMALL) == health, f"the health is {health}")

    play(folder, scene)
