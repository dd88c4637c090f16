"""What a waiting Pod is told about other Pods, volumes, features and devices.

Node counts are kube-scheduler's: of what it looks at before room the first cause, of room all, after room the first."""

import pytest

from nos._core import NodeSpec, PodSpec, Scheduler, VolumeClaim
from tests.build import GPU, GPU_TAINT, Cluster, app, cluster_of, near, node, pod, spread, zone

ROOM = {"cpu": 64_000, "memory": 1 << 40, "pods": 110}


def told(cluster, spec):
    cluster.upsert_pod("asks", spec, labels=app("asks"))
    ((_, reason),) = Scheduler(cluster).schedule().waiting
    return reason


def zones(*names, there=()):
    """Nodes in these zones, "" for none, and Pods with these labels, by node."""
    cluster = cluster_of(*[node(labels={"zone": name} if name else {}) for name in names])
    for number, (where, labels, spec) in enumerate(there):
        cluster.upsert_pod(f"there{number}", spec, node=where, labels=labels)
    return cluster


@pytest.mark.parametrize(
    ("cluster", "spec", "code", "message"),
    [
        (
            zones("p", "q", ""),
            pod(pod_affinity=[near("a")]),
            "PodAffinity",
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules. "
            "Leaving out its pod affinity opens 3 nodes with room.",
        ),
        (
            zones("p", "p", "q", there=[("n0", app("a"), pod()), ("n2", app("a"), pod())]),
            pod(pod_anti_affinity=[near("a")]),
            "PodAntiAffinity",
            "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. "
            "Leaving out its pod anti-affinity opens 3 nodes with room.",
        ),
        (
            zones("p", "p", there=[("n0", app("a"), pod(pod_anti_affinity=[near("asks")]))]),
            pod(),
            "PodAntiAffinity",
            "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules. "
            "Moving Pods whose anti-affinity keeps it off opens 2 nodes with room.",
        ),
        (
            # n0, n1: 1 + 1 - 0 = 2 > 1, for q has none; n2 is full; n3 has no zone.
            zones("p", "p", "q", "", there=[("n0", app("asks"), pod()), ("n2", app("a"), pod(cpu=64))]),
            pod(spread=[spread("asks")]),
            "InsufficientCpu",
            "0/4 nodes are available: 2 node(s) didn't match pod topology spread constraints, 1 Insufficient cpu, "
            "1 node(s) didn't match pod topology spread constraints (missing required label). "
            "Closest is node n2, which lacks 1 core.",
        ),
        (
            # p has 1, and there are to be 2 domains: 1 + 1 - 0 = 2 > 1.
            zones("p", there=[("n0", app("asks"), pod())]),
            pod(spread=[spread("asks", min_domains=2)]),
            "TopologySpread",
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints. "
            "A larger maxSkew opens 1 node with room.",
        ),
        (
            zones("", ""),
            pod(spread=[spread("asks")]),
            "TopologySpread",
            "0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints (missing required label). "
            "The topology labels that it spreads over open 2 nodes with room.",
        ),
        (
            zones("p", "q"),
            pod(volume_affinity=[zone("r")]),
            "VolumeAffinity",
            "0/2 nodes are available: 2 node(s) had volume node affinity conflict. "
            "Volumes that can be used there open 2 nodes with room.",
        ),
        (
            zones("p", "q"),
            pod(claims=[VolumeClaim([("v", zone("r"))])]),
            "VolumeAffinity",
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind, nor can they be made "
            "there. Volumes that can be used there open 2 nodes with room.",
        ),
        (
            zones("p", "q", there=[("n0", app("a"), pod(sole_claims=["n/one"]))]),
            pod(sole_claims=["n/one"]),
            "VolumeInUse",
            "0/2 nodes are available: 2 node(s) unavailable: a ReadWriteOncePod claim is in use by another pod.",
        ),
        (
            cluster_of(NodeSpec(ROOM, attach_limits={"csi": 1}), NodeSpec(ROOM, attach_limits={"csi": 0})),
            pod(volumes=[("csi", "a"), ("csi", "b")]),
            "VolumeLimit",
            "0/2 nodes are available: 2 node(s) exceed max volume count.",
        ),
        (
            zones("p"),
            pod(waits_for='persistentvolumeclaim "data" not found'),
            "VolumeNotReady",
            'Its volumes are not ready: persistentvolumeclaim "data" not found.',
        ),
        (
            cluster_of(NodeSpec(ROOM, features=["Swap"]), NodeSpec(ROOM)),
            pod(features=["Resize", "Swap"]),
            "NodeFeature",
            "0/2 nodes are available: 2 node(s) lack Resize, Swap.",
        ),
        (
            cluster_of(NodeSpec(ROOM, by_dra=[GPU]), NodeSpec(ROOM, by_dra=[GPU])),
            pod(gpus=1),
            "OnlyByDra",
            "0/2 nodes are available: 2 node(s) offer GPUs as DRA devices only, which nos does not hand out.",
        ),
        (
            cluster_of(NodeSpec(ROOM, by_dra=["nvidia.com/mig-1g.5gb"])),
            PodSpec({"nvidia.com/mig-1g.5gb": 1}),
            "OnlyByDra",
            "0/1 nodes are available: 1 node(s) offer GPUs as DRA devices only, which nos does not hand out.",
        ),
    ],
)
def test_reason(cluster, spec, code, message):
    reason = told(cluster, spec)
    assert (reason.code, reason.message) == (code, message)


def test_before_room_the_first_cause_counts_and_nothing_after():
    cluster = cluster_of(node(taints=[GPU_TAINT], unschedulable=True, cpu=0), node(taints=[GPU_TAINT], gpus=0))
    reason = told(cluster, pod(gpus=1, pod_affinity=[near("a")], volume_affinity=[zone("p")]))
    assert reason.counts == {
        "node(s) were unschedulable": 1,
        "node(s) had untolerated taint {nvidia.com/gpu: present}": 1,
    }


def test_of_room_all_counts_and_nothing_after():
    reason = told(cluster_of(node(cpu=1, gpus=0)), pod(cpu=2, gpus=1, pod_affinity=[near("a")], features=["F"]))
    assert reason.counts == {"Insufficient cpu": 1, "Insufficient nvidia.com/gpu": 1}
    of_slices = PodSpec({"nvidia.com/mig-1g.5gb": 1}, pod_affinity=[near("a")])
    assert told(cluster_of(node()), of_slices).counts == {"Insufficient nvidia.com/mig-1g.5gb": 1}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"sole_claims": ["n/one"]}, "node(s) unavailable: a ReadWriteOncePod claim is in use by another pod"),
        ({"volumes": [("csi", "a")]}, "node(s) exceed max volume count"),
        ({"volume_affinity": [zone("r")]}, "node(s) had volume node affinity conflict"),
        (
            {"spread": [spread("asks", "row")]},
            "node(s) didn't match pod topology spread constraints (missing required label)",
        ),
        ({"spread": [spread("asks")]}, "node(s) didn't match pod topology spread constraints"),
        ({"pod_affinity": [near("nobody")]}, "node(s) didn't match pod affinity rules"),
        ({"pod_anti_affinity": [near("a")]}, "node(s) didn't match pod anti-affinity rules"),
        ({}, "node(s) didn't satisfy existing pods anti-affinity rules"),
    ],
)
def test_after_room_the_first_cause_counts(more, text):
    """In kube-scheduler's order. Each of these bars the node, and so does all that comes after it."""
    rest = {
        "sole_claims": ["n/one"],
        "volumes": [("csi", "a")],
        "volume_affinity": [zone("r")],
        "pod_affinity": [near("nobody")],
        "pod_anti_affinity": [near("a")],
        "features": ["F"],
    }
    order = ["sole_claims", "volumes", "volume_affinity", "spread", "pod_affinity", "pod_anti_affinity", "features"]
    first = next(iter(more), "features")
    later = {name: rest[name] for name in order[order.index(first) + 1 :] if name in rest}
    cluster = Cluster()
    cluster.upsert_node("n0", NodeSpec(ROOM, labels={"zone": "p"}, attach_limits={"csi": 0}))
    keeps_off = pod(sole_claims=["n/one"], pod_anti_affinity=[near("asks")])
    cluster.upsert_pod("there", keeps_off, node="n0", labels=app("a"))
    cluster.upsert_pod("twin", pod(), node="n0", labels=app("asks"))
    if "spread" in more:
        cluster.upsert_node("n1", NodeSpec(ROOM, labels={"zone": "q"}, unschedulable=True))
    reason = told(cluster, pod(**{**later, **more}) if more else pod(features=["F"]))
    assert reason.counts == {text: 1} | ({"node(s) were unschedulable": 1} if "spread" in more else {})


def test_a_fix_is_named_only_where_it_is_enough():
    """n0 would be open but for its zone; on n1 a Pod keeps it off as well."""
    cluster = zones("p", "q", there=[("n1", app("a"), pod(pod_anti_affinity=[near("asks")]))])
    reason = told(cluster, pod(volume_affinity=[zone("r")]))
    assert reason.message.endswith("Volumes that can be used there open 1 node with room.")
    cluster.upsert_pod("full", pod(cpu=64), node="n0")
    reason = told(cluster, pod(volume_affinity=[zone("r")]))
    assert reason.message == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had volume node affinity conflict."
    )


def test_room_that_is_kept_for_another_pod_is_none():
    cluster = cluster_of(node(cpu=2))
    cluster.upsert_pod("coming", pod(cpu=2), node="n0", priority=1, nominated=True)
    assert told(cluster, pod()).message == "0/1 nodes are available: 1 Insufficient cpu."
