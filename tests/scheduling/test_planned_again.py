"""Where the instances of a cycle are planned once more, those who had looked at them look again."""

from nos._core import GpuSpec, NodeSpec, PodSpec, Scheduler
from tests.build import app, cluster_of, near, pod
from tests.cut_gpus import MODELS


def half_a_gpu(zone, free_from):
    """A GPU of 8 units, 4 of them a stranger's."""
    taken = ("3g.20gb", 4 - free_from, True, "stranger")
    gpu = GpuSpec(MODELS["a100-40gb"].core, mig=True, instances=[taken])
    room = {"cpu": 64_000, "memory": 1 << 40, "pods": 110, "nvidia.com/gpu": 1}
    return NodeSpec(room, labels={"zone": zone}, gpus=[gpu])


def slices(profile):
    return PodSpec({f"nvidia.com/mig-{profile}": 1})


def test_who_follows_another_is_where_that_one_is_in_the_end():
    """4 + 4 units are free. One after another 2g and 3g take a half each, and the last 2g fits if both 2g share one:
    the first of them moves, and who wants to be near it goes along."""
    cluster = cluster_of(half_a_gpu("p", 0), half_a_gpu("q", 4))
    cluster.upsert_pod("leads", slices("2g.10gb"), labels=app("a"), arrival=0)
    cluster.upsert_pod("large", slices("3g.20gb"), arrival=1)
    cluster.upsert_pod("follows", pod(pod_affinity=[near("a")]), arrival=2)
    cluster.upsert_pod("last", slices("2g.10gb"), arrival=3)
    outcome = Scheduler(cluster).schedule()
    assert len(outcome.binds) == 4
    assert cluster.pod("leads").node == cluster.pod("last").node != cluster.pod("large").node
    assert cluster.pod("follows").node == cluster.pod("leads").node
    cluster.check()
