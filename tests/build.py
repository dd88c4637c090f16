"""Short spellings for tests: node(gpus=8), pod(gpus=1), cluster_of(...), waiting Pods by name; who is near whom."""

from nos._core import (
    Cluster,
    NodeSpec,
    PodLabels,
    PodSelector,
    PodSpec,
    PodTerm,
    Requirement,
    SelectorTerm,
    SpreadConstraint,
    Taint,
    Toleration,
)

GPU = "nvidia.com/gpu"
GI = 1 << 30
GPU_TAINT = Taint(GPU, "present", "NoSchedule")
TOLERATES_GPU = Toleration(GPU, "Exists")


def node(gpus=8, cpu=64, memory_gi=512, pods=110, labels=None, taints=(), unschedulable=False, **extended):
    """cpu in whole CPUs; extended resources by keyword, with __ for / and . alike."""
    allocatable = {"cpu": cpu * 1000, "memory": memory_gi * GI, "pods": pods, GPU: gpus, **extended}
    return NodeSpec(allocatable, labels=labels or {}, taints=list(taints), unschedulable=unschedulable)


def pod(gpus=0, share=0, cpu=1, memory_gi=1, **more):
    requests = {"cpu": int(cpu * 1000), "memory": memory_gi * GI}
    if gpus:
        requests[GPU] = gpus
    return PodSpec(requests, gpu_share_milli=share, **more)


def cluster_of(*specs):
    """Nodes n0, n1, ... of these specs."""
    cluster = Cluster()
    for index, spec in enumerate(specs):
        cluster.upsert_node(f"n{index}", spec)
    return cluster


def arrive(cluster, *specs, prefix="p", **fields):
    """Pods p0, p1, ... of these specs start to wait, in this order."""
    uids = [f"{prefix}{index}" for index in range(len(specs))]
    for index, (uid, spec) in enumerate(zip(uids, specs, strict=True)):
        cluster.upsert_pod(uid, spec, **{"arrival": index, **fields})
    return uids


def nodes_of(outcome):
    """uid -> node of what was bound."""
    return {bind.uid: bind.node for bind in outcome.binds}


def app(name):
    """The labels of a Pod of that app, in namespace n."""
    return PodLabels("n", {"app": name})


def those(name):
    """Pods of that app in namespace n."""
    return PodSelector([Requirement("app", "In", [name])], namespaces=["n"])


def near(name, key="zone"):
    return PodTerm(key, those(name))


def spread(name, key="zone", max_skew=1, **more):
    return SpreadConstraint(key, those(name), max_skew=max_skew, **more)


def zone(*values):
    """Terms that nodes in these zones match."""
    return [SelectorTerm([Requirement("zone", "In", values)])]
