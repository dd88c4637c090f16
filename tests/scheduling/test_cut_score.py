"""Where MIG instances and whole GPUs go on nodes that nos cuts, in small worlds whose answer can be seen."""

import pytest

from nos._core import Cluster, GpuSpec, NodeSpec, PodSpec, Scheduler
from tests.build import pod
from tests.cut_gpus import MODELS

A100 = MODELS["a100-40gb"].core


def gpu(*instances, mig=True, **more):
    """Instances as (profile, start), free and handed out."""
    return GpuSpec(A100, mig=mig, instances=[(*placement, True, "") for placement in instances], **more)


def cluster_of(*nodes):
    """Per node its GPUs."""
    cluster = Cluster()
    for index, gpus in enumerate(nodes):
        allocatable = {"cpu": 64_000, "memory": 1 << 40, "pods": 110, "nvidia.com/gpu": len(gpus)}
        cluster.upsert_node(f"n{index}", NodeSpec(allocatable, gpus=list(gpus)))
    return cluster


def arrive(cluster, *profiles):
    for number, profile in enumerate(profiles):
        cluster.upsert_pod(f"p{number}", PodSpec({f"nvidia.com/mig-{profile}": 1}), arrival=number)
    return Scheduler(cluster).schedule()


def test_of_places_that_close_as_few_doors_one_that_exists_is_taken():
    """1g at 6, where no other profile of two units or more but 1g.10gb begins."""
    cluster = cluster_of([gpu(), gpu(("1g.5gb", 6))])
    (bind,) = arrive(cluster, "1g.5gb").binds
    assert (bind.instances, bind.ready) == ([(1, "1g.5gb", 6)], True)


def test_a_lightly_used_gpu_is_filled_before_an_empty_one_is_opened():
    cluster = cluster_of(*[[gpu(mig=False)] * 4] * 2)
    outcome = arrive(cluster, *["1g.5gb"] * 7)
    assert {(bind.node, spot[0]) for bind in outcome.binds for spot in bind.instances} == {("n0", 0)}


def test_idle_instances_are_merged_back_when_a_whole_gpu_is_wanted_and_only_then():
    cluster = cluster_of([gpu(("3g.20gb", 0), ("3g.20gb", 4)), gpu(("1g.5gb", 6))])
    cut = [(True, [("3g.20gb", 0), ("3g.20gb", 4)]), (True, [("1g.5gb", 6)])]
    assert cluster.targets("n0") == cut
    cluster.upsert_pod("slice", PodSpec({"nvidia.com/mig-1g.5gb": 1}))
    scheduler = Scheduler(cluster)
    assert scheduler.schedule().binds[0].instances == [(1, "1g.5gb", 6)]
    assert cluster.targets("n0") == cut
    cluster.upsert_pod("whole", pod(gpus=1))
    (bind,) = scheduler.schedule().binds
    assert (bind.gpus, bind.ready) == ([0], False)
    assert cluster.targets("n0") == [(False, []), (True, [("1g.5gb", 6)])]
    cluster.remove_pod("whole")
    assert cluster.targets("n0") == cut


def test_a_whole_gpu_is_taken_where_nothing_has_to_be_merged():
    cluster = cluster_of([gpu(("1g.5gb", 0)), gpu(), gpu(mig=False, ready=True)])
    cluster.upsert_pod("whole", pod(gpus=1))
    (bind,) = Scheduler(cluster).schedule().binds
    assert (bind.gpus, bind.ready) == ([2], True)


def test_whole_pods_that_run_when_the_label_appears_keep_their_gpus():
    """Slot 0 was guessed; the agent saw the Pod on GPU 2."""
    cluster = Cluster()
    allocatable = {"cpu": 64_000, "pods": 110, "nvidia.com/gpu": 3}
    cluster.upsert_node("n0", NodeSpec(allocatable))
    cluster.upsert_pod("a", pod(gpus=1, memory_gi=0), node="n0", gpus=[0])
    cluster.upsert_node("n0", NodeSpec(allocatable, gpus=[gpu(mig=False), gpu(mig=False), gpu(mig=False, pod="a")]))
    assert cluster.pod("a").gpus == [2]
    assert cluster.node("n0").gpu_free_milli == [1000, 1000, 0]
    cluster.check()


def test_nobody_is_ready_on_a_node_that_nos_stopped_cutting():
    cluster = cluster_of([gpu()])
    cluster.upsert_pod("a", PodSpec({"nvidia.com/mig-1g.5gb": 1}))
    Scheduler(cluster).schedule()
    cluster.upsert_node("n0", NodeSpec({"cpu": 64_000, "pods": 110}))
    assert (cluster.pod("a").placed, cluster.pod("a").ready) == (False, False)
    cluster.check()


def test_units_beside_instances_that_no_typical_profile_takes_are_lost():
    """7g is all that arrives, hardly anything else counts: beside a 1g, 7 of 8 units are free and 7g fits no more.
    Of 875 + 1000 milli free, 875 are lost."""
    cluster = cluster_of([gpu(), gpu()])
    cluster.expect(PodSpec({"nvidia.com/mig-7g.40gb": 1}), 1000)
    assert Scheduler(cluster).fragmentation_ratio() == pytest.approx(0, abs=0.01)
    cluster.upsert_pod("a", PodSpec({"nvidia.com/mig-1g.5gb": 1}), node="n0")
    assert Scheduler(cluster).fragmentation_ratio() == pytest.approx(875 / 1875, abs=0.01)


@pytest.mark.parametrize(("double", "single", "fits"), [(28, 1, False), (27, 2, True), (27, 3, False)])
def test_many_slices_on_one_node_are_counted_out_not_tried_out(double, single, fits):
    """7g takes one of 8 GPUs; seven hold four 1g.10gb each, or three of them and two 1g.5gb in the place of one."""
    cluster = cluster_of([gpu()] * 8)
    wanted = {"7g.40gb": 1, "1g.10gb": double, "1g.5gb": single}
    spec = PodSpec({f"nvidia.com/mig-{name}": count for name, count in wanted.items()})
    assert Scheduler(cluster).feasible(spec) == (["n0"] if fits else [])
