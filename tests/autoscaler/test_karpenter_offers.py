"""What can be had of Karpenter, by the settings and the NodePools alone."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nos.autoscaler.backend import Group
from nos.autoscaler.karpenter_offers import empty_groups, offers, problem_of, room
from nos.autoscaler.karpenter_settings import KarpenterSettings
from nos.kube.nodeclaim import NodeClaim, decode_node_claim
from nos.kube.nodepool import NodePool, decode_node_pool

Object = dict[str, Any]
ALLOCATABLE = {"cpu": "10", "memory": "1Gi", "pods": "110"}
H100 = {"nos.nebuly.com/gpu-partitioning": "mig", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}


def kind(name: str = "m", zones: str = "a", **more: Any) -> Object:
    offered = [{"zone": zone, "price": 1} for zone in zones]
    return {"name": name, "allocatable": ALLOCATABLE, "offerings": offered} | more


def settings(*kinds: Object, pools: tuple[str, ...] = ("p",)) -> KarpenterSettings:
    given = {"nodePools": list(pools), "instanceTypes": list(kinds) or [kind()]}
    return msgspec.convert(given, KarpenterSettings)


def pool(name: str = "p", *requirements: Object, metadata: Object | None = None, **spec: Any) -> NodePool:
    template = {"spec": {"requirements": list(requirements)}}
    body = {"metadata": {"name": name} | (metadata or {}), "spec": {"template": template} | spec}
    return decode_node_pool(json.dumps(body).encode())


def claim(name: str, labels: Object, *, requests: Object | None = None, **status: Any) -> NodeClaim:
    spec = {"resources": {"requests": requests or {}}}
    return decode_node_claim(
        json.dumps({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}).encode()
    )


def groups(settings: KarpenterSettings, *pools: NodePool) -> list[Group]:
    by_name = {one.metadata.name: one for one in pools}
    found = list(offers(settings, by_name))
    return [*(one.group(0, "") for one in found), *empty_groups(settings, by_name, found)]


# ---- which offerings a pool allows

KEYS = ("node.kubernetes.io/instance-type", "topology.kubernetes.io/zone", "karpenter.sh/capacity-type", "size", "?")
VALUES = ("m", "n", "a", "b", "on-demand", "spot", "1", "2", "3")


def holds(key: str, operator: str, values: list[str], machine: dict[str, str]) -> bool:
    """Karpenter's documentation in a few lines; what is not known of a machine is not judged."""
    if key not in machine:
        return True
    have = machine[key]
    if operator in ("In", "NotIn"):
        return (have in values) == (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return operator == "Exists"
    if not have.isdecimal():
        return False
    distance = int(have) - int(values[0])
    return {"Gt": distance > 0, "Lt": distance < 0, "Gte": distance >= 0, "Lte": distance <= 0}[operator]


@st.composite
def requirements(draw: st.DrawFn) -> Object:
    operator = draw(st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte")))
    if operator in ("Exists", "DoesNotExist"):
        values = []
    elif operator in ("In", "NotIn"):
        values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=5, unique=True))
    else:
        values = [draw(st.sampled_from(("1", "2", "3")))]
    return {"key": draw(st.sampled_from(KEYS)), "operator": operator, "values": values}


@given(st.lists(requirements(), max_size=3), st.sampled_from(("1", "2", "3")))
def test_an_offering_is_a_group_exactly_where_every_requirement_holds(asked: list[Object], size: str) -> None:
    both = [{"zone": z, "capacityType": c, "price": 1} for z in "ab" for c in ("on-demand", "spot")]
    kinds = [kind("m", labels={"size": size}, offerings=both), kind("n", offerings=both)]
    found = groups(settings(*kinds), pool("p", *asked))
    expected = set()
    for name, zone, capacity_type in itertools.product("mn", "ab", ("on-demand", "spot")):
        machine = dict(zip(KEYS, (name, zone, capacity_type), strict=False)) | ({"size": size} if name == "m" else {})
        if all(holds(r["key"], r["operator"], r["values"], machine) for r in asked):
            expected.add(f"p/{name}/{zone}/{capacity_type}")
    if expected:
        assert {group.id for group in found} == expected
        assert not any(group.problem for group in found)
    else:
        (only,) = found
        assert only.max == 0
        assert "exclude every offering" in only.problem
        assert any(r["key"] in only.problem for r in asked)


def test_prices_are_exact_in_micro_dollars() -> None:
    offered = [{"zone": "a", "price": 0.1}, {"zone": "b", "price": 4.18}, {"zone": "c", "price": 0}]
    found = groups(settings(kind(offerings=offered)), pool())
    assert [group.price for group in found] == [100_000, 4_180_000, 0]


# ---- limits


def test_limits_count_the_nodes_of_nos_and_of_karpenter() -> None:
    here = pool("p", limits={"cpu": 100, "memory": "100Gi", "nvidia.com/gpu": "4", "nodes": 5})
    kinds = [
        kind("m", capacity={"cpu": "12"}),
        kind("n", allocatable=ALLOCATABLE | {"cpu": "30", "nvidia.com/gpu": "2"}),
    ]
    claims = [
        # 12 of CPU, as the settings say, 1 GiB
        claim("a", {"nos.nebuly.com/node-pool": "p", "node.kubernetes.io/instance-type": "m"}),
        # Karpenter's, of a type that the settings do not know: what its status says, 8 and 16 GiB
        claim("b", {"karpenter.sh/nodepool": "p"}, capacity={"cpu": 8, "memory": "16Gi"}),
        # Karpenter's, not launched: what it asks for, 2500m and one GPU
        claim("c", {"karpenter.sh/nodepool": "p"}, requests={"cpu": "2500m", "nvidia.com/gpu": 1}),
        claim("d", {"karpenter.sh/nodepool": "q"}, capacity={"cpu": 64}),
        claim("e", {}, capacity={"cpu": 64}),
    ]
    # CPU 100 - 12 - 8 - 2.5, memory 100 - 1 - 16 GiB, GPUs 4 - 1, nodes 5 - 3
    left = {"p/cpu": 77_500, "p/memory": 83 * 2**30, "p/nvidia.com/gpu": 3, "p/nodes": 2}
    assert dict(room(settings(*kinds), [here], claims)) == left
    uses = {group.id: dict(group.uses) for group in groups(settings(*kinds), here)}
    assert uses == {
        "p/m/a/on-demand": {"p/cpu": 12_000, "p/memory": 2**30, "p/nodes": 1},
        "p/n/a/on-demand": {"p/cpu": 30_000, "p/memory": 2**30, "p/nvidia.com/gpu": 2, "p/nodes": 1},
    }


def test_a_claim_that_may_become_either_type_counts_as_the_larger_in_each_resource() -> None:
    kinds = [kind("m", capacity={"cpu": "12", "memory": "1Gi"}), kind("n", capacity={"cpu": "11", "memory": "3Gi"})]
    wanted = [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m", "n", "unknown"]}]
    body = {"metadata": {"name": "a", "labels": {"karpenter.sh/nodepool": "p"}}, "spec": {"requirements": wanted}}
    open_claim = decode_node_claim(json.dumps(body).encode())
    left = dict(room(settings(*kinds), [pool(limits={"cpu": "20", "memory": "2Gi"})], [open_claim]))
    assert left == {"p/cpu": 8_000, "p/memory": 0}  # 20 - 12; 2 - 3 is nothing left, not less


# ---- what is wrong, and what to do


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            pool(metadata={"annotations": {"nos.nebuly.com/actuator": "their-scaler"}}),
            "their-scaler makes its nodes; remove",
        ),
        (pool(replicas=0), r"spec.replicas makes its nodes.*scale subresources"),
        (pool(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), "is being deleted"),
    ],
)
def test_a_pool_that_is_not_ours_to_use(wrong: NodePool, says: str) -> None:
    assert re.search(says, problem_of(wrong))


def test_a_pool_that_is_ours() -> None:
    assert problem_of(pool()) == ""
    assert problem_of(pool(metadata={"annotations": {"nos.nebuly.com/actuator": "nos"}})) == ""


def test_a_pool_that_is_not_there() -> None:
    (only,) = groups(settings(pools=("q",)), pool("p"))
    assert (only.id, only.max) == ("q", 0)
    assert only.problem == "NodePool q: there is none of that name; create it, or correct scaling.karpenter.nodePools"


@pytest.mark.parametrize(
    ("labels", "gpus", "says"),
    [
        (H100, 8, ""),
        (H100 | {"nvidia.com/gpu.product": "Voodoo-2"}, 8, "Voodoo-2, which nos does not know"),
        ({"nos.nebuly.com/gpu-partitioning": "hybrid"}, 8, "lacks nvidia.com/gpu.product"),
        ({"nvidia.com/gpu.product": "Voodoo-2"}, 8, ""),  # nobody cuts it
        ({"nos.nebuly.com/gpu-partitioning": "mig"}, 0, ""),  # nothing to cut
    ],
)
def test_gpus_that_cannot_be_planned(labels: Object, gpus: int, says: str) -> None:
    given = kind(allocatable=ALLOCATABLE | {"nvidia.com/gpu": str(gpus)}, labels=labels)
    (only,) = groups(settings(given), pool())
    assert says in only.problem
    assert bool(only.problem) == bool(says)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nodePools": ["p", "p"], "instanceTypes": [kind()]}, "nodePools: p is there 2 times; give each once"),
        ({"nodePools": ["p"], "instanceTypes": [kind(), kind()]}, "instanceTypes: name: m is there 2 times"),
        (
            {"nodePools": ["p"], "instanceTypes": [kind(zones="aa")]},
            "m: offerings: zone and capacityType: a, on-demand is",
        ),
        ({"nodePools": ["p"], "instanceTypes": [kind(offerings=[{"zone": "a"}])]}, "missing required field `price`"),
        ({"nodePools": ["p"], "instanceTypes": [kind(offerings=[{"zone": "a", "price": -1}])]}, ">= 0"),
        ({"nodePools": ["p"], "instanceTypes": [kind(offerings=[])]}, r"length >= 1.*offerings"),
        ({"nodePools": [], "instanceTypes": [kind()]}, r"length >= 1.*nodePools"),
        ({"nodePools": ["p"], "instanceTypes": [kind(allocatable={"cpu": "x"})]}, "m: allocatable: cpu: 'x' is not a"),
        ({"nodePools": ["p"], "instanceTypes": [kind(allocatable={"cpu": "1"})]}, "m: allocatable: memory is missing"),
        ({"nodePools": ["p"], "instanceTypes": [kind(capacity={"nvidia.com/gpu": "500m"})]}, "no whole number of GPUs"),
        ({"nodePools": ["p"], "instanceTypes": [kind()], "prices": {}}, "unknown field `prices`"),
    ],
)
def test_settings_that_make_no_sense(given: Object, says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(given, KarpenterSettings)
