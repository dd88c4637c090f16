"""Recuts beside Pods that come and go, and a kubelet that does not answer: what a Pod has, or is to get, stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nos.agent.driver import Place
from nos.agent.gpus import WHOLE, resource_of
from nos.agent.pods import Pods
from nos.agent.recut import WHOLE_GPU, UnknownPodsError
from nos.kube.access import Access
from nos.kube.client import Client

from .conftest import Machine
from .fake_kubelet import eventually
from .node import write_kubeconfig
from .rig import Rig, places, play, there

pytestmark = pytest.mark.usefixtures("quick")


def test_from_whole_to_cut_and_back(folder: Path, machine: Machine) -> None:
    sim = machine("a100-40gb", "L4")

    async def scene(rig: Rig) -> None:
        for cut in ("3g.20gb@4 1g.5gb@1", "7g.40gb@0", "1g.5gb@0 1g.5gb@6 2g.10gb@2", ""):
            assert await rig.recut(0, True, places(cut)) == ""
            assert set(there(sim, 0)) == set(places(cut))
            assert rig.advertised() == rig.usable()
        assert await rig.recut(0, False) == ""
        assert set(rig.advertised()) == {gpu.uuid for gpu in sim.gpus}
        assert await rig.recut(1, False) == ""
        assert await rig.recut(1, True, places("1g.5gb@0")) == "NVIDIA L4 cannot be cut"
        assert "has no place 1g.5gb@17" in await rig.recut(0, True, places("1g.5gb@17 1g.5gb@0"))
        assert set(there(sim, 0)) == set(places("1g.5gb@0"))
        assert "Insufficient Resources" in await rig.recut(0, True, places("1g.5gb@0 3g.20gb@0"))
        assert rig.advertised() == rig.usable()

    play(folder, sim, scene)


def test_what_stays_is_not_touched_and_what_is_as_wanted_is_not_asked_about(folder: Path, machine: Machine) -> None:
    sim = machine("a100-40gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0 2g.10gb@2")) == ""
        before = there(sim, 0)
        asked = rig.decisions.asked
        assert await rig.recut(0, True, places("1g.5gb@0 2g.10gb@2 3g.20gb@4")) == ""
        assert before.items() <= there(sim, 0).items()
        assert rig.decisions.asked == asked
        assert await rig.recut(0, True, places("1g.5gb@0 3g.20gb@4")) == ""
        assert rig.decisions.asked == asked + 1

    play(folder, sim, scene)


def test_a_pod_keeps_what_it_holds_and_the_rest_is_cut_around_it(folder: Path, machine: Machine) -> None:
    sim = machine("a100-40gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0 1g.5gb@1 2g.10gb@2")) == ""
        await rig.told()
        held = there(sim, 0)[Place("1g.5gb", 1)]
        assert await rig.kubelet.admit("runs", "nvidia.com/mig-1g.5gb", held)
        said = await rig.recut(0, True, places("4g.20gb@0 3g.20gb@4"))
        assert said == "1g.5gb@1 is kept: Pod default/runs holds it"
        assert there(sim, 0)[Place("1g.5gb", 1)] == held
        assert set(there(sim, 0)) == set(places("1g.5gb@1 3g.20gb@4"))
        assert held in rig.advertised()
        await eventually(
            lambda: set(rig.kubelet.lists.get("nvidia.com/mig-1g.5gb", ())) == {held}, "the other one is gone"
        )
        heard = rig.kubelet.heard_of["nvidia.com/mig-1g.5gb"]
        assert await rig.recut(0, True, places("4g.20gb@0 3g.20gb@4")) == said
        assert await rig.recut(0, False) == said
        await eventually(lambda: rig.kubelet.lists.get("nvidia.com/mig-3g.20gb") == {}, "the free one is gone")
        assert rig.kubelet.heard_of["nvidia.com/mig-1g.5gb"] == heard  # what a Pod has is not withdrawn time and again
        del rig.kubelet.held[held]
        assert await rig.recut(0, True, places("4g.20gb@0 3g.20gb@4")) == ""
        assert set(there(sim, 0)) == set(places("4g.20gb@0 3g.20gb@4"))

    play(folder, sim, scene)


def test_a_pod_that_gets_the_device_while_it_is_being_withdrawn_keeps_it(folder: Path, machine: Machine) -> None:
    sim = machine("a100-40gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0")) == ""
        await rig.told()
        (device,) = there(sim, 0).values()
        looks = 0

        async def at_the_first_look() -> None:
            """The answer says that nobody has it; before it arrives, somebody does."""
            nonlocal looks
            looks += 1
            if looks == 1:
                assert await rig.kubelet.admit("late", "nvidia.com/mig-1g.5gb", device)

        rig.kubelet.before_list = at_the_first_look
        assert await rig.recut(0, True, places("7g.40gb@0")) == "1g.5gb@0 is kept: Pod default/late holds it"
        assert looks > 1
        assert there(sim, 0) == {Place("1g.5gb", 0): device}
        assert device in rig.advertised()

    play(folder, sim, scene)


def test_a_pod_that_was_bound_keeps_its_device_though_neither_watch_nor_kubelet_knows(
    folder: Path, machine: Machine
) -> None:
    sim = machine("a100-40gb", "a100-40gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0 1g.5gb@1")) == ""
        await rig.told()
        device = there(sim, 0)[Place("1g.5gb", 0)]
        rig.decisions.written = {(0, Place("1g.5gb", 0)): "default/bound", (1, WHOLE_GPU): "default/whole"}
        assert await rig.recut(0, True, places("7g.40gb@0")) == "1g.5gb@0 is kept: Pod default/bound is to get it"
        assert there(sim, 0) == {Place("1g.5gb", 0): device}
        assert await rig.recut(1, True) == "GPU 1 is kept: Pod default/whole is to get it"
        assert sim.mig_mode(1) == (False, False)
        await rig.told()
        assert await rig.kubelet.admit("bound", "nvidia.com/mig-1g.5gb", device)  # it was handed out again
        assert await rig.kubelet.admit("whole", WHOLE, sim.gpus[1].uuid)

    play(folder, sim, scene)


def test_nothing_is_destroyed_while_nobody_says_who_is_bound(folder: Path, machine: Machine) -> None:
    sim = machine("a100-40gb", "a100-40gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0 1g.5gb@1")) == ""
        await rig.told()
        before = there(sim, 0)
        rig.decisions.silent = True
        said = "1g.5gb@{} is kept: nobody says who is bound"
        assert await rig.recut(0, True, places("3g.20gb@4")) == f"{said.format(0)}; {said.format(1)}"
        assert there(sim, 0).items() > before.items()
        assert await rig.recut(1, True) == "GPU 1 is kept: nobody says who is bound"
        assert rig.advertised() == rig.usable()
        rig.decisions.silent = False
        assert await rig.recut(0, True, places("3g.20gb@4")) == ""

    play(folder, sim, scene)


def test_an_api_server_that_has_spoken_and_does_not_now_is_asked_again(folder: Path) -> None:
    async def scene() -> None:
        config = write_kubeconfig(folder / "kubeconfig", "http://127.0.0.1:1")
        async with Client(Access.load(str(config))) as client:
            pods = Pods(client, "node", lambda: None)
            assert await pods.bound() == {}  # it has been away since we started
            pods.restart()
            pods.synced()
            with pytest.raises(UnknownPodsError, match="does not say who is bound: Client"):
                await pods.bound()

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_pod_that_comes_when_all_is_decided_is_refused(folder: Path, machine: Machine) -> None:
    """The kubelet had chosen the device, and asks for it as late as can be: it never starts on a device that goes."""
    sim = machine("a100-40gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0")) == ""
        await rig.told()
        (device,) = there(sim, 0).values()
        sim.fault("nvmlComputeInstanceDestroy", delay_ms=300)
        work = asyncio.create_task(rig.recut(0, True, places("7g.40gb@0")))
        plugin = rig.plugins["nvidia.com/mig-1g.5gb"]
        await eventually(lambda: plugin._withdrawn.get(device), "it is withdrawn for good")
        rig.kubelet._known["nvidia.com/mig-1g.5gb"] = {device: "Healthy"}  # as it was when the kubelet chose
        assert not await rig.kubelet.admit("too-late", "nvidia.com/mig-1g.5gb", device)
        assert await work == ""

    play(folder, sim, scene)


def test_a_kubelet_that_does_not_answer_keeps_everything(
    folder: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = machine("a100-40gb")
    monkeypatch.setattr("nos.agent.kubelet.pod_resources.CALL_TIMEOUT_S", 0.3)

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0")) == ""
        await rig.told()
        before = there(sim, 0)
        rig.kubelet.delay = 60
        said = await rig.recut(0, True, places("2g.10gb@0 2g.10gb@2"))
        assert said == "1g.5gb@0 is kept: pod-resources: deadline exceeded: Deadline Exceeded"
        assert there(sim, 0).items() >= before.items()
        assert Place("2g.10gb", 2) in there(sim, 0)  # what needs no leave of the kubelet is done
        assert rig.advertised() == rig.usable()
        rig.kubelet.delay = 0
        await rig.kubelet.stop()
        assert await rig.recut(0, False) != ""
        assert there(sim, 0).items() >= before.items()
        await rig.kubelet.start()
        await rig.told()
        await rig.heard()
        assert await rig.recut(0, True, places("2g.10gb@0 2g.10gb@2")) == ""
        assert rig.advertised() == rig.usable()

    play(folder, sim, scene)


def test_what_could_not_be_destroyed_is_handed_out_again(folder: Path, machine: Machine) -> None:
    sim = machine("a100-40gb", "a100-40gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.5gb@0 1g.5gb@1")) == ""
        await rig.told()
        before = there(sim, 0)
        sim.start_process(0, 77, 10, gpu_instance=sim.instances(0)[0].id)  # a process that the kubelet knows nothing of
        sim.start_process(1, 78, 10)
        assert await rig.recut(0, True) == "GPU 0: destroying 1g.5gb@0: In use by another client"
        assert await rig.recut(1, True) == "GPU 1: switching MIG mode on: In use by another client"
        (kept,) = there(sim, 0).values()
        assert kept == before[Place("1g.5gb", 0)]
        await rig.told()
        assert rig.advertised() == rig.usable() == {kept: "nvidia.com/mig-1g.5gb", sim.gpus[1].uuid: WHOLE}
        assert await rig.kubelet.admit("runs", "nvidia.com/mig-1g.5gb", kept)
        assert await rig.kubelet.admit("whole", WHOLE, sim.gpus[1].uuid)

    play(folder, sim, scene)


def test_a_lost_gpu_takes_its_instances_with_it_and_they_are_told_of(folder: Path, machine: Machine) -> None:
    sim = machine("h100-80gb", "h100-80gb")

    async def scene(rig: Rig) -> None:
        assert await rig.recut(0, True, places("1g.10gb@0")) == ""
        await rig.told()
        (device,) = there(sim, 0).values()
        sim.lose(0)
        await rig.gpus.look_at_all()
        await eventually(lambda: rig.kubelet.lists.get("nvidia.com/mig-1g.10gb") == {device: "Unhealthy"}, "it is sick")
        assert rig.advertised() == {sim.gpus[1].uuid: WHOLE}
        assert rig.kubelet.lists[WHOLE] == {sim.gpus[1].uuid: "Healthy"}  # nor is it taken for a whole one
        assert await rig.recut(0, False) == "the GPU is lost: reset it, or restart the node"
        assert await rig.recut(1, True) == ""

    play(folder, sim, scene)


def test_resources_are_named_as_pods_ask_for_them() -> None:
    assert resource_of("1g.12gb+me") == "nvidia.com/mig-1g.12gb.me"
