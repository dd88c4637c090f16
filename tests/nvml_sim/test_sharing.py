"""One machine, several processes."""

from __future__ import annotations

import pynvml as nvml

from nos.testbed.nvml_sim import NvmlSim

from .caller import mig_on, start

# Cuts a GPU into seven, three times over, and leaves it cut.
CHURN = """
device = nvmlDeviceGetHandleByIndex({})
for turn in range(3):
    made = [create_at(device, 19, unit, 1) for unit in range(7)]
    filled = [fill(gpu_instance) for gpu_instance in made]
    if turn < 2:
        for compute_instance in filled: nvmlComputeInstanceDestroy(compute_instance)
        for gpu_instance in made: nvmlGpuInstanceDestroy(gpu_instance)
"""
# Takes all that it can get.
GRAB = """
device = nvmlDeviceGetHandleByIndex(0)
for unit in range(7):
    try: create_at(device, 19, unit, 1)
    except NVMLError_InsufficientResources: continue
    print(unit)
"""
MAKE = "print(nvmlDeviceGetUUID(mig_device(fill(create(nvmlDeviceGetHandleByIndex(0), '1g.5gb', 6)))))"


def last_number(sim: NvmlSim) -> int:
    """What was given to the last thing that was made: each one has a number of its own."""
    return int(sim.path.with_name("machine.state").read_text().split()[1])


def test_no_edit_is_lost(sim: NvmlSim) -> None:
    for index in (0, 1):
        mig_on(index)
    numbered = last_number(sim)
    children = [start(sim, CHURN.format(index)) for index in (0, 1)]
    edits = 0
    while any(child.poll() is None for child in children):
        sim.xid(3, 48)
        edits += 1
    assert [(child.communicate()[1], child.returncode) for child in children] == [("", 0), ("", 0)]
    for gpu in (0, 1):
        assert [(instance.start, len(instance.devices)) for instance in sim.instances(gpu)] == [
            (u, 1) for u in range(7)
        ]
    # On each of two GPUs three turns of seven, with two things made each time, and our events.
    assert last_number(sim) - numbered == 2 * 3 * 7 * 2 + edits


def test_what_two_want_one_gets(sim: NvmlSim) -> None:
    mig_on(0)
    children = [start(sim, GRAB) for _ in range(3)]
    took = [int(unit) for child in children for unit in child.communicate()[0].split()]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sorted(took) == [instance.start for instance in sim.instances(0)] == list(range(7))


def test_what_one_process_makes_another_sees_and_destroys(sim: NvmlSim) -> None:
    device = mig_on(0)
    with start(sim, MAKE) as child:
        uuid = child.communicate()[0].strip()
    mig = nvml.nvmlDeviceGetHandleByUUID(uuid)
    gpu_instance = nvml.nvmlDeviceGetGpuInstanceById(device, nvml.nvmlDeviceGetGpuInstanceId(mig))
    nvml.nvmlComputeInstanceDestroy(nvml.nvmlGpuInstanceGetComputeInstanceById(gpu_instance, 0))
    nvml.nvmlGpuInstanceDestroy(gpu_instance)
    assert sim.instances(0) == ()
