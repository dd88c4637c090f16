"""The ledger's promises, one by one."""

import threading

import pytest

from nos._core import Cluster, ClusterBusy, HostPort, NodeSpec, PodSpec, Requirement, Scheduler, Taint, Toleration
from tests.build import GPU, arrive, cluster_of, node, pod


def test_upserts_are_idempotent():
    cluster = cluster_of(node())
    cluster.upsert_pod("a", pod(gpus=2), node="n0", gpus=[3, 5])
    before = cluster.node("n0").gpu_free_milli
    cluster.upsert_pod("a", pod(gpus=2), node="n0", gpus=[3, 5])
    cluster.upsert_pod("a", pod(gpus=2), node="n0")
    cluster.upsert_node("n0", node())
    assert cluster.node("n0").gpu_free_milli == before == [1000, 1000, 1000, 0, 1000, 0, 1000, 1000]
    cluster.check()


def test_an_assumed_pod_is_confirmed_where_the_api_server_says():
    cluster = cluster_of(node(), node())
    arrive(cluster, pod(gpus=1))
    cluster.assume("p0", "n0", [0])
    cluster.upsert_pod("p0", pod(gpus=1))  # an echo from before the bind
    assert cluster.pod("p0").phase == "assumed"
    cluster.upsert_pod("p0", pod(gpus=1), node="n1")  # somebody else was faster
    assert (cluster.pod("p0").phase, cluster.pod("p0").node) == ("bound", "n1")
    assert cluster.node("n0").gpu_free_milli == [1000] * 8
    cluster.upsert_pod("p0", pod(gpus=1))  # an echo from before: no Pod comes back from a node
    assert (cluster.pod("p0").phase, cluster.pod("p0").node) == ("bound", "n1")
    cluster.check()


def test_a_pod_may_come_before_its_node_and_outlive_it():
    cluster = Cluster()
    cluster.upsert_pod("a", pod(gpus=2, cpu=3), node="late", gpus=[6, 7])
    assert not cluster.node("late").present
    assert cluster.gpu_used_milli == 0
    cluster.upsert_node("late", node())
    assert cluster.node("late").gpu_free_milli == [1000] * 6 + [0, 0]
    assert cluster.node("late").requested["cpu"] == 3000
    cluster.remove_node("late")
    assert cluster.gpu_capacity_milli == 0
    cluster.upsert_node("late", node())
    assert cluster.node("late").gpu_free_milli == [1000] * 6 + [0, 0]
    cluster.remove_node("late")
    cluster.remove_pod("a")
    with pytest.raises(KeyError, match="late"):
        cluster.node("late")
    cluster.check()


def test_a_node_that_shrinks_below_its_pods_is_overcommitted_and_gets_nothing_more():
    cluster = cluster_of(node(gpus=4))
    for index in range(4):
        cluster.upsert_pod(f"a{index}", pod(gpus=1), node="n0")
    cluster.upsert_node("n0", node(gpus=2))  # two GPUs died: 4 held, 2 there
    cluster.remove_pod("a0")  # 3 held, 2 there
    cluster.check()
    assert Scheduler(cluster).feasible(pod(gpus=1)) == []
    cluster.remove_pod("a1")
    cluster.remove_pod("a2")  # 1 held, 2 there
    assert Scheduler(cluster).feasible(pod(gpus=1)) == ["n0"]
    cluster.check()


def test_resizing_a_running_pod_counts_at_once():
    cluster = cluster_of(node())
    cluster.upsert_pod("a", pod(cpu=1), node="n0")
    cluster.upsert_pod("a", pod(cpu=5), node="n0")
    assert cluster.node("n0").requested["cpu"] == 5000
    cluster.check()


def test_a_copy_is_independent():
    cluster = cluster_of(node())
    arrive(cluster, pod(gpus=8))
    what_if = cluster.copy()
    Scheduler(what_if).schedule()
    assert what_if.gpu_used_milli == 8000
    assert cluster.gpu_used_milli == 0
    cluster.check()
    what_if.check()


def test_assume_refuses_what_does_not_fit():
    cluster = cluster_of(node(gpus=2))
    arrive(cluster, pod(gpus=2), pod(share=600), pod(share=600))
    for gpus in ([], [0], [0, 0], [0, 2]):
        with pytest.raises(ValueError, match="slot"):
            cluster.assume("p0", "n0", gpus)
    cluster.assume("p1", "n0", [0])
    with pytest.raises(ValueError, match="has not enough free"):
        cluster.assume("p2", "n0", [0])
    with pytest.raises(ValueError, match="does not wait"):
        cluster.assume("p1", "n0", [1])
    with pytest.raises(KeyError):
        cluster.assume("p2", "nowhere", [0])
    cluster.check()


def test_commit_keeps_and_the_end_of_a_block_undoes():
    cluster = cluster_of(node())
    arrive(cluster, pod(gpus=1), pod(gpus=1))
    with cluster.transaction() as transaction:
        cluster.assume("p0", "n0", [4])
        transaction.commit()
    with cluster.transaction():
        cluster.forget("p0")
        cluster.assume("p1", "n0", [4])
        with pytest.raises(RuntimeError, match="transaction is open"):
            cluster.transaction()
        with pytest.raises(RuntimeError, match="transaction is open"):
            cluster.copy()
    assert cluster.pod("p0").gpus == [4]
    assert cluster.pod("p1").phase == "waiting"
    cluster.check()


def test_names_are_given_out_again():
    """Thousands of Pods come and go; uids that share prefixes and lengths stay apart."""
    cluster = cluster_of(node(pods=10_000, gpus=0, cpu=100_000, memory_gi=100_000))
    for wave in range(20):
        for index in range(200):
            cluster.upsert_pod(f"pod-{wave}-{index:04}" + "x" * (index % 50), pod(), node="n0")
        for index in range(0, 200, 2):
            assert cluster.remove_pod(f"pod-{wave}-{index:04}" + "x" * (index % 50))
        cluster.check()
    assert cluster.pod_count == 20 * 100
    assert "pod-3-0001x" in cluster
    assert "pod-3-0002xx" not in cluster


def test_a_second_thread_is_refused_while_a_cycle_runs():
    cluster = cluster_of(*[node() for _ in range(2000)])
    arrive(cluster, *[pod(gpus=1, cpu=1 + index / 1000) for index in range(1500)])
    scheduler = Scheduler(cluster)
    cycle = threading.Thread(target=scheduler.schedule)
    cycle.start()
    refused = 0
    while cycle.is_alive():
        try:
            assert "p0" in cluster
        except ClusterBusy:
            refused += 1
    cycle.join()
    assert refused > 0
    cluster.check()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PodSpec({"cpu": -1}), "cpu: -1 is not between 0 and"),
        (lambda: PodSpec({"memory": 1 << 51}), r"memory: \d+ is not between 0 and"),
        (lambda: NodeSpec({GPU: 70_000}), "nvidia.com/gpu: 70000 is more than 65535"),
        (lambda: PodSpec({}, gpu_share_milli=1000), "gpu_share_milli: 1000"),
        (lambda: PodSpec({GPU: 1}, gpu_share_milli=500), "exclude each other"),
        (lambda: PodSpec({}, host_ports=[HostPort(70_000)]), "host port 70000"),
        (lambda: Requirement("k", "Like"), "operator must be In, NotIn"),
        (lambda: Taint("k", "v", "Sometimes"), "effect must be NoSchedule"),
        (lambda: NodeSpec({}, taints=[Taint("k", "v", "")]), "taint k: an effect is missing"),
        (lambda: Toleration("k", "Gt"), "operator must be Equal or Exists"),
        (lambda: Cluster().upsert_node("", NodeSpec({})), "needs a name"),
        (lambda: Cluster().upsert_pod("", PodSpec({})), "needs a uid"),
    ],
)
def test_absurd_values_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rollback_brings_a_pod_back_to_a_node_that_is_gone():
    cluster = cluster_of(node())
    arrive(cluster, pod(gpus=2))
    cluster.assume("p0", "n0", [3, 5])
    cluster.remove_node("n0")
    with cluster.transaction():
        assert cluster.forget("p0")
        cluster.check()
        assert cluster.pod("p0").phase == "waiting"
    assert (cluster.pod("p0").phase, cluster.pod("p0").node) == ("assumed", "n0")
    cluster.upsert_node("n0", node())
    assert cluster.pod("p0").gpus == [3, 5]
    cluster.check()


def test_a_forgotten_pod_leaves_no_trace_of_a_node_that_is_gone():
    cluster = cluster_of(node())
    arrive(cluster, pod(gpus=2))
    cluster.assume("p0", "n0", [3, 5])
    cluster.remove_node("n0")
    with cluster.transaction() as transaction:
        assert cluster.forget("p0")
        transaction.commit()
    assert cluster.nodes() == []
    cluster.check()


def test_a_rollback_gives_a_pod_no_more_than_it_had():
    cluster = cluster_of(node(gpus=3))
    cluster.upsert_pod("a", pod(gpus=1), node="n0", gpus=[0])
    arrive(cluster, pod(gpus=2))
    cluster.assume("p0", "n0", [1, 2])
    cluster.upsert_node("n0", node(gpus=2))  # GPU 2 failed: p0 keeps GPU 1
    cluster.remove_pod("a")
    assert (cluster.pod("p0").gpus, cluster.node("n0").gpu_free_milli) == ([1], [1000, 0])
    with cluster.transaction():
        assert cluster.forget("p0")
    assert (cluster.pod("p0").gpus, cluster.node("n0").gpu_free_milli) == ([1], [1000, 0])
    cluster.check()
