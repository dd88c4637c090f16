"""What a waiting Pod is told."""

import pytest

from nos._core import GpuSpec, NodeSpec, PodSpec, Requirement, Scheduler, SelectorTerm, Taint
from tests.build import GPU_TAINT, TOLERATES_GPU, Cluster, arrive, cluster_of, node, pod
from tests.cut_gpus import MODELS

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
        (Cluster(), pod(), "NoNodes", "0/0 nodes are available: the cluster has no node."),
        (
            full(),
            pod(gpus=2),
            "InsufficientGpu",
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. Closest is node n0, which lacks 2 GPUs.",
        ),
        (
            cluster_of(node(gpus=8), node(gpus=4)),
            pod(gpus=16),
            "InsufficientGpu",
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. No node that it may use is large enough: "
            "it asks for 16 GPUs, the largest has 8.",
        ),
        (
            cluster_of(node(taints=[GPU_TAINT]), node(taints=[GPU_TAINT]), node(unschedulable=True)),
            pod(gpus=1),
            "Taint",
            "0/3 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: present}, "
            "1 node(s) were unschedulable. Tolerating taint {nvidia.com/gpu: present} opens 2 nodes with room.",
        ),
        (
            cluster_of(node(unschedulable=True)),
            pod(gpus=1),
            "Unschedulable",
            "0/1 nodes are available: 1 node(s) were unschedulable. Uncordoning opens 1 node with room.",
        ),
        (
            cluster_of(node(labels={"zone": "a"})),
            pod(affinity=[SelectorTerm([Requirement("zone", "In", ["b"])])]),
            "NodeAffinity",
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
            "A wider node affinity/selector opens 1 node with room.",
        ),
        (
            cluster_of(node(cpu=4, memory_gi=2), node(cpu=2, memory_gi=8)),
            pod(cpu=3.5, memory_gi=7),
            "InsufficientCpu",
            # n0 lacks 5 of 7 Gi = 71 %, n1 lacks 1.5 of 3.5 CPU = 43 %: n1 is closer.
            "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. "
            "Closest is node n1, which lacks 1500m of CPU.",
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
            "Not handled by nos yet: pod affinity, topology spread. Remove it, or give the Pod another schedulerName.",
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


def cut(*held, model="a100-40gb", fixed=False):
    """A node of one GPU per argument, with these instances in strangers' hands."""
    gpus = [
        GpuSpec(
            MODELS[model].core,
            mig=True,
            fixed=fixed,
            instances=[(*placement, True, "gone") for placement in placements],
        )
        for placements in held
    ]
    return NodeSpec({"cpu": 64_000, "memory": 1 << 40, "pods": 110, "nvidia.com/gpu": len(gpus)}, gpus=gpus)


def slices(**wanted):
    """slices(_3g_20gb=1) asks for one 3g.20gb."""
    return PodSpec({"nvidia.com/mig-" + name[1:].replace("_", "."): count for name, count in wanted.items()})


def test_too_few_units():
    """4 + 1 of 8 units are taken on n0, 7 on n1: 3 is the most that is free."""
    told = reason(
        cluster_of(cut([("4g.20gb", 0), ("1g.5gb", 4)]), cut([("4g.20gb", 0), ("2g.10gb", 4), ("1g.5gb", 6)])),
        slices(_3g_20gb=1),
    )
    assert told.code == "NoGeometry"
    assert told.message == (
        "0/2 nodes are available: 2 No geometry: 3g.20gb needs 4 free units, the best GPU has 3. "
        "Closest is GPU 0 of node n0."
    )
    assert list(told.counts.values()) == [2]


@pytest.mark.parametrize(
    ("held", "spec", "text"),
    [
        # Units 1, 3, 5, 6 and 7 are free, but 3g starts at 0 and 4 only.
        (
            [[("1g.5gb", 0), ("1g.5gb", 2), ("1g.5gb", 4)]],
            slices(_3g_20gb=1),
            "3g.20gb needs 4 free units in a row from one of its starts, the best GPU has 5 elsewhere",
        ),
        # 4 + 4 units.
        ([[("3g.20gb", 0), ("3g.20gb", 4)]], slices(_1g_5gb=1), "1g.5gb needs 1 free unit, the best GPU has 0"),
        # 4g starts at 0 only.
        (
            [[("4g.20gb", 0)]],
            slices(_4g_20gb=1),
            "4g.20gb needs 4 free units in a row from one of its starts, the best GPU has 4 elsewhere",
        ),
        ([[("3g.20gb", 0)], []], slices(_3g_20gb=4), "4 instances of 3g.20gb are wanted, the best node has room for 3"),
        (
            [[("3g.20gb", 0)], []],
            slices(_3g_20gb=1, _7g_40gb=2),
            "2 instances of 7g.40gb are wanted, the best node has room for 1",
        ),
        # 7g takes one GPU, 4g needs an empty one, too.
        (
            [[("1g.5gb", 0)], []],
            slices(_4g_20gb=1, _7g_40gb=1),
            "1 instance of 4g.20gb and 1 instance of 7g.40gb do not fit on one node together",
        ),
    ],
)
def test_other_geometry(held, spec, text):
    told = reason(cluster_of(cut(*held)), spec)
    assert told.code == "NoGeometry"
    assert list(told.counts) == ["No geometry: " + text]


def test_what_no_gpu_is_ever_cut_into_is_no_question_of_geometry():
    told = reason(cluster_of(cut([])), slices(_1g_10gb_me=1))
    assert (told.code, list(told.counts)) == ("InsufficientResource", ["Insufficient nvidia.com/mig-1g.10gb.me"])


def test_a_gpu_that_is_taken_whole_has_no_free_unit():
    cluster = cluster_of(cut([]))
    cluster.upsert_pod("whole", pod(gpus=1), node="n0")
    told = reason(cluster, slices(_1g_5gb=1))
    assert list(told.counts) == ["No geometry: 1g.5gb needs 1 free unit, the best GPU has 0"]


def test_more_than_an_empty_node_holds():
    told = reason(cluster_of(cut([])), slices(_3g_20gb=3))
    assert told.message.endswith("it asks for 3 nvidia.com/mig-3g.20gb, the largest has 2.")


def test_a_gpu_that_is_not_recut_now_is_told_apart():
    told = reason(cluster_of(cut([("3g.20gb", 0), ("3g.20gb", 4)]), cut([], fixed=True)), slices(_3g_20gb=1))
    assert told.message == (
        "0/2 nodes are available: 2 No geometry: 3g.20gb would fit, but that GPU is not recut now: its agent failed or "
        "is silent. Closest is GPU 0 of node n1."
    )
