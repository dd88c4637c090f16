"""What the agent sees and does through the driver, against what the simulated machine's own state says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pynvml
import pytest

from nos.agent.driver import DriverError, Gpu, Instance, Place, Xid
from nos.agent.nvml import GPU_IS_LOST, IN_USE, INSUFFICIENT_RESOURCES, RESET_REQUIRED, Nvml
from nos.mig import find, models
from nos.testbed.nvml_sim import FOREVER, NvmlSim

from .conftest import Machine

NO_PERMISSION = pynvml.NVML_ERROR_NO_PERMISSION
UNKNOWN = pynvml.NVML_ERROR_UNKNOWN


def shown(gpu: Gpu) -> dict[Place, str]:
    return {instance.place: instance.uuid for instance in gpu.instances}


def there(sim: NvmlSim, gpu: int = 0) -> dict[Place, str]:
    """Half an instance has no UUID."""
    return {Place(one.profile, one.start): "".join(one.devices) for one in sim.instances(gpu)}


@contextmanager
def refused(code: int) -> Iterator[pytest.ExceptionInfo[DriverError]]:
    with pytest.raises(DriverError) as caught:
        yield caught
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def cut(driver: Nvml, *places: Place, gpu: int = 0) -> list[Instance]:
    driver.set_mig(gpu, True)
    return [driver.create(gpu, place) for place in places]


@pytest.fixture
def a100(machine: Machine) -> Iterator[tuple[NvmlSim, Nvml]]:
    sim = machine("a100-40gb")
    with Nvml() as driver:
        yield sim, driver


@pytest.mark.parametrize("model", [model.id for model in models()])
def test_every_model_is_read_as_it_is_and_cut_whole(machine: Machine, model: str) -> None:
    sim, facts = machine(model), find(model)
    assert facts
    with Nvml() as driver:
        read = driver.read(0).model
        assert read
        assert (read.units, read.compute_slices) == (facts.units, facts.compute_slices)
        assert read.engines == {name: total for name, total in facts.engine_totals.items() if total}
        assert {profile.name for profile in read.profiles} == {profile.name for profile in facts.profiles}
        driver.set_mig(0, True)
        for profile in read.profiles:
            fact = facts.profile(profile.name)
            assert fact
            assert (profile.size, profile.starts) == (fact.size, tuple(sorted(fact.starts)))
            assert (profile.compute_slices, profile.max_instances) == (fact.compute_slices, fact.max_instances)
            assert profile.engines["ofa"] == fact.engines.ofa
            for start in profile.starts:  # each place alone, where it was asked for, and usable
                made = driver.create(0, Place(profile.name, start))
                assert there(sim) == {made.place: made.uuid} == shown(driver.read(0))
                driver.destroy(0, made)
                assert there(sim) == {}
        driver.set_mig(0, False)
        assert sim.mig_mode(0) == (False, False)


def test_a_product_that_our_data_does_not_know_is_what_its_driver_says(machine: Machine) -> None:
    sim = machine("a100-40gb")
    text = sim.path.read_text()
    sim.path.write_text(text.replace("NVIDIA A100-SXM4-40GB", "NVIDIA Z1 Unheard-Of"))
    assert text != sim.path.read_text()
    with Nvml() as driver:
        gpu = driver.read(0)
        assert gpu.product == "NVIDIA Z1 Unheard-Of"
        assert gpu.model
        assert (gpu.model.units, gpu.model.compute_slices) == (8, 7)
        assert gpu.model.engines == {"jpeg": 1, "ofa": 1}
        assert shown(driver.read(0)) == {}
        (made,) = cut(driver, Place("3g.20gb", 4))
        assert there(sim) == {made.place: made.uuid}


def test_gpus_that_cannot_be_cut(machine: Machine) -> None:
    machine("L4", "a100-40gb")
    with Nvml() as driver:
        assert list(driver.indices()) == [0, 1]
        plain = driver.read(0)
        assert (plain.model, plain.mig, plain.lost, plain.memory_mib > 20_000) == (None, False, False, True)
        assert driver.read(1).model
        with refused(pynvml.NVML_ERROR_NOT_SUPPORTED):
            driver.create(0, Place("1g.5gb", 0))


def test_instances_are_where_they_were_asked_for(a100: tuple[NvmlSim, Nvml]) -> None:
    sim, driver = a100
    places = (Place("1g.5gb", 5), Place("2g.10gb", 2), Place("1g.10gb", 0))  # none where the driver would have put it
    made = cut(driver, *places)
    assert there(sim) == {one.place: one.uuid for one in made} == shown(driver.read(0))
    assert list(there(sim)) == [Place("1g.10gb", 0), Place("2g.10gb", 2), Place("1g.5gb", 5)]
    assert driver.create(0, places[1]) == made[1]  # what is there is not made again
    with refused(INSUFFICIENT_RESOURCES):
        driver.create(0, Place("4g.20gb", 0))
    for place in (Place("2g.10gb", 3), Place("9g.90gb", 0)):
        with refused(pynvml.NVML_ERROR_NOT_SUPPORTED):
            driver.create(0, place)
    assert len(there(sim)) == 3


def test_half_an_instance_is_taken_back(a100: tuple[NvmlSim, Nvml]) -> None:
    sim, driver = a100
    driver.set_mig(0, True)
    sim.fault("nvmlGpuInstanceCreateComputeInstance", result=UNKNOWN)
    with refused(UNKNOWN):
        driver.create(0, Place("2g.10gb", 2))
    assert there(sim) == {}


def test_half_an_instance_that_stays_is_seen_and_completed_or_destroyed(a100: tuple[NvmlSim, Nvml]) -> None:
    sim, driver = a100
    driver.set_mig(0, True)
    place = Place("2g.10gb", 2)

    def leave_half() -> int:
        sim.fault("nvmlGpuInstanceCreateComputeInstance", result=UNKNOWN)
        sim.fault("nvmlGpuInstanceDestroy", result=UNKNOWN)
        with refused(UNKNOWN):
            driver.create(0, place)
        assert there(sim) == {place: ""} == shown(driver.read(0))
        return sim.instances(0)[0].id

    half = leave_half()
    made = driver.create(0, place)
    assert made.id == half
    assert there(sim) == {place: made.uuid}
    driver.destroy(0, made)
    leave_half()
    driver.destroy(0, driver.read(0).instances[0])
    assert there(sim) == {}


def test_destroyed_twice_and_when_half_of_it_is_gone(a100: tuple[NvmlSim, Nvml]) -> None:
    sim, driver = a100
    first, second = cut(driver, Place("1g.5gb", 0), Place("1g.5gb", 1))
    sim.fault("nvmlGpuInstanceDestroy", result=IN_USE)
    with refused(IN_USE):
        driver.destroy(0, first)
    assert there(sim) == {first.place: "", second.place: second.uuid}  # the compute instance went, the rest did not
    driver.destroy(0, first)
    driver.destroy(0, first)
    assert there(sim) == {second.place: second.uuid}


def test_another_that_took_the_place_of_one_is_not_that_one(a100: tuple[NvmlSim, Nvml]) -> None:
    sim, driver = a100
    (old,) = cut(driver, Place("1g.5gb", 0))
    driver.destroy(0, old)
    new = driver.create(0, old.place)
    assert (new.place, new.id) == (old.place, old.id)  # ids are used again
    assert new.uuid != old.uuid
    driver.destroy(0, old)
    assert there(sim) == {new.place: new.uuid}


def test_what_a_process_uses_is_not_destroyed(a100: tuple[NvmlSim, Nvml]) -> None:
    sim, driver = a100
    (made,) = cut(driver, Place("3g.20gb", 0))
    sim.start_process(0, 77, 100, gpu_instance=made.id)
    with refused(IN_USE):
        driver.destroy(0, made)
    with refused(IN_USE):
        driver.set_mig(0, False)
    assert (there(sim), sim.mig_mode(0)) == ({made.place: made.uuid}, (True, True))
    sim.end_process(77)
    driver.destroy(0, made)
    assert there(sim) == {}


@pytest.mark.parametrize("model", ["a100-40gb", "h100-80gb"])
def test_a_mode_that_cannot_be_switched_now_is_not_left_pending(machine: Machine, model: str) -> None:
    sim = machine(model)
    sim.start_process(0, 77, 100)
    with Nvml() as driver:
        with refused(IN_USE):  # the call itself succeeds, and says in its status that it did nothing
            driver.set_mig(0, True)
        assert sim.mig_mode(0) == (False, False)
        sim.end_process(77)
        driver.set_mig(0, True)
        driver.set_mig(0, True)
        assert sim.mig_mode(0) == (True, True)


def test_a_gpu_that_only_a_reboot_resets(machine: Machine) -> None:
    sim = machine("a100-40gb", reset_needs_reboot=True)
    with Nvml() as driver:
        with refused(RESET_REQUIRED):
            driver.set_mig(0, True)
        assert sim.mig_mode(0) == (False, False)


def test_a_mode_switch_makes_no_handle_of_ours_stale(machine: Machine) -> None:
    machine("a100-40gb", "a100-40gb")
    with Nvml() as driver:
        for _ in range(3):
            (made,) = cut(driver, Place("7g.40gb", 0), gpu=1)
            assert [driver.read(index).mig for index in driver.indices()] == [False, True]
            driver.destroy(1, made)
            driver.set_mig(1, False)


def test_a_lost_gpu_is_known_by_its_uuid_and_does_not_disturb_the_other(machine: Machine) -> None:
    sim = machine("h100-80gb", "h100-80gb")
    with Nvml() as driver:
        before = driver.read(0)
        sim.lose(0)
        lost = driver.read(0)
        assert (lost.lost, lost.uuid, lost.product, lost.model) == (True, before.uuid, before.product, before.model)
        with refused(GPU_IS_LOST):
            driver.create(0, Place("1g.10gb", 0))
        assert not driver.read(1).lost
        cut(driver, Place("1g.10gb", 0), gpu=1)
    with Nvml() as driver:  # and one that was lost before we came
        assert driver.read(0).lost


def test_without_permission_it_says_so(machine: Machine) -> None:
    sim = machine("a100-40gb")
    sim.permit(False)
    with Nvml() as driver, refused(NO_PERMISSION):
        driver.read(0)


def test_errors_are_told_of_the_gpu_or_of_the_instance(machine: Machine) -> None:
    sim = machine("a100-40gb", "a100-40gb")
    with Nvml() as driver:
        made = cut(driver, Place("1g.5gb", 0), Place("1g.5gb", 1), gpu=1)
        sim.xid(0, 79)  # nobody listened yet
        assert driver.wait_xid(1) is None
        sim.xid(1, 43)  # the program's own fault
        sim.xid(1, 31, gpu_instance=made[1].id)
        assert [driver.wait_xid(1) for _ in range(3)] == [None] * 3
        sim.xid(1, 48, gpu_instance=made[1].id)
        sim.xid(0, 79)
        assert driver.wait_xid(1000) == Xid(1, 48, made[1].id)
        assert driver.wait_xid(1000) == Xid(0, 79, None)
        assert driver.wait_xid(1) is None


def test_a_lost_gpu_does_not_make_us_deaf_for_the_others(machine: Machine) -> None:
    sim = machine("a100-40gb", "a100-40gb")
    with Nvml() as driver:
        assert driver.wait_xid(1) is None
        sim.lose(0)
        with refused(GPU_IS_LOST):
            driver.wait_xid(1000)
        assert driver.wait_xid(1) is None
        sim.xid(1, 79)
        assert driver.wait_xid(1000) == Xid(1, 79, None)


def test_a_driver_that_does_not_start(machine: Machine) -> None:
    sim = machine("a100-40gb")
    sim.fault("nvmlInit", result=pynvml.NVML_ERROR_DRIVER_NOT_LOADED, count=FOREVER)
    with pytest.raises(DriverError, match="nvmlInit: Driver Not Loaded"):
        Nvml()


def test_a_machine_without_gpus(machine: Machine) -> None:
    machine()
    with Nvml() as driver:
        assert list(driver.indices()) == []
        assert driver.wait_xid(1) is None
