"""Recuts beside Pods that come and go, a driver that refuses and a kubelet that does not answer.

After each: what a Pod has, or is to get, is there with the same UUID; the GPU is as wanted, or says why; what is
advertised is what exists. And when nothing refuses any more, the GPU gets as close to the plan as what is held allows.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pynvml
import pytest

from nos.agent.driver import Place
from nos.agent.gpus import WHOLE, resource_of
from nos.agent.pods import Pods
from nos.agent.recut import WHOLE_GPU, UnknownPodsError
from nos.kube.access import Access
from nos.kube.client import Client
from nos.mig import find
from nos.testbed.nvml_sim import ANY_FUNCTION, FOREVER, NvmlSim
from tests.mig.cuts import facts

from .conftest import Machine
from .fake_kubelet import eventually
from .node import write_kubeconfig
from .rig import Rig, places, there

MODEL = "a30-24gb"  # 4 units, so that sequences of recuts come back to the same cuts
CODES = (
    pynvml.NVML_ERROR_UNKNOWN,
    pynvml.NVML_ERROR_IN_USE,
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_GPU_IS_LOST,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grant that is never booked is waited for a shorter time."""
    monkeypatch.setattr(sys.modules["nos.agent.kubelet.withdraw"], "BOOKED_S", 0.1)
    monkeypatch.setattr(sys.modules["nos.agent.kubelet.withdraw"], "PAUSE_S", 0.01)


def play(folder: Path, sim: NvmlSim, scene: Callable[[Rig], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with Rig(folder, sim) as rig:
            await rig.told()
            await scene(rig)

    asyncio.run(asyncio.wait_for(all_of_it(), 240))


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


def test_each_error_of_each_driver_call(folder: Path, machine: Machine) -> None:
    """Of GPU 0 one instance is kept and the others go, GPU 1 is switched: one call fails, then none."""
    sim = machine(MODEL, MODEL)
    cuts = (("1g.6gb@0 1g.6gb@1 2g.12gb@2", ""), ("1g.6gb@0 1g.6gb@2 1g.6gb@3", "2g.12gb@0 1g.6gb@3"))

    async def scene(rig: Rig) -> None:
        async def both(step: int) -> list[str]:
            zero, one = cuts[step % 2]
            return [await rig.recut(0, True, places(zero)), await rig.recut(1, bool(one), places(one))]

        assert await both(0) == ["", ""]
        await rig.told()
        kept = there(sim, 0)[Place("1g.6gb", 0)]
        assert await rig.kubelet.admit("runs", "nvidia.com/mig-1g.6gb", kept)
        skip = 0
        while True:
            code = CODES[skip % len(CODES)]
            sim.fault(ANY_FUNCTION, skip=skip, result=code)
            said = await both(skip + 1)
            hit = not sim.faults()
            sim.clear_faults()
            case = f"call {skip} answers {code}: {said}"
            assert there(sim, 0)[Place("1g.6gb", 0)] == kept, case
            for index, text in enumerate(said):
                wanted = set(places(cuts[(skip + 1) % 2][index]))
                assert text or (set(there(sim, index)) == wanted), case
                assert sim.mig_mode(index)[0] == sim.mig_mode(index)[1], case
            assert rig.advertised().items() <= rig.usable().items(), case
            assert await both(skip + 1) == ["", ""], case
            assert there(sim, 0)[Place("1g.6gb", 0)] == kept
            assert rig.advertised() == rig.usable(), case
            if not hit:
                break
            skip += 1
        assert skip > 100

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
        assert await rig.recut(0, False) == "the GPU is lost"
        assert await rig.recut(1, True) == ""

    play(folder, sim, scene)


def test_looks_at_any_time_do_not_disturb_a_recut_nor_bring_back_what_is_gone(folder: Path, machine: Machine) -> None:
    sim = machine(MODEL)

    async def scene(rig: Rig) -> None:
        stop = False

        async def look() -> None:
            while not stop:
                await rig.gpus.look_at_all()
                assert not rig.gpus.unread  # nobody reads a GPU that is half changed

        sim.fault("nvmlGpuInstanceGetInfo", delay_ms=2, count=FOREVER)  # time for others between two calls of a read
        looking = [asyncio.create_task(look()) for _ in range(3)]
        for cut in ["1g.6gb@0 1g.6gb@1 2g.12gb@2", None, "4g.24gb@0", "1g.6gb@3", None] * 3:
            assert await rig.recut(0, cut is not None, places(cut or "")) == ""
            assert rig.advertised() == rig.usable()
        stop = True
        await asyncio.gather(*looking)
        assert rig.advertised() == rig.usable()

    play(folder, sim, scene)


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence(folder: Path, machine: Machine, seed: int) -> None:
    sim, dice = machine(MODEL, MODEL), random.Random(seed)
    fact = find(MODEL)
    assert fact
    oracle = facts(fact)
    every = [Place(kind.name, start) for kind in oracle.kinds for start in kind.starts]

    def some_cut() -> set[Place]:
        cut: list[Place] = []
        for place in dice.sample(every, len(every)):
            if oracle.fits([*cut, place]) and dice.random() < 0.7:
                cut.append(place)
        return set(cut)

    async def scene(rig: Rig) -> None:
        kubelet, decisions, pods = rig.kubelet, rig.decisions, 0
        for step in range(60):
            case = f"seed {seed}, step {step}"
            # Pods come, are bound, and go, and so does the kubelet.
            kubelet.refuse = dice.choice((0, 0, 1))
            if dice.random() < 0.05:
                await kubelet.stop()
                await rig.recut(0, True, some_cut() | set(there(sim, 0)))
                await kubelet.start()
                await rig.heard()
            await rig.told()
            for device in [device for device in kubelet.held if dice.random() < 0.4]:
                del kubelet.held[device]
            for known in (decisions.heard, decisions.written):
                for each in [each for each in known if dice.random() < 0.5]:
                    del known[each]
                if dice.random() < 0.3:
                    gpu = dice.choice(sim.gpus)
                    spots = list(there(sim, gpu.index)) or [WHOLE_GPU]
                    known[gpu.index, dice.choice(spots)] = f"default/decided-{step}"
            for device, resource in rig.advertised().items():
                if dice.random() < 0.2:
                    pods += await kubelet.admit(f"pod-{step}", resource, device)
            # A recut, while something fails.
            index = dice.randrange(2)
            mig = dice.random() < 0.8
            wanted = some_cut() if mig else set()
            if dice.random() < 0.5:
                sim.fault(
                    ANY_FUNCTION, skip=dice.randrange(60), count=dice.choice((1, 1, 2, 5)), result=dice.choice(CODES)
                )
            if dice.random() < 0.2:
                kubelet.errors = dice.choice((1, 3))
            kubelet.lag = dice.choice((0.0, 0.0, 0.02))
            before, was = there(sim, index), sim.mig_mode(index)[0]
            stay = {  # devices that nobody may destroy now
                device
                for place, device in ([(WHOLE_GPU, sim.gpus[index].uuid)] if not was else before.items())
                if device in kubelet.held or (index, place) in decisions.heard or (index, place) in decisions.written
            }
            for faults in (True, False):
                if not faults:
                    sim.clear_faults()
                    kubelet.errors = 0
                said = await rig.recut(index, mig, wanted)
                now = there(sim, index)
                assert stay <= rig.usable().keys(), case
                assert said or (set(now) == wanted and sim.mig_mode(index) == (mig, mig)), f"{case}: {said}"
                assert rig.advertised().items() <= rig.usable().items(), case
            assert rig.advertised() == rig.usable(), case
            kept = [place for place, device in before.items() if device in stay and place not in wanted]
            if not was and mig and stay:
                assert sim.mig_mode(index) == (False, False), case
            elif not kept:
                assert said == "", case
            else:
                assert all(f"{place} is kept" in said for place in kept), f"{case}: {said}"
                assert set(now) <= wanted | set(kept), case
                assert mig == sim.mig_mode(index)[0] or not mig, case
                for place in wanted - set(now):  # all that fits beside what is kept
                    assert not oracle.fits([*now, place]), f"{case}: {place} is missing beside {now}"
        assert pods > 5

    play(folder, sim, scene)


def test_resources_are_named_as_pods_ask_for_them() -> None:
    assert resource_of("1g.12gb+me") == "nvidia.com/mig-1g.12gb.me"
