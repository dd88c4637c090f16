"""Why a Pod waits: each change that is told is true, and is the smallest of its kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.why import UnknownPodError, explain
from nos.kube.node import Node, decode_node
from nos.kube.pod import Pod, decode_pod
from nos.observe.why import Why
from tests.controller.in_loop import in_loop, settled
from tests.controller.test_gpu_nodes import KEEPS, gpu_node, with_gpu_node
from tests.controller.test_ledger import synced
from tests.controller.test_quota_claims import quota
from tests.controller.test_quota_sink import remove, upsert

GPU = "nvidia.com/gpu"


def node(name: str, gpus: int = 8, *, taint: str = "", **labels: str) -> Node:
    allocatable = {"cpu": "64", "memory": "512Gi", "pods": "110", GPU: str(gpus)}
    taints = [{"key": taint, "effect": "NoSchedule"}] if taint else []
    body = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"allocatable": allocatable},
    }
    return decode_node(json.dumps(body).encode())


def pod(name: str, *, on: str = "", labels: dict[str, str] | None = None, priority: int = 0, **spec: Any) -> Pod:
    asks = spec.pop("asks", {GPU: "1"})
    body = {
        "metadata": {"name": name, "namespace": "ml", "uid": f"u-{name}", "labels": labels or {}},
        "spec": {
            "schedulerName": "nos-scheduler",
            "nodeName": on,
            "priority": priority,
            "containers": [{"name": "c", "resources": {"requests": asks}}],
        }
        | spec,
        "status": {"phase": "Running" if on else "Pending"},
    }
    return decode_pod(json.dumps(body).encode())


async def why(ledger: Ledger, name: str) -> Why:
    return await explain(ledger, f"ml/{name}", _core.Policy())


def texts(found: Why, *but: str) -> dict[str, str]:
    return {change.text: change.node for change in found.changes if change.kind not in but}


@in_loop
async def test_less_of_what_is_short() -> None:
    """Seven of eight GPUs are free, and 60 of 64 cores."""
    ledger = synced(node("n"), pod("b", on="n", asks={GPU: "1", "cpu": "4"}), pod("p", asks={GPU: "8", "cpu": "60"}))
    found = await why(ledger, "p")
    assert (found.state, found.code, found.counts) == ("waits", "InsufficientGpu", {"Insufficient nvidia.com/gpu": 1})
    assert found.asks == "8 gpu, 60 cpu"
    assert texts(found) == {
        "with 7 gpu instead of 8": "n",
        "if a Pod went that it may not evict": "n",
        "on new nodes: 1 more like n": "",
    }
    assert next(change.evicts for change in found.changes if change.kind == "evictions") == ("ml/b",)
    ledger = synced(node("n"), pod("b", on="n", asks={"cpu": "4"}), pod("p", asks={GPU: "8", "cpu": "64"}))
    (less,) = [change for change in (await why(ledger, "p")).changes if change.kind == "asks"]
    assert less.text == "with 60 cpu instead of 64"


@pytest.mark.parametrize("free", range(1, 8))
def test_the_most_that_fits(free: int) -> None:
    @in_loop
    async def case() -> None:
        ledger = synced(node("n"), pod("b", on="n", asks={GPU: str(8 - free)}), pod("p", asks={GPU: "8"}))
        (less,) = [change.text for change in (await why(ledger, "p")).changes if change.kind == "asks"]
        assert less == f"with {free} gpu instead of 8"

    case()


@in_loop
async def test_two_things_at_once_are_no_small_change() -> None:
    ledger = synced(node("n"), pod("p", asks={GPU: "9", "cpu": "65"}))
    assert (await why(ledger, "p")).changes == ()


@in_loop
async def test_rules_that_stand_in_the_way() -> None:
    ledger = synced(
        node("a", zone="a"),
        node("b", 4, taint="closed", zone="b"),
        pod("selects", nodeSelector={"zone": "c"}),
        pod("tolerates", nodeSelector={"zone": "b"}),
        pod("full", on="a", asks={GPU: "8"}),
    )
    assert texts(await why(ledger, "selects")) == {}  # a is full, b is closed to it as well
    assert texts(await why(ledger, "tolerates")) == {"if it tolerated all taints": "b"}
    ledger.pods.deleted(pod("full"))
    assert texts(await why(ledger, "selects")) == {"without its nodeSelector": "a"}


@in_loop
async def test_another_profile() -> None:
    """The GPU has a 3g.40gb at 4 that somebody holds: beside it goes a 4g.40gb at 0, and no 7g.80gb."""
    held = gpu_node(1, KEEPS, generation=2, observed=2, pod="ml/h")
    ledger = with_gpu_node(held)
    body = {"nos.nebuly.com/instances": "0:3g.40gb@4"}
    holder = {
        "metadata": {"name": "h", "namespace": "ml", "uid": "u-h", "annotations": body},
        "spec": {
            "schedulerName": "nos-scheduler",
            "nodeName": "n",
            "containers": [{"name": "c", "resources": {"requests": {"nvidia.com/mig-3g.40gb": "1"}}}],
        },
        "status": {"phase": "Running"},
    }
    ledger.pods.changed(decode_pod(json.dumps(holder).encode()))
    ledger.pods.changed(pod("p", asks={"nvidia.com/mig-7g.80gb": "1"}))
    assert texts(await why(ledger, "p"))["with mig-4g.40gb instead of mig-7g.80gb"] == "n"


@in_loop
async def test_a_quota_that_is_too_small() -> None:
    ledger = synced(node("n"), pod("b", on="n", asks={GPU: "3"}), pod("p", asks={GPU: "2"}))
    upsert(ledger, quota("ml/q", min={GPU: 1}, max={GPU: 4}), quota("lend/q", min={GPU: 7}))
    await settled()
    found = await why(ledger, "p")
    assert (found.code, found.quota) == ("QuotaMax", "ElasticQuota ml/q")
    words = "if, in ElasticQuota ml/q, the max of gpu were 5 instead of 4"
    assert texts(found, "evictions") == {"with 1 gpu instead of 2": "n", words: "n"}

    remove(ledger, quota("lend/q", min={GPU: 7}))  # nobody has anything to lend any more
    await settled()
    found = await why(ledger, "p")
    words = "if, in ElasticQuota ml/q, the max of gpu were 5 instead of 4 and the min of gpu were 5 instead of 1"
    assert texts(found, "evictions") == {"without gpu": "n", words: "n"}

    upsert(ledger, quota("ml/q", min={GPU: 1}))
    await settled()
    found = await why(ledger, "p")
    assert found.code == "QuotaExhausted"
    assert texts(found, "evictions") == {
        "without gpu": "n",
        "if, in ElasticQuota ml/q, the min of gpu were 5 instead of 1": "n",
    }


@in_loop
async def test_a_gang_is_changed_as_one() -> None:
    """Three Pods of eight GPUs, where there are eight and four: of four GPUs each they go on both nodes."""
    labels = {"nos.nebuly.com/pod-group": "g", "nos.nebuly.com/pod-group-min-available": "3"}
    members = [pod(f"g{i}", labels=labels, asks={GPU: "8"}) for i in range(3)]
    ledger = synced(node("a"), node("b", 4), *members)
    found = await why(ledger, "g0")
    assert (found.code, found.gang) == ("GangDoesNotFit", "ml/g")
    assert set(texts(found)) == {"with 4 gpu instead of 8", "on new nodes: 2 more like a"}


@in_loop
async def test_what_needs_no_change() -> None:
    ledger = synced(node("n"), pod("p"), pod("b", on="n"))
    found = await why(ledger, "p")
    assert (found.state, found.node, len(found.gpus), found.changes) == ("decided", "n", 1, ())
    found = await why(ledger, "b")
    assert (found.state, found.node, found.gpus) == ("placed", "n", (0,))
    ledger = synced(node("n", 1), pod("low", on="n"), pod("high", priority=10))
    found = await why(ledger, "high")
    assert (found.state, found.node, found.evicts, found.code) == ("making-room", "n", ("ml/low",), "MakingRoom")
    with pytest.raises(UnknownPodError):
        await why(ledger, "nobody")


@in_loop
async def test_others_who_wait_are_before_it_and_then_not_in_its_way() -> None:
    """One GPU is free: the older Pod gets it. The other would run on one more node, whoever else waits in vain."""
    crowd = [pod(f"w{i}") for i in range(50)]  # they would take as many nodes
    ledger = synced(node("n", 1), pod("a"), *crowd, pod("b"))
    assert (await why(ledger, "a")).state == "decided"
    found = await why(ledger, "b")
    assert found.code == "InsufficientGpu"
    assert texts(found) == {
        "without gpu": "n",
        "on new nodes: 1 more like n": "",
    }
