"""What the backends say, put together, and what contradicts itself."""

from __future__ import annotations

from nos.autoscaler.backend import Instance, State
from nos.controller.scaling.fleet import Fleet
from tests.controller.in_loop import in_loop
from tests.controller.scaling.pool import Pool


@in_loop
async def test_groups_instances_and_limits_have_full_names() -> None:
    pool = Pool()
    pool.group("a/b", uses={"gpus": 8})
    pool.limits = {"gpus": 16, "cpu": -3}  # used up, and more
    pool.there["i"] = Instance("i", "a/b", State.UP, "node-1")
    fleet = Fleet([pool])
    await fleet.survey()
    assert list(fleet.groups) == ["pool/a/b"]
    assert fleet.instances["pool/i"].group == "pool/a/b"
    assert fleet.limits == {"pool/gpus": 16, "pool/cpu": 0}
    assert fleet.of("pool/a/b", State.UP) == ["pool/i"]
    assert fleet.backend("pool/a/b") is pool
    assert not fleet.problems


@in_loop
async def test_one_that_does_not_answer_keeps_what_is_on_its_way_and_gets_no_orders() -> None:
    pool, other = Pool(), Pool("other")
    pool.group("a")
    other.group("b")
    pool.there["i"] = Instance("i", "a", State.COMING)
    fleet = Fleet([pool, other])
    await fleet.survey()
    pool.fails = "503"
    await fleet.survey()
    assert fleet.problems == {"pool": "503", "pool/a": "503"}
    assert fleet.of("pool/a", State.COMING) == ["pool/i"]
    pool.fails = ""
    await fleet.survey()
    assert not fleet.problems


@in_loop
async def test_what_contradicts_itself_is_left_alone_and_said() -> None:
    pool, other = Pool(), Pool("other")
    pool.group("narrow", min=3, max=2)
    pool.group("gift", price=-1)
    pool.group("debt", target=-1)
    pool.group("vague", uses={"gpus": 1})
    pool.group("shared", object="MachineDeployment ml/gpu")
    pool.group("twin", object="MachineDeployment ml/gpu")  # two layouts of one are the backend's own business
    other.group("also", object="MachineDeployment ml/gpu")
    pool.group("odd", problem="has no price; set scaling.x.price")
    fleet = Fleet([pool, other])
    await fleet.survey()
    assert fleet.problems == {
        "pool/narrow": "min 3 is above max 2; correct one of them",
        "pool/gift": "its price is -1 micro-dollars per hour; it has to be from 0 to 1000000000000",
        "pool/vague": "it uses 1 of the limit gpus, which the backend does not name; the backend is wrong",
        "pool/debt": "its target size is -1; the backend is wrong about it",
        "other/also": "MachineDeployment ml/gpu is scaled by pool/shared already; configure it once",
        "pool/odd": "has no price; set scaling.x.price",
    }


@in_loop
async def test_an_instance_of_no_group_is_not_counted() -> None:
    pool = Pool()
    pool.group("a")
    pool.there["i"] = Instance("i", "ghost", State.UP)
    fleet = Fleet([pool])
    await fleet.survey()
    assert not fleet.instances
    assert fleet.problems["pool"] == "instance i is of group ghost, which it does not have"
