"""GPUNodes in the ledger: which specs an agent may be acting on, and what is therefore given out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from msgspec import Raw

from nos import _core
from nos.controller.ledger import Ledger
from nos.kube.gpunode import GPUNode, Spec, decode_gpu_node
from nos.kube.node import Node, decode_node
from tests.controller.gpu_agent import PRODUCT, REPORTED_MODEL
from tests.controller.in_loop import in_loop
from tests.controller.test_ledger import pod

KEEPS = {"gpus": [{"index": 0, "mig": True, "instances": [{"profile": "3g.40gb", "start": 4}]}]}
DESTROYS = {"gpus": [{"index": 0, "mig": True, "instances": [{"profile": "7g.80gb", "start": 0}]}]}


def node(label: str = "mig") -> Node:
    labels = {"nos.nebuly.com/gpu-partitioning": label} if label else {}
    allocatable = {"cpu": "64", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": "1"}
    body = {"metadata": {"name": "n", "labels": labels}, "status": {"allocatable": allocatable}}
    return decode_node(json.dumps(body).encode())


def gpu_node(version: int, spec: dict[str, Any], *, generation: int, observed: int, pod: str = "") -> GPUNode:
    instance = {"uuid": "MIG-1", "profile": "3g.40gb", "start": 4, "ready": True, "pod": pod}
    gpu = {"index": 0, "uuid": "GPU-0", "product": PRODUCT, "mig": True, "instances": [instance]}
    body = {
        "metadata": {"name": "n", "uid": "g", "resourceVersion": str(version), "generation": generation},
        "spec": spec,
        "status": {"observedGeneration": observed, "models": [REPORTED_MODEL], "gpus": [gpu]},
    }
    return decode_gpu_node(json.dumps(body).encode())


def with_gpu_node(first: GPUNode) -> Ledger:
    ledger = Ledger("nos-scheduler")
    for sink in (ledger.nodes, ledger.pods, ledger.gpu_nodes):
        sink.restart()
    ledger.nodes.changed(node())
    ledger.gpu_nodes.changed(first)
    for sink in (ledger.nodes, ledger.pods, ledger.gpu_nodes):
        sink.synced()
    return ledger


def is_ready(ledger: Ledger) -> bool:
    """Whether a Pod that is on the instance could be bound."""
    cluster = ledger.cluster.copy()
    cluster.upsert_pod("probe", _core.PodSpec({"nvidia.com/mig-3g.40gb": 1}))
    try:
        cluster.assume("probe", "n", instances=[(0, "3g.40gb", 4)])
    except ValueError:  # somebody has it
        return False
    return cluster.pod("probe").ready


def spec_of(spec: dict[str, Any]) -> Spec:
    return gpu_node(0, spec, generation=1, observed=1).spec


@in_loop
async def test_a_spec_on_its_way_counts_until_it_is_known_what_became_of_it() -> None:
    ledger = with_gpu_node(gpu_node(1, KEEPS, generation=2, observed=2))
    assert is_ready(ledger)
    ledger.gpu_nodes.writing("n", spec_of(DESTROYS))
    assert not is_ready(ledger)
    ledger.gpu_nodes.not_written("n", spec_of(DESTROYS))
    assert is_ready(ledger)

    ledger.gpu_nodes.writing("n", spec_of(DESTROYS))  # and no answer comes
    ledger.gpu_nodes.changed(gpu_node(1, KEEPS, generation=2, observed=2))  # listed again, unchanged
    assert not is_ready(ledger)
    ledger.gpu_nodes.changed(gpu_node(2, KEEPS, generation=2, observed=2))  # it can never be written any more
    assert is_ready(ledger)


@in_loop
async def test_a_spec_counts_until_the_agent_has_answered_one_after_it() -> None:
    ledger = with_gpu_node(gpu_node(1, KEEPS, generation=2, observed=2))
    ledger.gpu_nodes.written(gpu_node(2, DESTROYS, generation=3, observed=2))
    ledger.gpu_nodes.changed(gpu_node(1, KEEPS, generation=2, observed=2))  # late
    assert not is_ready(ledger)
    ledger.gpu_nodes.changed(gpu_node(3, KEEPS, generation=4, observed=2))
    assert not is_ready(ledger)  # it may be acting on 3
    ledger.gpu_nodes.changed(gpu_node(4, KEEPS, generation=4, observed=3))
    assert not is_ready(ledger)
    ledger.gpu_nodes.changed(gpu_node(5, KEEPS, generation=4, observed=4))
    assert is_ready(ledger)


@in_loop
async def test_after_a_restart_nothing_is_ready_until_the_agent_has_answered() -> None:
    ledger = with_gpu_node(gpu_node(1, KEEPS, generation=4, observed=2))  # 2 and 3 are not known
    assert not is_ready(ledger)
    ledger.gpu_nodes.changed(gpu_node(2, KEEPS, generation=4, observed=4))
    assert is_ready(ledger)


@in_loop
async def test_a_gpunode_made_anew_has_no_past() -> None:
    ledger = with_gpu_node(gpu_node(9, DESTROYS, generation=7, observed=6))
    again = gpu_node(10, KEEPS, generation=1, observed=1)
    again.metadata.uid = "another"
    ledger.gpu_nodes.changed(again)
    assert is_ready(ledger)


@in_loop
async def test_who_holds_what_whatever_comes_first() -> None:
    """The report names a Pod before we know that it is bound, and a Pod of that name that only waits is another."""
    ledger = with_gpu_node(gpu_node(1, KEEPS, generation=2, observed=2, pod="ml/a"))
    assert not is_ready(ledger)
    ledger.pods.changed(pod("a", 0))  # waits: a Pod of that name has been there before
    assert not is_ready(ledger)
    bound = pod("a", 0, on="n", uid="u-b", annotations={"nos.nebuly.com/instances": "0:3g.40gb@4"})
    bound.spec.containers[0].resources = Raw(b'{"requests": {"nvidia.com/mig-3g.40gb": "1"}}')
    ledger.pods.changed(bound)
    assert ledger.cluster.pod("u-b").instances == [(0, "3g.40gb", 4)]
    assert ledger.pods.holdings["n"]["u-b"].new
    ledger.cluster.check()
    # The report that it is gone may come before its own end.
    ledger.gpu_nodes.changed(gpu_node(2, KEEPS, generation=2, observed=2))
    assert not ledger.pods.holdings["n"]["u-b"].new
    assert ledger.cluster.pod("u-b").instances == [(0, "3g.40gb", 4)]
    ledger.pods.deleted(bound)
    assert is_ready(ledger)


@in_loop
async def test_what_is_frozen_thaws_in_time_or_on_news() -> None:
    first = gpu_node(1, KEEPS, generation=2, observed=2)
    ledger = with_gpu_node(first)
    ledger.gpu_nodes.freeze("n", [0], 0.01, thaws_on_news=False)
    assert ledger.gpu_nodes.frozen("n", 0)
    ledger.gpu_nodes.changed(gpu_node(2, KEEPS, generation=2, observed=2, pod="ml/x"))
    assert ledger.gpu_nodes.frozen("n", 0)
    await asyncio.sleep(0.02)
    assert not ledger.gpu_nodes.frozen("n", 0)
    ledger.gpu_nodes.freeze("n", [0], 1000, thaws_on_news=True)
    ledger.gpu_nodes.changed(gpu_node(3, KEEPS, generation=2, observed=2, pod="ml/x"))  # says nothing new
    assert ledger.gpu_nodes.frozen("n", 0)
    ledger.gpu_nodes.changed(gpu_node(4, KEEPS, generation=2, observed=2))
    assert not ledger.gpu_nodes.frozen("n", 0)


@in_loop
async def test_whoever_cuts_is_told_of_all_that_changes() -> None:
    ledger = with_gpu_node(gpu_node(1, KEEPS, generation=2, observed=2))
    told: list[str] = []
    ledger.nodes.changed_cut = told.append

    ledger.nodes.changed(node())  # a heartbeat
    assert not told
    ledger.gpu_nodes.changed(gpu_node(2, KEEPS, generation=2, observed=2, pod="ml/x"))
    assert told
    told.clear()
    ledger.nodes.changed(node(""))
    assert told
    assert not ledger.nodes.is_cut("n")
    ledger.nodes.changed(node("hybrid"))
    told.clear()
    ledger.nodes.deleted(node("hybrid"))
    assert told
    ledger.nodes.changed(node("mig"))
    told.clear()
    ledger.gpu_nodes.deleted(gpu_node(2, KEEPS, generation=2, observed=2))
    assert told
    assert ledger.gpu_nodes.gpus("n") == []
