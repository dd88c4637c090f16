"""The ledger: events while the scheduler runs, listings, and Bindings that fail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.waiting import State
from nos.kube.node import Node, decode_node
from nos.kube.pod import Pod, decode_pod
from tests.controller.in_loop import in_loop


def node(name: str, gpus: int = 8) -> Node:
    allocatable = {"cpu": "64", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": str(gpus)}
    return decode_node(json.dumps({"metadata": {"name": name}, "status": {"allocatable": allocatable}}).encode())


def pod(name: str, gpus: int = 1, *, on: str = "", slots: str = "", **metadata: Any) -> Pod:
    resources = {"requests": {"nvidia.com/gpu": str(gpus)}}
    annotations = {"nos.nebuly.com/gpus": slots} if slots else {}
    body = {
        "metadata": {"name": name, "namespace": "ml", "uid": f"u-{name}", "annotations": annotations} | metadata,
        "spec": {
            "schedulerName": "nos-scheduler",
            "nodeName": on,
            "containers": [{"name": "c", "resources": resources}],
        },
        "status": {"phase": "Running" if on else "Pending"},
    }
    return decode_pod(json.dumps(body).encode())


def synced(*items: Node | Pod) -> Ledger:
    ledger = Ledger("nos-scheduler")
    for sink in ledger.sinks:
        sink.restart()
    for item in items:
        if isinstance(item, Node):
            ledger.nodes.changed(item)
        else:
            ledger.pods.changed(item)
    for sink in ledger.sinks:
        sink.synced()
    assert ledger.synced
    return ledger


def gpus_used(ledger: Ledger) -> int:
    ledger.cluster.check()
    return ledger.cluster.gpu_used_milli // 1000


@in_loop
async def test_what_arrives_while_the_scheduler_runs_is_applied_afterwards() -> None:
    ledger = synced(node("n"), pod("a"), pod("b"))
    with ledger.scheduling():
        ledger.pods.deleted(pod("a"))
        ledger.pods.changed(pod("c", 2, on="n"))
        outcome = await asyncio.to_thread(_core.Scheduler(ledger.cluster).schedule)
        assert {bind.uid for bind in outcome.binds} == {"u-a", "u-b"}
        assert "u-c" not in ledger.cluster
    assert ledger.decided("u-a") is None  # it left
    waiting = ledger.decided("u-b")
    assert waiting is not None
    assert ledger.awaits(waiting)
    assert gpus_used(ledger) == 3  # b 1 + c 2


@in_loop
async def test_the_echo_confirms_and_an_older_event_changes_nothing() -> None:
    ledger = synced(node("n"), pod("a"))
    with ledger.scheduling():
        _core.Scheduler(ledger.cluster).schedule()
    ledger.decided("u-a")
    ledger.pods.changed(pod("a"))  # our own condition, say, on its way since before the Binding
    assert ledger.cluster.pod("u-a").phase == "assumed"
    ledger.pods.changed(pod("a", on="n", slots="0"))
    assert ledger.cluster.pod("u-a").phase == "bound"
    assert not ledger.waiting


@in_loop
async def test_a_binding_that_failed_gives_its_room_back_and_comes_again() -> None:
    ledger = synced(node("n"), pod("a", 8))
    with ledger.scheduling():
        _core.Scheduler(ledger.cluster).schedule()
    waiting = ledger.decided("u-a")
    assert waiting is not None
    ledger.defer(waiting, 0.01)
    assert gpus_used(ledger) == 0
    assert waiting.state is State.DEFERRED
    assert not _core.Scheduler(ledger.cluster).schedule().binds  # out of sight for a while
    await ledger.wait_news(1.0)  # the one Pod that there is may be placed again
    assert [bind.uid for bind in _core.Scheduler(ledger.cluster).schedule().binds] == ["u-a"]


@in_loop
async def test_the_room_of_a_binding_that_failed_is_news_to_the_others() -> None:
    ledger = synced(node("n"), pod("a", 8), pod("b", 8))
    await ledger.wait_news(1.0)  # of the listing
    with ledger.scheduling():
        _core.Scheduler(ledger.cluster).schedule()
    waiting = ledger.decided("u-a")
    assert waiting is not None
    ledger.defer(waiting, 60.0)
    await asyncio.wait_for(ledger.wait_news(60.0), 1.0)
    assert [bind.uid for bind in _core.Scheduler(ledger.cluster).schedule().binds] == ["u-b"]


@in_loop
async def test_a_deferred_pod_that_is_gone_does_not_come_again() -> None:
    ledger = synced(node("n"), pod("a"))
    with ledger.scheduling():
        _core.Scheduler(ledger.cluster).schedule()
    waiting = ledger.decided("u-a")
    assert waiting is not None
    ledger.defer(waiting, 0.0)
    ledger.pods.deleted(pod("a"))
    await asyncio.sleep(0.01)
    assert ledger.cluster.pod_count == 0


@in_loop
async def test_a_listing_removes_what_vanished_before_it_counts_what_came() -> None:
    ledger = synced(node("n"), node("m"), pod("old", 8, on="n", slots="0,1,2,3,4,5,6,7"), pod("waits"))
    ledger.pods.restart()
    ledger.pods.changed(pod("new", 8, on="n", slots="0,1,2,3,4,5,6,7"))
    ledger.pods.synced()
    ledger.nodes.restart()
    ledger.nodes.changed(node("n"))
    ledger.nodes.synced()
    assert gpus_used(ledger) == 8
    assert ledger.cluster.pod("u-new").gpus == list(range(8))
    assert not ledger.waiting
    assert [n.name for n in ledger.cluster.nodes() if n.present] == ["n"]


@in_loop
async def test_a_listing_that_is_cut_removes_nothing() -> None:
    ledger = synced(node("n"), pod("a", 2, on="n"), pod("b", 3, on="n"))
    ledger.pods.restart()
    ledger.pods.changed(pod("a", 2, on="n"))
    ledger.pods.restart()
    ledger.pods.changed(pod("b", 3, on="n"))
    assert gpus_used(ledger) == 5
    ledger.pods.synced()
    assert gpus_used(ledger) == 3


@in_loop
async def test_only_ours_wait_and_all_that_have_a_node_count() -> None:
    ledger = synced(node("n"), pod("ours"), pod("leaving", deletionTimestamp="2026-11-23T00:00:00Z"))
    gated, other, done = pod("gated"), pod("other"), pod("done", 4, on="n")
    gated.spec.scheduling_gates = list(json.loads("[1]"))
    other.spec.scheduler_name = "another"
    done.status.phase = "Succeeded"
    for one in (gated, other, done, pod("running", 2, on="n", deletionTimestamp="2026-11-23T00:00:00Z")):
        ledger.pods.changed(one)
    assert list(ledger.waiting) == ["u-ours"]
    assert gpus_used(ledger) == 2
    ledger.pods.changed(pod("ours", deletionTimestamp="2026-11-23T00:00:00Z"))
    assert not ledger.waiting
    assert ledger.cluster.waiting_count == 0


@in_loop
async def test_a_decision_that_cannot_be_true_does_not_hide_the_pod() -> None:
    ledger = synced(node("n"))
    ledger.pods.changed(pod("a", 2, on="n", slots="0"))  # two GPUs, one slot
    ledger.pods.changed(pod("b", 1, on="n", slots="99"))
    assert gpus_used(ledger) == 3


@in_loop
async def test_heartbeats_are_no_news() -> None:
    ledger = synced(node("n"), pod("big", 9))
    await ledger.wait_news(1.0)
    ledger.nodes.changed(node("n"))
    waiting = asyncio.create_task(ledger.wait_news(0.01))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    ledger.nodes.changed(node("n", 16))
    await asyncio.wait_for(waiting, 1.0)


@in_loop
async def test_of_those_that_go_for_one_pod_only_the_last_is_news() -> None:
    ledger = synced(node("n"), pod("a", on="n"), pod("b", on="n"), pod("c", on="n"), pod("waits", 9))
    for_one = {"u-a", "u-b"}
    ledger.expected = {"u-a": for_one, "u-b": for_one}
    await asyncio.wait_for(ledger.wait_news(60), 1)  # of the listing

    async def is_news() -> bool:
        try:
            await asyncio.wait_for(ledger.wait_news(60), 0.05)
        except TimeoutError:
            return False
        return True

    ledger.pods.deleted(pod("a", on="n"))
    assert not await is_news()
    await asyncio.wait_for(ledger.wait_news(0.05), 1)  # but a little later it is looked at all the same
    ledger.pods.deleted(pod("b", on="n"))
    assert await is_news()
    ledger.pods.deleted(pod("c", on="n"))  # who goes on his own
    assert await is_news()
