"""What an agent tells of its GPUs, against what the simulated machine was told to be like."""

from __future__ import annotations

from pathlib import Path

import pytest

from nos.agent.census import Census
from nos.agent.driver import Xid
from nos.observe.metrics.agent import AgentMetrics
from nos.observe.metrics.book import Entry, Values
from tests.controller.in_loop import in_loop

from .conftest import Machine
from .rig import Rig, places

MIB = 1 << 20


@pytest.fixture
def rig(machine: Machine, tmp_path: Path) -> Rig:
    return Rig(tmp_path, machine("a100-40gb", "a100-40gb"))


def of(values: Values, entry: Entry, *labels: str) -> float | None:
    return values[entry].get(labels)


def test_memory_work_clients_and_errors(rig: Rig) -> None:
    """GPU 0 is whole and 40 % busy, of GPU 1 a slice is in use; the driver does not say how busy a slice is."""

    @in_loop
    async def look() -> None:
        async with rig:
            metrics = AgentMetrics()
            rig.gpus.changed = metrics.changed
            census = Census(metrics, rig.gpus, {1: "in use"})
            assert not await rig.recut(1, True, places("1g.5gb@0 3g.20gb@4"))
            (small,) = [one for one in rig.sim.instances(1) if one.profile == "1g.5gb"]
            idle = await census.read()
            rig.sim.set_utilization(0, compute=40, memory=10)
            rig.sim.start_process(0, 4711, 1000)
            rig.sim.start_process(1, 4712, 500, gpu_instance=small.id)
            await rig.gpus.note(Xid(0, 79, None))
            seen = await census.read()

        model = rig.gpus.known[0].product
        assert seen[metrics.info] == {("0", model): 1, ("1", model): 1}
        assert seen[metrics.unhealthy] == {("0",): 1, ("1",): 0}
        assert seen[metrics.unlike] == {("0",): 0, ("1",): 1}
        assert seen[metrics.xids] == {("0", "79"): 1}
        assert seen[metrics.utilization] == {("0",): 0.4}  # a GPU in MIG mode does not say it
        assert seen[metrics.mps_clients] == {("0",): 0, ("1",): 0}
        assert of(seen, metrics.memory, "0") == rig.gpus.known[0].memory_mib * MIB
        for entry, labels, grown in (
            (metrics.memory_used, ("0",), 1000),
            (metrics.instance_used, ("1", "1g.5gb", "0"), 500),
            (metrics.instance_used, ("1", "3g.20gb", "4"), 0),
        ):
            before, after = of(idle, entry, *labels), of(seen, entry, *labels)
            assert before is not None
            assert after == before + grown * MIB
        assert seen[metrics.instance_memory].keys() == seen[metrics.instance_used].keys()
        assert seen[metrics.instance_utilization] == {}  # no GPM before Hopper
        body, _ = await metrics.book.scrape("")
        counted = {line for line in body.decode().splitlines() if "_count{" in line}
        prefix = "nos_agent_operation_seconds_count{operation="
        assert counted == {f'{prefix}"set_mig",result="done"}} 1.0', f'{prefix}"create",result="done"}} 2.0'}

    look()


def test_of_a_gpu_that_is_lost_nothing_is_told(rig: Rig) -> None:
    @in_loop
    async def look() -> None:
        async with rig:
            metrics = AgentMetrics()
            rig.sim.lose(0)
            await rig.gpus.look_at_all()
            seen = await Census(metrics, rig.gpus, {}).read()
        assert of(seen, metrics.unhealthy, "0") == 1
        assert of(seen, metrics.memory, "0") is None
        assert of(seen, metrics.memory, "1")

    look()
