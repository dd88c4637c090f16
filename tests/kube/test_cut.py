"""A GPUNode's report to core: what is there, what of it may be given out, and who holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nos import _core
from nos.kube.cut import Holding, gpu_specs
from nos.kube.gpunode import GPUNode, Spec, decode_gpu_node
from tests.controller.gpu_agent import PRODUCT, REPORTED_MODEL

NODE = "n"
THREE = ("3g.40gb", 4)  # where the core would begin


def gpu(
    *instances: tuple[str, int], index: int = 0, pods: Mapping[int, str] | None = None, **more: Any
) -> dict[str, Any]:
    """MIG mode is on where there are instances; pods: holders by start."""
    listed = [
        {"uuid": f"MIG-{start}", "profile": profile, "start": start, "ready": True, "pod": (pods or {}).get(start, "")}
        for profile, start in instances
    ]
    entry = {"index": index, "uuid": f"GPU-{index}", "product": PRODUCT, "mig": bool(listed), "ready": not listed}
    return entry | {"instances": listed} | more


def entry(*instances: tuple[str, int], index: int = 0) -> dict[str, Any]:
    placed = [{"profile": profile, "start": start} for profile, start in instances]
    return {"index": index, "mig": bool(placed), "instances": placed}


def gpu_node(
    *gpus: dict[str, Any], spec: Sequence[dict[str, Any]] = (), generation: int = 1, observed: int = 1, **status: Any
) -> GPUNode:
    body = {
        "metadata": {"name": NODE, "generation": generation},
        "spec": {"gpus": list(spec)},
        "status": {"observedGeneration": observed, "models": [REPORTED_MODEL], "gpus": list(gpus)} | status,
    }
    return decode_gpu_node(json.dumps(body).encode())


def placed(
    node: GPUNode,
    ask: dict[str, int],
    *,
    acted_on: Sequence[Spec] | None = (),
    bound: Mapping[str, tuple[dict[str, int], Holding]] | None = None,
    **more: Any,
) -> tuple[list[Any], bool] | None:
    """Where a Pod of this size goes beside the bound ones, and whether it could start at once; None: nowhere."""
    bound = bound or {}
    keys = {holding.pod: uid for uid, (_, holding) in bound.items()}
    specs = gpu_specs(
        node,
        [node.spec] if acted_on == () else acted_on,
        uid_of=lambda pod: keys.get(pod, pod),
        holdings={uid: holding for uid, (_, holding) in bound.items()},
        **more,
    )
    cluster = _core.Cluster()
    allocatable = {"cpu": 64000, "memory": 1 << 40, "pods": 110, "nvidia.com/gpu": len(specs)}
    cluster.upsert_node(NODE, _core.NodeSpec(allocatable, gpus=specs))
    for uid, (requests, _) in bound.items():
        cluster.upsert_pod(uid, _core.PodSpec(requests), node=NODE)
    cluster.upsert_pod("u", _core.PodSpec(ask))
    cluster.check()
    bind = _core.Scheduler(cluster).place("u")
    cluster.check()
    return ([*bind.gpus, *bind.instances], bind.ready) if bind else None


A_THREE, A_SEVEN, WHOLE = {"nvidia.com/mig-3g.40gb": 1}, {"nvidia.com/mig-7g.80gb": 1}, {"nvidia.com/gpu": 1}


def test_what_is_ready_is_given_out_at_once_and_before_anything_is_cut() -> None:
    assert placed(gpu_node(gpu(), gpu(THREE, index=1)), A_THREE) == ([(1, *THREE)], True)
    assert placed(gpu_node(gpu(THREE), gpu(index=1)), WHOLE) == ([1], True)
    assert placed(gpu_node(gpu(THREE)), WHOLE) == ([0], False)
    assert placed(gpu_node(gpu()), A_SEVEN) == ([(0, "7g.80gb", 0)], False)


@pytest.mark.parametrize(
    ("wanted", "ready"),
    [
        ([], True),  # a GPU that is not named stays as it is
        ([entry(THREE)], True),
        ([entry(("7g.80gb", 0))], False),
        ([entry()], False),
    ],
)
def test_an_instance_is_ready_only_where_the_spec_keeps_it(wanted: list[dict[str, Any]], ready: bool) -> None:
    node = gpu_node(gpu(THREE), spec=wanted)
    assert placed(node, A_THREE) == ([(0, *THREE)], ready)


def test_every_spec_that_the_agent_may_act_on_counts() -> None:
    keeps, destroys = gpu_node(spec=[entry(THREE)]).spec, gpu_node(spec=[entry(("1g.10gb", 6))]).spec
    node = gpu_node(gpu(THREE), spec=[entry(THREE)])
    assert placed(node, A_THREE, acted_on=[keeps, keeps]) == ([(0, *THREE)], True)
    for acted_on in ([destroys, keeps], [keeps, destroys], None):  # None: one of them is not known
        assert placed(node, A_THREE, acted_on=acted_on) == ([(0, *THREE)], False)
    assert placed(gpu_node(gpu()), WHOLE, acted_on=[keeps]) == ([0], False)
    assert placed(gpu_node(gpu()), WHOLE, acted_on=None) == ([0], False)


def test_what_is_being_made_is_there_and_not_ready() -> None:
    """Not to be destroyed by the next decision, and found again by a controller that has restarted."""
    begun = entry(("1g.10gb", 6), ("1g.10gb", 5), index=1)
    both_taken = [gpu(("1g.10gb", 6), pods={6: "x/y"}), gpu(("1g.10gb", 6), index=1, pods={6: "x/z"})]
    found = gpu_specs(gpu_node(*both_taken, spec=[begun]), [gpu_node(spec=[begun]).spec], uid_of=str, holdings={})
    cluster = _core.Cluster()
    cluster.upsert_node(NODE, _core.NodeSpec({"nvidia.com/gpu": 2}, gpus=found))
    assert cluster.targets(NODE) == [(True, [("1g.10gb", 6)]), (True, [("1g.10gb", 5), ("1g.10gb", 6)])]
    turned_on = gpu_node(gpu(), gpu(index=1), spec=[entry(THREE, index=1)])
    for acted_on in ((), None):
        found = placed(turned_on, A_THREE, acted_on=acted_on)
        assert found == ([(1, *THREE)], False)


def test_what_could_not_be_made_is_not_there() -> None:
    spec = [entry(("1g.20gb", 0), ("3g.40gb", 4))]
    free = gpu(("1g.20gb", 0), message="insufficient resources")
    failed = gpu_node(free, spec=spec, generation=3, observed=3)
    (found,) = gpu_specs(failed, [failed.spec], uid_of=str, holdings={})
    cluster = _core.Cluster()
    cluster.upsert_node(NODE, _core.NodeSpec({"nvidia.com/gpu": 1}, gpus=[found]))
    assert cluster.targets(NODE) == [(True, [("1g.20gb", 0)])]


def test_a_bound_pod_that_the_agent_has_not_seen_holds_what_its_binding_gave_it() -> None:
    both = gpu(("3g.40gb", 0), THREE)
    bound = {"b": (A_THREE, Holding("ml/b", (), [(0, "3g.40gb", 0)]))}
    assert placed(gpu_node(both), A_THREE, bound=bound) == ([(0, *THREE)], True)
    # Not even there any more, as after a reboot: its place stays its own.
    assert placed(gpu_node(gpu(THREE)), A_THREE, bound=bound) == ([(0, *THREE)], True)
    bound = {"b": (A_THREE, Holding("ml/b", (), [(0, *THREE)]))}
    assert placed(gpu_node(both), A_THREE, bound=bound) == ([(0, "3g.40gb", 0)], True)
    two_gpus = gpu_node(gpu(), gpu(index=1))
    assert placed(two_gpus, WHOLE, bound={"b": (WHOLE, Holding("ml/b", [0]))}) == ([1], True)


def test_the_agent_knows_better_than_the_binding() -> None:
    both = gpu(("3g.40gb", 0), THREE, pods={4: "ml/b"})
    bound = {"b": (A_THREE, Holding("ml/b", (), [(0, "3g.40gb", 0)]))}
    assert placed(gpu_node(both), A_THREE, bound=bound) == ([(0, "3g.40gb", 0)], True)


def test_a_report_from_before_a_pod_was_bound_speaks_of_another_of_that_name() -> None:
    """A StatefulSet's Pod is gone and made again; the last report still has the old one, at 0."""
    node = gpu_node(gpu(("3g.40gb", 0), THREE, pods={0: "ml/b"}))
    bound = {"b": (A_THREE, Holding("ml/b", (), [(0, *THREE)], new=True))}
    assert placed(node, A_THREE, bound=bound) is None  # the old one is not seen to be gone
    same = {"b": (A_THREE, Holding("ml/b", (), [(0, "3g.40gb", 0)], new=True))}
    assert placed(node, A_THREE, bound=same) == ([(0, *THREE)], True)
    later = {"b": (A_THREE, Holding("ml/b", (), [(0, *THREE)]))}  # then it is meant
    assert placed(node, A_THREE, bound=later) == ([(0, *THREE)], True)


def test_a_binding_of_nonsense_holds_nothing() -> None:
    for nonsense in ([(0, "9g.1tb", 0)], [(7, "3g.40gb", 0)], [(0, "3g.40gb", 3)]):
        bound = {"b": (A_THREE, Holding("ml/b", [9], nonsense))}
        assert placed(gpu_node(gpu(("3g.40gb", 0), THREE)), A_THREE, bound=bound) is not None


def test_what_an_unknown_pod_holds_is_given_to_nobody_yet() -> None:
    node = gpu_node(gpu(THREE, pods={4: "kube-system/unknown"}))
    assert placed(node, A_SEVEN) is None
    assert placed(gpu_node(gpu(pod="kube-system/unknown")), WHOLE) is None


def test_a_frozen_gpu_gives_out_what_is_ready_and_is_not_recut() -> None:
    node = gpu_node(gpu(THREE), gpu(index=1))
    both = {"fixed": (0, 1)}
    assert placed(node, A_THREE, **both) == ([(0, *THREE)], True)
    assert placed(node, WHOLE, **both) == ([1], True)
    assert placed(node, A_SEVEN, **both) is None
    assert placed(node, {"nvidia.com/mig-3g.40gb": 2}, **both) is None
    assert placed(node, {"nvidia.com/gpu": 2}, **both) is None
    assert placed(node, {"nvidia.com/gpu": 1, "nvidia.com/mig-3g.40gb": 1}, **both) == ([1, (0, *THREE)], True)
    unready = {"type": "Ready", "status": "False", "reason": "NoDriver", "message": "no driver"}
    assert placed(gpu_node(gpu(), conditions=[unready]), A_THREE) is None


def test_an_unhealthy_gpu_gives_out_nothing_and_what_runs_there_counts() -> None:
    sick = gpu(("3g.40gb", 0), THREE, pods={0: "ml/b"}, unhealthy="XID 79")
    bound = {"b": (A_THREE, Holding("ml/b"))}
    assert placed(gpu_node(sick), A_THREE, bound=bound) is None
    assert placed(gpu_node(sick, gpu(index=1)), A_THREE, bound=bound) == ([(1, *THREE)], False)
    assert placed(gpu_node(gpu(ready=False, unhealthy="XID 79")), WHOLE) is None


@pytest.mark.parametrize(
    "wrong",
    [
        gpu(THREE, ("1g.10gb", 5)),
        gpu(("9g.1tb", 0)),
        gpu(("3g.40gb", 3)),
        gpu(THREE, mig=False),
        gpu(product="NVIDIA of tomorrow", ready=False),
    ],
)
def test_a_gpu_whose_report_is_wrong_is_not_used_and_the_others_are(wrong: dict[str, Any]) -> None:
    assert placed(gpu_node(wrong), A_THREE) is None
    assert placed(gpu_node(wrong), WHOLE) is None
    assert placed(gpu_node(wrong, gpu(index=1)), A_THREE) == ([(1, *THREE)], False)
    assert placed(gpu_node(gpu(index=1)), {"nvidia.com/gpu": 2}) is None  # 0 is missing from the report


def test_a_model_that_makes_no_sense_is_not_cut() -> None:
    node = gpu_node(gpu(), models=[REPORTED_MODEL | {"units": 0}])
    assert placed(node, A_THREE) is None
    assert placed(node, WHOLE) == ([0], True)


def test_when_a_plan_has_failed() -> None:
    assert gpu_node(gpu(message="no"), generation=2, observed=1).failure(0) == ""  # about the spec before
    assert gpu_node(gpu(message="no"), generation=2, observed=2).failure(0) == "no"
    assert gpu_node(gpu(message="no"), gpu(index=1), generation=2, observed=2).failure(1) == ""
    assert gpu_node(gpu(unhealthy="XID 79"), generation=2, observed=2).failure(0) == "XID 79"
    assert "not in the report" in gpu_node(generation=2, observed=2).failure(0)
