"""What preferences may decide, and that they are counted from what is there now."""

from nos._core import Cluster, NodeSpec, PodSpec, Policy, Scheduler
from tests.build import app, arrive, cluster_of, node, pod, spread, zone


def test_gpu_comes_before_what_is_preferred():
    """300 milli go beside 500 on n0, though all that the Pod says speaks for n1; to n1 where both are empty."""
    cluster = cluster_of(node(gpus=1), node(gpus=1, labels={"zone": "a"}))
    cluster.upsert_pod("there", pod(share=500), node="n0")
    arrive(cluster, pod(share=300, preferred_affinity=[(100, *zone("a"))]))
    scheduler = Scheduler(cluster, Policy("best-fit"))
    with cluster.transaction():
        assert scheduler.place("p0").node == "n0"
    cluster.remove_pod("there")
    assert scheduler.place("p0").node == "n1"


def test_how_many_nodes_have_an_image_is_counted_once_for_each():
    """300 MiB on n0 against 400 on n1, each on one node of two, whatever else happens to n0."""
    cluster = Cluster()
    cluster.upsert_node("n1", NodeSpec({"cpu": 100, "pods": 9}, images={"i:2": 400 << 20}))
    arrive(cluster, PodSpec({"cpu": 1}, images=["i:1", "i:2"]))
    scheduler = Scheduler(cluster)
    for heartbeat in "abcde":
        cluster.upsert_node(
            "n0", NodeSpec({"cpu": 100, "pods": 9}, images={"i:1": 300 << 20}, labels={"at": heartbeat})
        )
        with cluster.transaction():
            assert scheduler.place("p0").node == "n1"


def test_default_constraints_count_nodes_that_lack_some_of_their_keys():
    """n2 has three Pods of the app in zone a and is no rack's: they weigh against n0."""
    labels = [{"zone": "a", "rack": "x", "open": "yes"}, {"zone": "b", "rack": "y", "open": "yes"}, {"zone": "a"}]
    cluster = cluster_of(*[node(labels=each) for each in labels])
    for number in range(3):
        cluster.upsert_pod(f"there{number}", pod(), node="n2", labels=app("web"))
    spread_out = [spread("web", key, required=False, honor_affinity=False) for key in ("zone", "rack")]
    wish = pod(spread=spread_out, spread_by_default=True, node_selector={"open": "yes"})
    arrive(cluster, wish, labels=app("web"))
    assert Scheduler(cluster).place("p0").node == "n1"
