"""What a waiting Pod is told."""

import pytest

from nos._core import PodSpec, Requirement, Scheduler, SelectorTerm, Taint
from tests.build import GPU_TAINT, TOLERATES_GPU, Cluster, arrive, cluster_of, node, pod

A100 = "nvidia.com/mig-3g.40gb"


def reason(cluster, spec):
    cluster.upsert_pod("asks", spec)
    (waiting,) = Scheduler(cluster).schedule().waiting
    return waiting[1]


def full(gpus=8, **fields):
    """A node whose GPUs are all held."""
    cluster = cluster_of(node(gpus=gpus, **fields))
    cluster.upsert_pod("holder", pod(gpus=gpus), node="n0")
    return cluster


@pytest.mark.parametrize(
    ("cluster", "spec", "code", "message"),
    [
        (Cluster(), pod(), "NoNodes", "0/0 nodes are available: the cluster has no node"),
        (
            full(),
            pod(gpus=2),
            "InsufficientGpu",
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. Closest is node n0, which lacks 2 nvidia.com/gpu.",
        ),
        (
            cluster_of(node(gpus=8), node(gpus=4)),
            pod(gpus=16),
            "InsufficientGpu",
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. No node that it may use is large enough: "
            "it asks for 16 nvidia.com/gpu, the largest has 8.",
        ),
        (
            cluster_of(node(taints=[GPU_TAINT]), node(taints=[GPU_TAINT]), node(unschedulable=True)),
            pod(gpus=1),
            "Taint",
            "0/3 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: present}, "
            "1 node(s) were unschedulable. Tolerating taint {nvidia.com/gpu: present} opens 2 node(s) with room.",
        ),
        (
            cluster_of(node(unschedulable=True)),
            pod(gpus=1),
            "Unschedulable",
            "0/1 nodes are available: 1 node(s) were unschedulable. Uncordoning opens 1 node(s) with room.",
        ),
        (
            cluster_of(node(labels={"zone": "a"})),
            pod(affinity=[SelectorTerm([Requirement("zone", "In", ["b"])])]),
            "NodeAffinity",
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
            "A wider node affinity/selector opens 1 node(s) with room.",
        ),
        (
            cluster_of(node(cpu=4, memory_gi=2), node(cpu=2, memory_gi=8)),
            pod(cpu=3.5, memory_gi=7),
            "InsufficientCpu",
            # n0 lacks 5 of 7 Gi = 71 %, n1 lacks 1.5 of 3.5 CPU = 43 %: n1 is closer.
            "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. "
            "Closest is node n1, which lacks 1500m cpu.",
        ),
        (
            cluster_of(node(**{A100: 2})),
            PodSpec({A100: 3}),
            "InsufficientResource",
            f"0/1 nodes are available: 1 Insufficient {A100}. No node that it may use is large enough: "
            f"it asks for 3 {A100}, the largest has 2.",
        ),
        (
            cluster_of(node(pods=0)),
            pod(),
            "TooManyPods",
            "0/1 nodes are available: 1 Too many pods.",
        ),
        (
            cluster_of(node()),
            pod(unsupported=["pod affinity", "topology spread"]),
            "Unsupported",
            "nos does not handle pod affinity, topology spread yet: remove it, or give the Pod another schedulerName.",
        ),
    ],
)
def test_reason(cluster, spec, code, message):
    told = reason(cluster, spec)
    assert (told.code, told.message) == (code, message)


def test_a_share_that_no_gpu_has():
    cluster = cluster_of(node(gpus=2))
    for slot in range(2):
        cluster.upsert_pod(f"holder{slot}", pod(share=810), node="n0", gpus=[slot])
    told = reason(cluster, pod(share=300))
    assert told.code == "InsufficientGpu"
    assert told.message.endswith("Closest is node n0, which lacks 110 milli-GPU on one GPU.")  # 300 - 190


def test_a_node_that_lacks_two_things_counts_under_both():
    told = reason(cluster_of(node(gpus=1, cpu=1)), pod(gpus=2, cpu=2))
    assert told.counts == {"Insufficient cpu": 1, "Insufficient nvidia.com/gpu": 1}
    assert told.code == "InsufficientGpu"


def test_a_node_that_is_barred_twice_counts_once():
    told = reason(cluster_of(node(unschedulable=True, taints=[Taint("a")])), pod())
    assert told.counts == {"node(s) were unschedulable": 1}


def test_equal_pods_share_a_reason_and_a_place_frees_it():
    cluster = full()
    arrive(cluster, pod(gpus=8, tolerations=[TOLERATES_GPU]), pod(gpus=8, tolerations=[TOLERATES_GPU]))
    scheduler = Scheduler(cluster)
    (_, first), (_, second) = scheduler.schedule().waiting
    assert first is second
    cluster.remove_pod("holder")
    outcome = scheduler.schedule()
    assert [bind.uid for bind in outcome.binds] == ["p0"]
    assert [uid for uid, _ in outcome.waiting] == ["p1"]
