"""How long it takes to plan new nodes, and what the plan is worth.

10,000 Pods wait on 1,000 full nodes, and 20 groups offer nodes: CPU alone, whole GPUs, GPUs that are cut. Then 1,000
Pods: the gap to what no plan can beat, and the price beside that of first-fit-decreasing with least waste, which is how
the Cluster Autoscaler plans (a re-implementation, see first_fit_least_waste.py). Answers are checked; no time is
asserted.

    pytest -s benchmarks/test_scale_up.py
"""

from __future__ import annotations

from random import Random
from statistics import median
from time import perf_counter

from pytest_benchmark.fixture import BenchmarkFixture

from first_fit_least_waste import Offer, Wish, price
from nos._core import Cluster, GpuSpec, NodeGroup, NodeSpec, PodSpec, ScaleUp, scale_up
from nos.mig import core_model, find

GPU, GIB = "nvidia.com/gpu", 1 << 30
PROFILES = ("1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")
_FACTS = find("a100-40gb")
assert _FACTS
MODEL = core_model(_FACTS)


def offers(rng: Random) -> list[Offer]:
    """20 groups. A core costs 4 cents an hour, a GPU 3 dollars, 15 % more or less."""
    found = []
    for number in range(20):
        kind = ("cpu", "whole", "mig", "mig")[number % 4]
        gpus = 0 if kind == "cpu" else (1, 2, 4, 8)[number // 4 % 4]
        cpu = (8, 16, 32, 64, 96)[number // 4] if kind == "cpu" else 12 * gpus + (0, 4)[number % 2]
        amounts = {"cpu": cpu * 1000, "memory": cpu * 8 * GIB, "pods": 110, GPU: gpus}
        node = NodeSpec(amounts, gpus=[GpuSpec(MODEL, ready=True)] * gpus if kind == "mig" else [])
        cost = cpu * 40_000 + gpus * 30_000 * rng.randrange(85, 116)
        found.append(Offer(cpu * 1000, cpu * 8 * GIB, node, cost))
    return found


def wishes(rng: Random, pods: int) -> dict[str, Wish]:
    """Pods of 30 classes, half of them for MIG instances."""
    classes = []
    for _ in range(30):
        kind = rng.choice(["cpu", "whole", "share", "mig", "mig", "mig"])
        requests = {"cpu": rng.choice([500, 1000, 2000, 4000, 6000]), "memory": rng.choice([1, 2, 4, 8, 16]) * GIB}
        if kind == "whole":
            requests[GPU] = rng.choice([1, 1, 2, 4])
        if kind == "mig":
            requests[f"nvidia.com/mig-{rng.choice(PROFILES)}"] = 1
        share = rng.choice([200, 250, 500]) if kind == "share" else 0
        classes.append(Wish(requests["cpu"], requests["memory"], PodSpec(requests, gpu_share_milli=share)))
    return {f"u{number}": rng.choice(classes) for number in range(pods)}


def waiting(asked: dict[str, Wish], full_nodes: int) -> Cluster:
    """They wait, and nodes that are there are full."""
    cluster = Cluster()
    for number in range(full_nodes):
        spec = NodeSpec(
            {"cpu": 64_000, "memory": 256 * GIB, "pods": 110, GPU: 4}, gpus=[GpuSpec(MODEL, ready=True)] * 4
        )
        cluster.upsert_node(f"n{number}", spec)
        cluster.upsert_pod(f"b{number}", PodSpec({"cpu": 64_000, GPU: 4}), node=f"n{number}")
    for number, (uid, wish) in enumerate(asked.items()):
        cluster.upsert_pod(uid, wish.spec, arrival=number)
    return cluster


def planned(cluster: Cluster, offered: list[Offer]) -> ScaleUp:
    groups = [NodeGroup(f"g{i}", one.node, price=one.price, room=10_000) for i, one in enumerate(offered)]
    return scale_up(cluster, groups)


def checked(cluster: Cluster, plan: ScaleUp) -> None:
    cluster.check()
    assert cluster.waiting_count == 0
    assert sum(len(node.pods) for node in plan.nodes) == cluster.pod_count - 1_000
    assert plan.bound <= plan.price <= plan.first_fit_price


def test_ten_thousand_pods(benchmark: BenchmarkFixture) -> None:
    """Another world each round, a hundred of them; in seconds."""
    times, gaps = [], []

    def once() -> None:
        rng = Random(len(times))
        cluster, offered = waiting(wishes(rng, 10_000), 1_000), offers(rng)
        start = perf_counter()
        plan = planned(cluster, offered)
        times.append(perf_counter() - start)
        checked(cluster, plan)
        gaps.append(100 * (plan.price / plan.bound - 1))

    benchmark.pedantic(once, rounds=100)
    slowest = sorted(times)[98]
    print(f"\nplanned in {median(times):.2f} s, p99 {slowest:.2f} s, longest {max(times):.2f} s", end="; ")
    print(f"gap to the bound {median(gaps):.2f} %, largest {max(gaps):.2f} %")
    benchmark.extra_info |= {"median_s": median(times), "p99_s": slowest, "largest_gap_percent": max(gaps)}


def test_a_thousand_pods_cost_hardly_more_than_they_must(benchmark: BenchmarkFixture) -> None:
    """200 worlds: the gap to the bound, and what others cost."""
    gaps, first_fit, least_waste = [], [], []

    def once() -> None:
        rng = Random(len(gaps))
        asked, offered = wishes(rng, 1_000), offers(rng)
        cluster = waiting(asked, 1_000)
        plan = planned(cluster, offered)
        checked(cluster, plan)
        others = price(asked, offered)
        assert plan.price <= others
        gaps.append(100 * (plan.price / plan.bound - 1))
        first_fit.append(100 * (plan.first_fit_price / plan.price - 1))
        least_waste.append(100 * (others / plan.price - 1))

    benchmark.pedantic(once, rounds=200)
    beyond = sum(gap > 2 for gap in gaps)
    print(
        f"\ngap to the bound {median(gaps):.2f} %, largest {max(gaps):.2f} %, above 2 % in {beyond} of 200 worlds",
        end="; ",
    )
    print(f"first fit costs {median(first_fit):.1f} % more, least waste {median(least_waste):.1f} %")
    benchmark.extra_info |= {"median_gap_percent": median(gaps), "largest_gap_percent": max(gaps), "above_2": beyond}
