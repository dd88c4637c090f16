"""Recuts at random, beside Pods that come and go, a driver that refuses and a kubelet that does not answer.

After each: what a Pod has, or is to get, is there with the same UUID; the GPU is as wanted, or says why; what is
advertised is what exists. And when nothing refuses any more, the GPU gets as close to the plan as what is held allows.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pynvml
import pytest

from nos.agent.driver import Place
from nos.agent.recut import WHOLE_GPU
from nos.mig import find
from nos.testbed.nvml_sim import ANY_FUNCTION, FOREVER
from tests.mig.cuts import facts

from .conftest import Machine
from .rig import Rig, places, play, there

pytestmark = pytest.mark.usefixtures("quick")

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
