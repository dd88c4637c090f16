"""What Cluster Autoscaler is told of the latest plan."""

from __future__ import annotations

import asyncio

from nos.controller.scaling.settings import Scaling
from nos.controller.scaling.stage import Stage
from tests.controller.in_loop import in_loop
from tests.controller.scaling.pool import Pool
from tests.controller.scaling.test_scale_up import Server
from tests.controller.test_ledger import pod, synced


@in_loop
async def test_groups_that_are_not_asked_now_are_left_alone() -> None:
    pool, ledger = Pool(), synced()
    pool.group("a", by="cluster-autoscaler")
    pool.group("b", by="cluster-autoscaler", problem="no price")
    stage = Stage(
        Server(),
        ledger,
        Scaling(mode="order"),
        [pool],
        score="nos",
        may_write=lambda: True,
        evict=lambda *_: None,
        on_change=lambda _: None,
        on_ordered=lambda *_: None,
        on_failed=lambda *_: None,
    )
    assert stage._told() is None
    ledger.pods.changed(pod("p"))
    stage.waiting([("u-p", _NoGpu())])  # type: ignore[list-item]
    await stage.up.turn()
    told = stage._told()
    assert told
    assert {id_: group.wanted for id_, group in told.groups.items()} == {"pool/a": 1}
    assert told.pods == {"u-p"}
    assert asyncio.get_running_loop().time() >= told.at


class _NoGpu:
    """A Reason of the core."""

    code = "InsufficientGpu"
