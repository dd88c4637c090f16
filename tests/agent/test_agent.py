"""The agent between the real API server, a kubelet that does as it is told, and a simulated driver."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from nos.agent.gpus import WHOLE
from nos.agent.nvml import Nvml
from nos.kube.gpunode import GPU_NODES, gpu_node_path
from nos.testbed import Testbed

from .conftest import Machine
from .fake_kubelet import eventually
from .node import Node, Share, node_object
from .rig import places, there

pytestmark = pytest.mark.cluster

CRD = Path(__file__).parents[2] / "deploy" / "crds" / "gpunodes.yaml"
PODS = "/api/v1/namespaces/default/pods"
SMALL = "nvidia.com/mig-1g.6gb"


class Api:
    """The API server as these tests use it, off the event loop."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed

    async def _do(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, answer = await asyncio.to_thread(self.testbed.api.request, method, path, body)
        return status, json.loads(answer)

    async def get(self, path: str) -> Any:
        status, found = await self._do("GET", path)
        return found if status == 200 else None

    async def gpu_node(self, name: str) -> Any:
        return await self.get(gpu_node_path(name))

    async def wants(self, name: str, *cuts: str | None) -> int:
        """Write the spec: a cut for each GPU, None to have it whole; its generation."""
        gpus = [
            {
                "index": index,
                "mig": cut is not None,
                "instances": [{"profile": place.profile, "start": place.start} for place in places(cut or "")],
            }
            for index, cut in enumerate(cuts)
        ]
        while True:
            found = await self.gpu_node(name)
            status, answer = await self._do("PUT", gpu_node_path(name), found | {"spec": {"gpus": gpus}})
            if status == 200:
                return int(answer["metadata"]["generation"])
            assert status == 409, answer

    async def bind(self, pod: str, node: str, *, instances: str = "") -> None:
        """A Pod that was bound to a node, with the decision that a Binding would have written onto it."""
        metadata = {"name": pod, "annotations": {"nos.nebuly.com/instances": instances} if instances else {}}
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "busybox"}]}
        status, answer = await self._do("POST", PODS, {"metadata": metadata, "spec": spec})
        assert status == 201, answer

    async def delete(self, path: str) -> None:
        await self._do("DELETE", path, {"gracePeriodSeconds": 0})

    async def until(self, name: str, condition: Callable[[Any], object], why: str, within: float = 30.0) -> Any:
        """The GPUNode when its agent reports what is waited for."""
        deadline = time.monotonic() + within
        while True:
            found = await self.gpu_node(name)
            if found and found.get("status") and condition(found["status"]):
                return found
            assert time.monotonic() < deadline, f"not within {within:g} s: {why}; {found}"
            await asyncio.sleep(0.02)


def is_done(generation: int) -> Callable[[Any], bool]:
    """All GPUs are as this generation wants them, and all there is can be handed out."""

    def check(status: Any) -> bool:
        conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
        ready = [one["ready"] for gpu in status["gpus"] for one in (gpu["instances"] if gpu["mig"] else [gpu])]
        return (
            status["observedGeneration"] == generation
            and conditions == {"Ready": "True", "AsWanted": "True"}
            and all(ready)
        )

    return check


def was_tried(generation: int) -> Callable[[Any], bool]:
    """All GPUs are as this generation wants them, or say why not."""
    return lambda status: status["observedGeneration"] == generation


def reported(status: Any) -> list[dict[str, str]]:
    """By GPU: place to UUID."""
    return [{f"{i['profile']}@{i['start']}": i["uuid"] for i in gpu["instances"]} for gpu in status["gpus"]]


@pytest.fixture(scope="module")
def api(testbed: Testbed) -> Api:
    testbed.kubectl("apply", "-f", str(CRD))
    deadline = time.monotonic() + 30
    while not testbed.api.answers(GPU_NODES):
        assert time.monotonic() < deadline, "the API server serves GPUNodes"
        time.sleep(0.05)
    return Api(testbed)


@pytest.fixture(autouse=True)
def clean(testbed: Testbed, api: Api) -> Iterator[None]:  # noqa: ARG001
    yield
    for path in (PODS, "/api/v1/nodes", GPU_NODES):
        testbed.api.request("DELETE", path, {"gracePeriodSeconds": 0})


def play(folder: Path, api: Api, name: str, scene: Callable[[Node], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        api.testbed.api.create("/api/v1/nodes", node_object(name))
        async with Node(folder, name, api.testbed.kubeconfig) as node:
            await scene(node)

    asyncio.run(asyncio.wait_for(all_of_it(), 240))


def test_a_spec_is_followed_and_reported(folder: Path, machine: Machine, api: Api) -> None:
    sim = machine("a30-24gb", "a30-24gb")

    async def scene(node: Node) -> None:
        with Nvml() as driver:
            await node.start_here(driver)
            found = await api.until("follows", is_done(1), "it reports two whole GPUs")
            (owner,) = found["metadata"]["ownerReferences"]
            made_for = await api.get("/api/v1/nodes/follows")
            assert (owner["kind"], owner["name"], owner["uid"]) == ("Node", "follows", made_for["metadata"]["uid"])
            status = found["status"]
            assert (status["gpuCount"], status["product"], status["cut"]) == (2, "NVIDIA A30", "0:whole 1:whole")
            assert [gpu["uuid"] for gpu in status["gpus"]] == [gpu.uuid for gpu in sim.gpus]
            (model,) = status["models"]
            assert (model["units"], len(model["profiles"])) == (4, 5)

            for cuts in (("1g.6gb@0 2g.12gb@2", None), ("1g.6gb@0 1g.6gb@3", "4g.24gb@0"), (None, "")):
                generation = await api.wants("follows", *cuts)
                found = await api.until("follows", is_done(generation), f"it is cut as {cuts}")
                for index, cut in enumerate(cuts):
                    assert sim.mig_mode(index)[0] == (cut is not None)
                    assert set(there(sim, index)) == set(places(cut or ""))
                shown = [{str(place): uuid for place, uuid in there(sim, index).items()} for index in (0, 1)]
                assert reported(found["status"]) == shown

            # What cannot be is said, and what can be is done beside it.
            generation = await api.wants("follows", "1g.6gb@0 9g.99gb@1", None)
            found = await api.until("follows", was_tried(generation), "it tried")
            assert "has no place 9g.99gb@1" in found["status"]["gpus"][0]["message"]
            assert [c["reason"] for c in found["status"]["conditions"]] == ["Serving", "NotAsWanted"]
            assert set(there(sim, 0)) == set(places("1g.6gb@0"))
            generation = await api.wants("follows", "1g.6gb@0")  # nothing is said of GPU 1: it stays as it is
            await api.until("follows", is_done(generation), "the complaint is gone")

    play(folder, api, "follows", scene)


def test_pods_are_seen_kept_and_steered_to_what_was_decided(folder: Path, machine: Machine, api: Api) -> None:
    sim = machine("a30-24gb")

    async def scene(node: Node) -> None:
        with Nvml() as driver:
            await node.start_here(driver)
            await api.until("pods", is_done(1), "it reports")
            generation = await api.wants("pods", "1g.6gb@0 1g.6gb@1 1g.6gb@2 1g.6gb@3")
            await api.until("pods", is_done(generation), "it is cut")
            chosen = there(sim, 0)[places("1g.6gb@2")[0]]
            await api.bind("decided", "pods", instances="0:1g.6gb@2")

            # Bound and not admitted: the instance is kept.
            generation = await api.wants("pods", "4g.24gb@0")
            found = await api.until("pods", was_tried(generation), "it tried")
            assert found["status"]["gpus"][0]["message"] == "1g.6gb@2 is kept: Pod default/decided is to get it"
            assert set(there(sim, 0)) == set(places("1g.6gb@2"))

            # Admitted, its decision gone with the API server's Pod: the kubelet's word counts.
            assert await node.kubelet.admit("decided", SMALL, chosen)
            found = await api.until("pods", lambda s: s["gpus"][0]["instances"][0]["pod"], "it says who has it")
            assert found["status"]["gpus"][0]["instances"][0]["pod"] == "default/decided"
            await api.delete(f"{PODS}/decided")
            held = "1g.6gb@2 is kept: Pod default/decided holds it"
            await api.until("pods", lambda s: s["gpus"][0]["message"] == held, "it is kept all the same")
            assert there(sim, 0) == {places("1g.6gb@2")[0]: chosen}

            node.kubelet.held.clear()
            await api.until("pods", is_done(generation), "it is cut when the Pod has gone")
            assert set(there(sim, 0)) == set(places("4g.24gb@0"))

    play(folder, api, "pods", scene)


def test_a_gpu_node_that_is_deleted_comes_back_and_no_gpu_changes(folder: Path, machine: Machine, api: Api) -> None:
    sim = machine("a30-24gb")

    async def scene(node: Node) -> None:
        with Nvml() as driver:
            await node.start_here(driver)
            await api.until("again", is_done(1), "it reports")
            for _ in range(3):
                generation = await api.wants("again", "1g.6gb@0 2g.12gb@2")
                found = await api.until("again", is_done(generation), "it is cut")
                before = there(sim, 0)
                await api.delete(gpu_node_path("again"))
                new = await api.until("again", is_done(1), "it is made anew")
                assert new["metadata"]["uid"] != found["metadata"]["uid"]
                assert not new["spec"].get("gpus")
                assert there(sim, 0) == before
                assert reported(new["status"]) == reported(found["status"])
            # Somebody else makes it: it is reported to all the same.
            await api.delete(gpu_node_path("again"))
            body = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode", "metadata": {"name": "again"}}
            await api._do("POST", GPU_NODES, body)
            await api.until("again", is_done(1), "it is reported to")

    play(folder, api, "again", scene)


def test_the_api_server_is_away_for_a_while(folder: Path, machine: Machine, api: Api) -> None:
    sim = machine("a30-24gb", "a30-24gb")

    async def scene(node: Node) -> None:
        with Nvml() as driver:
            await node.start_here(driver)
            await api.until("outage", is_done(1), "it reports")
            generation = await api.wants("outage", "1g.6gb@0 1g.6gb@1")
            found = await api.until("outage", is_done(generation), "it is cut")
            first, second = reported(found["status"])[0].values()
            await asyncio.to_thread(api.testbed.stop_apiserver)
            try:
                assert await node.kubelet.admit("meanwhile", SMALL, first)
                await node.kubelet.stop()
                await node.kubelet.start()
                await eventually(lambda: node.kubelet.knows(second), "a new kubelet is served")
                sim.xid(1, 79)
                await eventually(
                    lambda: node.kubelet.lists.get(WHOLE) == {sim.gpus[1].uuid: "Unhealthy"}, "a GPU is sick"
                )
            finally:
                await asyncio.to_thread(api.testbed.start_apiserver)
            found = await api.until("outage", lambda s: s["gpus"][1].get("unhealthy"), "the report catches up", 60)
            zero, one = found["status"]["gpus"]
            assert [instance["pod"] for instance in zero["instances"]] == ["default/meanwhile", ""]
            assert (one["ready"], one["unhealthy"]) == (False, "XID 79")
            generation = await api.wants("outage", "1g.6gb@0 1g.6gb@1 2g.12gb@2")
            await api.until("outage", was_tried(generation), "and it listens", 60)
            assert set(there(sim, 0)) == set(places("1g.6gb@0 1g.6gb@1 2g.12gb@2"))

    play(folder, api, "outage", scene)


def test_a_kubelet_that_is_away_is_told_of_and_an_idle_agent_asks_nobody(
    folder: Path, machine: Machine, api: Api
) -> None:
    machine("a30-24gb")

    async def scene(node: Node) -> None:
        with Nvml() as driver:
            agent = await node.start_here(driver)
            await api.until("quiet", is_done(1), "it reports")
            await node.kubelet.stop()
            agent.publisher.wake()
            found = await api.until("quiet", lambda s: s["conditions"][0]["status"] == "False", "it misses the kubelet")
            assert found["status"]["conditions"][0]["reason"] == "KubeletUnreachable"
            assert not found["status"]["gpus"][0]["ready"]
            for _ in range(100):  # each is a reason to look, and none to look for ever
                agent.publisher.wake()
                await asyncio.sleep(0.01)
            await node.kubelet.start()
            await api.until("quiet", is_done(1), "the kubelet is back")
            asked = 0

            async def count() -> None:
                nonlocal asked
                asked += 1

            node.kubelet.before_list = count
            await asyncio.sleep(0.5)  # the stream came, which is a reason to look
            asked, before = 0, await api.gpu_node("quiet")
            await asyncio.sleep(1)
            assert asked <= 1  # the look now and then
            assert before == await api.gpu_node("quiet")

    play(folder, api, "quiet", scene)


def test_it_is_restarted_while_pods_hold_devices(folder: Path, machine: Machine, api: Api) -> None:
    sim = machine("a30-24gb")

    async def scene(node: Node) -> None:
        await node.start(sim.environment)
        await api.until("restart", is_done(1), "it reports", 60)
        generation = await api.wants("restart", "1g.6gb@0 1g.6gb@1")
        found = await api.until("restart", is_done(generation), "it is cut")
        held = reported(found["status"])[0]["1g.6gb@1"]
        assert await node.kubelet.admit("runs", SMALL, held)
        for number, cut in ((signal.SIGTERM, "2g.12gb@2"), (signal.SIGKILL, "1g.6gb@0 2g.12gb@2")):
            await node.stop(number)
            generation = await api.wants("restart", cut)  # while it is away
            await node.start(sim.environment)
            found = await api.until("restart", was_tried(generation), "it did what it could", 60)
            (gpu,) = found["status"]["gpus"]
            assert gpu["message"] == "1g.6gb@1 is kept: Pod default/runs holds it"
            assert set(there(sim, 0)) == set(places(f"1g.6gb@1 {cut}"))
            assert there(sim, 0)[places("1g.6gb@1")[0]] == held
        await node.kubelet.stop()
        await node.kubelet.start()
        del node.kubelet.held[held]
        await api.until("restart", is_done(generation), "it is as wanted when the Pod has gone", 60)
        assert await node.stop() == 0

    play(folder, api, "restart", scene)


def test_a_node_without_gpus_reports_that(folder: Path, machine: Machine, api: Api) -> None:
    machine()

    async def scene(node: Node) -> None:
        with Nvml() as driver:
            await node.start_here(driver)
            found = await api.until("empty", is_done(1), "it reports")
            assert found["status"]["gpuCount"] == 0

    play(folder, api, "empty", scene)


def test_a_driver_that_says_nothing_is_no_node_without_gpus(folder: Path, machine: Machine, api: Api) -> None:
    sim = machine("a30-24gb", "a30-24gb")
    sim.permit(False)

    async def scene(node: Node) -> None:
        with Nvml() as driver:
            await node.start_here(driver)
            found = await api.until("silent", lambda s: s["conditions"][0]["status"] == "False", "it reports")
            assert found["status"]["gpuCount"] == 2
            assert found["status"]["conditions"][0]["reason"] == "DriverSilent"
            sim.permit(True)
            await api.until("silent", is_done(1), "the driver speaks", 60)

    play(folder, api, "silent", scene)


def test_100_agents(folder: Path, machine: Machine, api: Api) -> None:
    """Each has a GPU of one machine and a kubelet; each is recut once, all at the same time."""
    count = 100
    sim = machine(*["a30-24gb"] * count)
    names = [f"many-{number}" for number in range(count)]

    async def all_of_it() -> None:
        for name in names:
            await asyncio.to_thread(api.testbed.api.create, "/api/v1/nodes", node_object(name))
        async with AsyncExitStack() as stack:
            driver = stack.enter_context(Nvml())
            began = time.perf_counter()
            nodes = [Node(folder, name, api.testbed.kubeconfig) for name in names]

            async def end() -> None:
                await asyncio.gather(*(node.__aexit__(None, None, None) for node in nodes))

            stack.push_async_callback(end)
            for index, node in enumerate(nodes):
                await node.__aenter__()
                await node.start_here(Share(driver, index, 1))
            for name in names:
                await api.until(name, is_done(1), "it reports", 120)
            reported_all = time.perf_counter()
            generations = [await api.wants(name, "1g.6gb@0 1g.6gb@1 2g.12gb@2") for name in names]
            for name, generation in zip(names, generations, strict=True):
                await api.until(name, is_done(generation), "it is cut", 120)
            done = time.perf_counter()
            for index in range(count):
                assert set(there(sim, index)) == set(places("1g.6gb@0 1g.6gb@1 2g.12gb@2"))
            print(
                f"{count} agents reported after {reported_all - began:.1f} s, were recut in {done - reported_all:.1f} s"
            )

    asyncio.run(asyncio.wait_for(all_of_it(), 400))
