"""What GPU is free and cannot be used, and why, in small worlds with their arithmetic; the sums on random ones."""

from hypothesis import given
from hypothesis import strategies as st

from nos._core import Cluster, GpuSpec, NodeSpec, PodSpec, gpu_use
from tests.build import cluster_of, node, pod
from tests.cut_gpus import MODELS

A100 = MODELS["a100-40gb"].core


def use_of(cluster):
    (use,) = gpu_use(cluster)
    return use.all, use.free, use.stranded


def stranded(geometry=0, cpu=0, memory=0):
    return {"geometry": geometry, "cpu": cpu, "memory": memory}


def test_without_a_demand_nothing_is_stranded():
    assert use_of(cluster_of(node(gpus=2, cpu=1))) == (2000, 2000, stranded())


def test_gpus_without_cpu_for_them():
    """4 GPUs and 10 CPUs; who comes wants 4 CPUs for each GPU: two fit, and two GPUs stay."""
    cluster = cluster_of(node(gpus=4, cpu=10))
    cluster.expect(pod(gpus=1, cpu=4), 10)
    assert use_of(cluster) == (4000, 4000, stranded(cpu=2000))


def test_what_lacks_both_counts_under_the_scarcer():
    """By CPU 2 Pods fit, by memory 1: of 4 GPUs 3 are stranded, by memory."""
    cluster = cluster_of(node(gpus=4, cpu=8, memory_gi=40))
    cluster.expect(pod(gpus=1, cpu=4, memory_gi=30), 10)
    assert use_of(cluster) == (4000, 4000, stranded(memory=3000))


def test_crumbs_and_broken_sets_are_geometry():
    """300 and 1000 milli are free. Halves take 1000 of them, pairs of GPUs nothing, and one like the one that
    came 700. A pair counts twice: (100 x 300 + 100 x 2 x 1300 + 1 x 600) / 301 = 965."""
    cluster = cluster_of(node(gpus=2, cpu=64))
    cluster.upsert_pod("a", pod(share=700), node="n0", gpus=[0])
    cluster.expect(pod(share=500, cpu=1), 100)
    cluster.expect(pod(gpus=2, cpu=1), 100)
    assert use_of(cluster) == (2000, 1300, stranded(geometry=965))


def test_units_beside_instances_are_free_or_stranded_by_geometry():
    """One of two GPUs has a 1g: 7 of its 8 units are free, 875 milli. All that comes is 7g, which does not fit."""
    allocatable = {"cpu": 64_000, "memory": 1 << 40, "pods": 110, "nvidia.com/gpu": 2}
    cluster = Cluster()
    cluster.upsert_node("n0", NodeSpec(allocatable, gpus=[GpuSpec(A100, mig=True), GpuSpec(A100, mig=True)]))
    cluster.expect(PodSpec({"nvidia.com/mig-7g.40gb": 1}), 4000)
    cluster.upsert_pod("a", PodSpec({"nvidia.com/mig-1g.5gb": 1}), node="n0")
    every, free, lost = use_of(cluster)
    assert (every, free) == (2000, 1875)
    assert lost["geometry"] in range(870, 876)  # what every profile is taken to be asked for now and then
    assert lost["cpu"] == lost["memory"] == 0


def test_what_nobody_can_have_is_withheld():
    allocatable = {"cpu": 64_000, "memory": 1 << 40, "pods": 110, "nvidia.com/gpu": 2}
    cluster = Cluster()
    cluster.upsert_node("n0", NodeSpec(allocatable, gpus=[GpuSpec(A100, healthy=False), GpuSpec(A100, ready=True)]))
    (use,) = gpu_use(cluster)
    assert (use.all, use.free, use.withheld) == (2000, 1000, 1000)


kinds = st.one_of(
    st.builds(pod, gpus=st.integers(1, 4), cpu=st.integers(0, 9), memory_gi=st.integers(0, 90)),
    st.builds(pod, share=st.integers(1, 999), cpu=st.integers(0, 9), memory_gi=st.integers(0, 90)),
)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40), st.integers(1, 300)), min_size=1, max_size=4),
    st.lists(st.tuples(kinds, st.integers(1, 50)), max_size=4),
    st.lists(st.tuples(kinds, st.integers(0, 3)), max_size=12),
)
def test_parts_add_up(nodes, demand, pods):
    """What is stranded is a part of what is free, and what is free of all, as the ledger has them."""
    cluster = cluster_of(*[node(gpus=gpus, cpu=cpu, memory_gi=memory) for gpus, cpu, memory in nodes])
    for kind, count in demand:
        cluster.expect(kind, count)
    for number, (kind, where) in enumerate(pods):
        if where < len(nodes):
            cluster.upsert_pod(f"p{number}", kind, node=f"n{where}")
    uses = gpu_use(cluster)
    for use in uses:
        assert use.all == 1000 * len(cluster.node(use.node).gpu_free_milli) > 0
        assert use.free == sum(cluster.node(use.node).gpu_free_milli)
        assert all(part >= 0 for part in use.stranded.values())
        assert sum(use.stranded.values()) <= use.free <= use.all
    assert sum(use.all for use in uses) == cluster.gpu_capacity_milli
    assert sum(use.all - use.free for use in uses) == cluster.gpu_used_milli
