"""What people see: each look tells what has changed since the one before, and all of it together is the cluster."""

from __future__ import annotations

import json

import pytest

from nos import _core
from nos.controller.viewer import Viewer, asks
from nos.kube.decision import INSTANCES_ANNOTATION
from nos.kube.pod import decode_pod
from nos.observe.view import Bound, Gpu, Pod, Quota, Slice
from tests.controller.in_loop import in_loop, settled
from tests.controller.test_gpu_nodes import KEEPS, gpu_node, with_gpu_node
from tests.controller.test_ledger import node, pod, synced
from tests.controller.test_quota_claims import quota
from tests.controller.test_quota_sink import upsert

DAY = "2026-11-28T00:00:00Z"
DAY_S = 1_795_824_000


@in_loop
async def test_the_first_look_shows_all_and_the_next_what_is_new() -> None:
    ledger = synced(node("a"), node("b", 2), pod("p", 3, on="a", creationTimestamp=DAY), pod("q", 1))
    viewer = Viewer(ledger, lambda: 0.25)
    first = await viewer.look()
    assert {n.name: [gpu.used for gpu in n.gpus] for n in first.nodes} == {"a": [1000] * 3 + [0] * 5, "b": [0, 0]}
    (held,) = next(n.pods for n in first.nodes if n.name == "a")
    assert (held.pod, held.gpus, held.since) == ("ml/p", (0, 1, 2), DAY_S)
    assert (first.totals.gpus, first.totals.used, first.totals.waiting, first.totals.fragmentation) == (
        10,
        3000,
        1,
        0.25,
    )
    assert [(one.pod, one.asks) for one in first.queue or ()] == [("ml/q", "1 gpu")]

    nothing = await viewer.look()
    assert (nothing.nodes, nothing.gone, nothing.queue, nothing.quotas) == ((), (), None, None)

    ledger.pods.changed(pod("q", 1, on="b"))
    changes = await viewer.look()
    assert [n.name for n in changes.nodes] == ["b"]
    assert changes.nodes[0].gpus == (Gpu(1000, pods=("ml/q",)), Gpu(0))
    assert changes.queue == ()

    ledger.nodes.deleted(node("a"))
    changes = await viewer.look()
    assert changes.gone == ("a",)
    assert changes.nodes == ()
    assert (changes.totals.gpus, changes.totals.used) == (2, 1000)


@in_loop
async def test_a_gpu_is_shown_with_its_slices_to_scale() -> None:
    ledger = with_gpu_node(gpu_node(1, KEEPS, generation=2, observed=2))
    viewer = Viewer(ledger, lambda: 0.0)
    (shown,) = (await viewer.look()).nodes
    assert shown.gpus == (Gpu(0, 8, slices=(Slice("3g.40gb", 4, 4),)),)  # four of eight memory units
    held = {
        "metadata": {"name": "p", "namespace": "ml", "uid": "u", "annotations": {INSTANCES_ANNOTATION: "0:3g.40gb@4"}},
        "spec": {
            "schedulerName": "nos-scheduler",
            "nodeName": "n",
            "containers": [{"name": "c", "resources": {"requests": {"nvidia.com/mig-3g.40gb": "1"}}}],
        },
        "status": {"phase": "Running"},
    }
    ledger.pods.changed(decode_pod(json.dumps(held).encode()))
    changes = await viewer.look()
    (shown,) = changes.nodes
    assert shown.gpus == (Gpu(500, 8, slices=(Slice("3g.40gb", 4, 4, "ml/p"),)),)
    assert (changes.totals.gpus, changes.totals.used) == (1, 500)
    assert [one.slices for one in shown.pods] == [("0:3g.40gb",)]


@in_loop
async def test_why_a_node_takes_nobody() -> None:
    closed, leaving = node("a"), node("b")
    closed.spec.unschedulable = True
    leaving.metadata.annotations["nos.nebuly.com/draining"] = DAY
    viewer = Viewer(synced(closed, leaving, node("c")), lambda: 0.0)
    notes = {n.name: n.note for n in (await viewer.look()).nodes}
    assert notes == {"a": "cordoned", "b": "is being emptied, and goes", "c": ""}


@in_loop
async def test_quotas_are_shown_with_what_they_borrow() -> None:
    ledger = synced(node("n"), pod("a", 3, on="n"), pod("w", 1))
    viewer = Viewer(ledger, lambda: 0.0)
    upsert(ledger, quota("ml/q", min={"nvidia.com/gpu": 1}, max={"nvidia.com/gpu": 4}))
    await settled()
    changes = await viewer.look()
    bound = Bound(3, 1, 4)
    assert changes.quotas == (Quota("ElasticQuota ml/q", ("ml",), {"nvidia.com/gpu": bound}),)
    assert bound.borrowed == 2
    assert [one.quota for one in changes.queue or ()] == ["ElasticQuota ml/q"]
    assert (await viewer.look()).quotas is None


@in_loop
async def test_a_pod_that_waits_says_why() -> None:
    ledger = synced(node("n", 1), pod("p", 2, creationTimestamp=DAY))
    ledger.waiting["u-p"].code, ledger.waiting["u-p"].message = "GPU", "0/1 nodes"
    (shown,) = (await Viewer(ledger, lambda: 0.0).look()).queue or ()
    assert shown == Pod("ml/p", "2 gpu", DAY_S, code="GPU", message="0/1 nodes")


@in_loop
async def test_whoever_looks_hears_what_went_wrong() -> None:
    ledger = synced(node("n"))

    def fails() -> float:
        raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        await Viewer(ledger, fails).look()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (_core.PodSpec({"cpu": 1500, "memory": 16 << 30, "nvidia.com/gpu": 2}), "2 gpu, 1500m cpu, 16Gi memory"),
        (_core.PodSpec({"nvidia.com/mig-3g.20gb": 1, "cpu": 2000}), "1 mig-3g.20gb, 2 cpu"),
        (_core.PodSpec({}, gpu_share_milli=250), "0.25 gpu"),
        (_core.PodSpec({"cpu": 0}), "nothing"),
    ],
)
def test_what_a_pod_asks_for(spec: _core.PodSpec, said: str) -> None:
    assert asks(spec) == said
