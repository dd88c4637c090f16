"""Which nodes are given back, and when: on a ledger and a pool in memory, with a clock that is set by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from nos import _core
from nos.autoscaler.backend import Instance, Order, State
from nos.controller.scaling.daemons import Daemons
from nos.controller.scaling.drains import Drains
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Orders
from nos.controller.scaling.scale_down import Removals, ScaleDown
from nos.controller.scaling.scale_up import ScaleUp
from nos.controller.scaling.settings import ScaleDownSettings, Scaling
from nos.kube.client import Client
from nos.kube.node import decode_node
from nos.kube.pod import decode_pod
from tests.controller.in_loop import in_loop
from tests.controller.scaling.pool import Pool, template
from tests.controller.scaling.test_scale_up import Server
from tests.controller.test_ledger import synced

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}


class Begun(dict[str, str]):
    """In place of Drains: takes note."""

    @property
    def count(self) -> int:
        return len(self)

    async def begin(self, node: str, instance: str) -> None:
        self[node] = instance


class Rig:
    """A pool of nodes of eight GPUs, all up."""

    def __init__(self, nodes: int, **settings: Any) -> None:
        self.now = 1000.0
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]
        self.pool, self.ledger, self.drains = Pool(), synced(), Begun()
        self.ledger.pods.any_may_move = True
        self.pool.group("a", target=nodes)
        for number in range(nodes):
            self.pool.there[f"a-{number}"] = Instance(f"a-{number}", "a", State.UP, f"n{number}")
            self.node(f"n{number}")
        self.fleet = Fleet([self.pool])
        self.orders = Orders(self.fleet, lambda *_: None)
        defaults = {"unneeded_seconds": 600.0, "minimum_age_seconds": 600.0, "move_price": 0.0}
        self.down = ScaleDown(
            self.ledger,
            self.fleet,
            self.orders,
            Daemons(Server()),
            self.drains,  # type: ignore[arg-type]
            Scaling(scale_down=ScaleDownSettings(**(defaults | settings))),
            policy=_core.Policy(),
            may_write=lambda: True,
        )

    def node(self, name: str, *, age: float = 3600.0, unschedulable: bool = False, **annotations: str) -> None:
        born = (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="seconds")
        metadata = {"name": name, "labels": {"pool": "gpu"}, "creationTimestamp": born}
        metadata |= {"annotations": {key.replace("__", "/").replace("_", "-"): v for key, v in annotations.items()}}
        status = {"allocatable": template().status.allocatable}
        body = {"metadata": metadata, "spec": {"unschedulable": unschedulable}, "status": status}
        self.ledger.nodes.changed(decode_node(json.dumps(body).encode()))

    def pod(self, name: str, gpus: int, on: str, **metadata: Any) -> None:
        resources = {"requests": {"nvidia.com/gpu": str(gpus)}}
        body = {
            "metadata": {"name": name, "namespace": "ml", "uid": f"u-{name}", "ownerReferences": [OWNER]} | metadata,
            "spec": {
                "schedulerName": "nos-scheduler",
                "nodeName": on,
                "containers": [{"name": "c", "resources": resources}],
            },
            "status": {"phase": "Running"},
        }
        self.ledger.pods.changed(decode_pod(json.dumps(body).encode()))

    async def looks(self, seconds: float, every: float = 60.0) -> list[str]:
        """The nodes whose drain has begun by the end."""
        for _ in range(int(seconds // every)):
            self.now += every
            await self.down._turn()
        return sorted(self.drains)


@in_loop
async def test_a_node_goes_when_it_was_not_needed_for_long_enough_without_a_break() -> None:
    rig = Rig(2)
    rig.pod("p", 1, "n0")
    assert await rig.looks(600) == []  # first seen after a minute
    assert await rig.looks(60) == ["n1"]
    assert rig.drains == {"n1": "pool/a-1"}

    rig = Rig(2)
    rig.pod("p", 8, "n0")
    await rig.looks(540)
    rig.pod("q", 8, "n1")
    await rig.looks(60)
    rig.ledger.pods.deleted(decode_pod(b'{"metadata":{"uid":"u-q"},"spec":{}}'))
    assert await rig.looks(600) == []
    assert await rig.looks(60) == ["n1"]


@in_loop
async def test_pods_that_have_a_place_elsewhere_move_and_others_keep_their_node() -> None:
    for metadata, goes in (
        ({}, True),
        ({"ownerReferences": []}, False),
        ({"annotations": {"karpenter.sh/do-not-disrupt": "true"}}, False),
        ({"ownerReferences": [OWNER | {"kind": "DaemonSet"}]}, True),
    ):
        rig = Rig(2)
        rig.pod("large", 6, "n0", annotations={"karpenter.sh/do-not-disrupt": "true"})
        rig.pod("small", 2, "n1", **metadata)
        assert await rig.looks(700) == (["n1"] if goes else []), metadata
    rig = Rig(2)
    rig.pod("large", 6, "n0")
    rig.pod("small", 3, "n1")  # 6 + 3 is more than 8
    assert await rig.looks(700) == []


@in_loop
async def test_nodes_that_are_not_to_go_stay() -> None:
    for change in (
        {"age": 0.0},
        {"unschedulable": True},
        {"nos.nebuly.com__scale_down_disabled": "true"},
        {"karpenter.sh__do_not_disrupt": "true"},
        {"cluster_autoscaler.kubernetes.io__scale_down_disabled": "true"},
    ):
        rig = Rig(1)
        rig.node("n0", **change)  # type: ignore[arg-type]
        assert await rig.looks(700) == [], change
    rig = Rig(1)
    rig.node("n0", **{"karpenter.sh__do_not_disrupt": "false"})  # type: ignore[arg-type]
    assert await rig.looks(700) == ["n0"]


@in_loop
async def test_what_its_group_says_holds() -> None:
    for fields, gone in (
        ({"min": 1}, 1),
        ({"min": 2}, 0),
        ({"names_victims": False}, 0),
        ({"by": "Cluster Autoscaler"}, 0),
        ({"problem": "no price"}, 0),
        ({}, 2),
    ):
        rig = Rig(2, drains=10)
        rig.pool.group("a", target=2, **fields)
        assert len(await rig.looks(700)) == gone, fields
    rig = Rig(2)
    rig.pool.there["a-9"] = Instance("a-9", "a", State.COMING)  # somebody wants more of it
    assert await rig.looks(700) == []


@in_loop
async def test_so_many_at_a_time() -> None:
    rig = Rig(5, drains=2)
    assert len(await rig.looks(700)) == 2
    assert len(await rig.looks(600)) == 2  # they are not gone yet


@in_loop
async def test_a_move_has_to_pay() -> None:
    # The node costs a dollar an hour, and is expected to be idle for one; four Pods move.
    for move_price, goes in ((0.24, True), (0.26, False)):
        rig = Rig(2, move_price=move_price)
        rig.pod("stays", 1, "n0", ownerReferences=[])
        for number in range(4):
            rig.pod(f"p{number}", 1, "n1")
        assert (await rig.looks(700) == ["n1"]) is goes


@in_loop
async def test_a_cheaper_node_is_ordered_once_and_the_old_one_goes_when_it_is_there() -> None:
    rig = Rig(1)
    small = template(**{"nvidia.com/gpu": "2"})
    rig.pool.group("small", price=100_000, template=small)
    rig.pod("p", 1, "n0")
    up = ScaleUp(
        rig.ledger,
        rig.fleet,
        rig.orders,
        Daemons(Server()),
        Scaling(mode="order"),
        policy=_core.Policy(),
        may_write=lambda: True,
        on_change=lambda _: None,
        on_ordered=lambda *_: None,
    )

    async def looks(seconds: float) -> list[str]:
        for _ in range(int(seconds // 60)):
            await rig.looks(60)
            await up.turn()
        return [call for call in rig.pool.calls if call != "survey"]

    assert await looks(600) == []
    assert await looks(60) == ["increase small 1"]
    assert await looks(600) == ["increase small 1"]  # nobody waits for it, and yet it is needed; one is enough
    assert rig.drains == {}
    (new,) = [id_ for id_, instance in rig.pool.there.items() if instance.group == "small"]
    rig.pool.set(new, state=State.UP, node="small-0")
    body = {
        "metadata": {"name": "small-0", "labels": {"pool": "gpu"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"allocatable": small.status.allocatable},
    }
    rig.ledger.nodes.changed(decode_node(json.dumps(body).encode()))
    assert await looks(60) == ["increase small 1"]
    assert rig.drains == {"n0": "pool/a-0"}


@in_loop
async def test_a_cheaper_node_has_to_pay_for_the_time_until_it_serves() -> None:
    # The old one costs a dollar an hour, the new one 0.79 or 0.81; what is saved counts for an hour. Until the new one
    # serves, which may take a quarter of an hour, it costs 0.1975 or 0.2025, and saves 0.21 or 0.19.
    for price, calls in ((790_000, ["increase small 1"]), (810_000, [])):
        rig = Rig(1)
        rig.pool.group("small", price=price, template=template(**{"nvidia.com/gpu": "2"}))
        rig.pod("p", 1, "n0")
        assert await rig.looks(700) == []
        assert [call for call in rig.pool.calls if call != "survey"] == calls


@in_loop
async def test_nobody_is_moved_to_a_node_that_only_another_exchange_would_bring() -> None:
    rig = Rig(2, unneeded_seconds=0)
    steps = [
        SimpleNamespace(nodes=["n0"], moves=[("u-p", "small#1")], new=[], saved=1),
        SimpleNamespace(nodes=["n1"], moves=[("u-q", "n0")], new=[], saved=1),
    ]

    async def look() -> Removals:
        return Removals(steps, {"n0": "pool/a-0", "n1": "pool/a-1"})  # type: ignore[arg-type]

    rig.down.look = look  # type: ignore[method-assign]
    assert await rig.looks(60) == ["n1"]


@in_loop
async def test_how_soon_a_removal_pays_is_told() -> None:
    """The one Pod's move costs $0.05, and the node costs $1 an hour: 0.05 h, 180 s. One that is empty pays at once."""
    for gpus, pays in (1, 180.0), (0, 0.0):
        rig = Rig(2, move_price=0.05)
        told: list[float] = []
        rig.down.on_removal = told.append
        rig.pod("p", 2, "n0")
        if gpus:
            rig.pod("q", gpus, "n1")
        assert len(await rig.looks(660)) == rig.down.removed == 1
        assert told == [pays]


@in_loop
async def test_what_becomes_ready_is_told() -> None:
    """Ordered, seen a second time after 40 s, up after 60 more."""
    rig = Rig(0)
    told: list[float] = []
    rig.orders.on_up = told.append
    await rig.fleet.survey()
    assert await rig.orders.place("pool/a", [Order("r")])
    for seconds in 40, 60:
        await rig.fleet.survey()
        rig.orders.follow()
        rig.now += seconds
    (name,) = rig.pool.there
    rig.pool.set(name, state=State.UP, node="n")
    await rig.fleet.survey()
    rig.orders.follow()
    assert told == [100.0]


@in_loop
async def test_a_node_to_which_somebody_came_while_it_was_looked_at_stays() -> None:
    rig = Rig(2)
    rig.pod("p", 1, "n0")
    await rig.looks(600)
    look = rig.down.look

    async def and_then_one_comes() -> Removals:
        found = await look()
        assert [list(step.nodes) for step in found.steps] == [["n1"]]
        rig.pod("q", 8, "n1")
        return found

    rig.down.look = and_then_one_comes  # type: ignore[method-assign]
    assert await rig.looks(60) == []


@in_loop
async def test_a_node_on_which_a_pod_is_about_to_be_bound_is_not_deleted() -> None:
    """Neither by us, once it is empty, nor by a backend that drains it."""
    for drains in (False, True):
        rig = Rig(1)
        rig.pool.group("a", target=1, drains=drains)
        await rig.fleet.survey()
        rig.pod("p", 1, "")
        real = Drains(
            cast(Client, Server()),
            rig.ledger,
            rig.fleet,
            patience=600.0,
            may_write=lambda: True,
            evict=lambda *_: None,
        )
        with rig.ledger.scheduling():
            (bind,) = _core.Scheduler(rig.ledger.cluster).schedule().binds
        waiting = rig.ledger.decided(bind.uid)
        assert waiting

        async def step(drains: bool = drains, real: Drains = real) -> None:
            await (real.begin("n0", "pool/a-0") if drains else real._go_on("n0", datetime.now(UTC)))

        await step()
        assert "delete a-0" not in rig.pool.calls
        rig.ledger.defer(waiting, 60.0)
        await step()
        assert "delete a-0" in rig.pool.calls
