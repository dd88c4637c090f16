"""No plan places more, or as much for less: against OR-tools, on every kind of small world."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from nos._core import Cluster, GpuSpec, NodeGroup, NodeSpec, PodSpec, scale_up
from tests.cut_gpus import MODELS
from tests.scale_up_oracle import Ask, Offer, World, optimum

GPU = "nvidia.com/gpu"
CASES = int(os.environ.get("NOS_CASES", "60"))
PROFILES = {"a100-40gb": ["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"], "a30-24gb": ["1g.6gb", "2g.12gb"]}


def spec(ask: Ask) -> PodSpec:
    requests = {"cpu": ask.cpu, "memory": ask.memory, GPU: ask.gpus}
    requests |= {f"nvidia.com/mig-{profile}": count for profile, count in ask.mig}
    return PodSpec(requests, gpu_share_milli=ask.share)


def group(name: str, offer: Offer) -> NodeGroup:
    room = {"cpu": offer.cpu, "memory": offer.memory, "pods": offer.pods, GPU: offer.gpus}
    gpus = [GpuSpec(MODELS[offer.model].core, ready=True)] * offer.gpus if offer.model else []
    uses = {"limit": offer.uses} if offer.uses else {}
    return NodeGroup(name, NodeSpec(room, gpus=gpus), price=offer.price, room=offer.room, uses=uses)


def world(rng: random.Random, pods: int) -> World:
    """Up to so many Pods of a few classes; some of them in gangs, some groups short of room."""
    model = rng.choice(["a100-40gb", "a100-40gb", "a30-24gb"])
    offers = []
    for _ in range(rng.randint(1, 4)):
        gpus = rng.choice([0, 1, 2, 4])
        offers.append(
            Offer(
                cpu=rng.choice([4, 8, 16, 31]) * 1000,
                memory=rng.choice([16, 64, 128]),
                pods=rng.choice([5, 10, 30]),
                gpus=gpus,
                model=rng.choice([None, model, model]) if gpus else None,
                price=rng.choice([0, 1, 7, 10, 13, 29]) * rng.choice([1, gpus + 1]),
                room=rng.choice([0, 1, 2, 3, 50, 50, 50]),
                uses=rng.choice([0, 0, 1, 2]),
            )
        )
    gangs = {name: rng.randint(2, 5) for name in rng.choice(["", "", "g", "gh"])}
    classes = []
    for _ in range(rng.randint(1, 6)):
        what = rng.choice(["cpu", "whole", "share", "mig", "mig", "mixed"])
        mig = ((rng.choice(PROFILES[model]), rng.choice([1, 1, 1, 2])),) if what in ("mig", "mixed") else ()
        classes.append(
            Ask(
                cpu=rng.choice([0, 500, 1000, 3000]),
                memory=rng.choice([0, 1, 8, 20]),
                gpus=rng.choice([1, 1, 2]) if what == "whole" else rng.choice([0, 1]) if what == "mixed" else 0,
                share=rng.choice([150, 250, 400, 510]) if what == "share" else 0,
                mig=mig,
            )
        )
    asks = []
    levels = rng.choice([[0], [0], [0, 5], [0, 5, 9]])
    for name, least in gangs.items():
        one = rng.choice(classes)
        members = [rng.choice(classes)] * least if rng.random() < 0.5 else [rng.choice(classes) for _ in range(least)]
        if rng.random() < 0.3:
            members = [one] * (least + 2)
        priority = rng.choice(levels)
        asks += [Ask(*member.needs, priority=priority, gang=name) for member in members]
    while len(asks) < pods:
        asks.append(Ask(*rng.choice(classes).needs, priority=rng.choice(levels)))
    return World(asks, offers, gangs, limit=rng.choice([2, 4, 1000]))


def solve(case: World) -> tuple[tuple[int, ...], int, bool, int, int]:
    cluster = Cluster()
    for gang, least in case.gangs.items():
        cluster.upsert_gang(gang, min_members=least)
    for i, ask in enumerate(case.asks):
        cluster.upsert_pod(f"u{i}", spec(ask), priority=ask.priority, arrival=i, gang=ask.gang)
    groups = [group(f"g{i}", offer) for i, offer in enumerate(case.offers)]
    before = cluster.copy()
    plan = scale_up(cluster, groups, limits={"limit": case.limit})
    cluster.check()
    counts = Counter(one.group for one in plan.nodes)
    assert all(counts[f"g{i}"] <= offer.room for i, offer in enumerate(case.offers))
    assert sum(offer.uses * counts[f"g{i}"] for i, offer in enumerate(case.offers)) <= case.limit
    for node in cluster.nodes():
        assert all(node.requested[name] <= node.allocatable[name] for name in ("cpu", "memory", "pods"))
    for gang, least in case.gangs.items():
        assert cluster.gang(gang).placed in {0, *range(least, len(case.asks) + 1)}
    left = Counter(dict.fromkeys({ask.priority for ask in case.asks}, 0))
    for i, ask in enumerate(case.asks):
        left[ask.priority] += cluster.pod(f"u{i}").phase == "waiting"
    again = scale_up(before, groups, limits={"limit": case.limit})
    assert [(one.name, one.pods, one.cuts) for one in again.nodes] == [
        (one.name, one.pods, one.cuts) for one in plan.nodes
    ]
    return (
        tuple(left[priority] for priority in sorted(left, reverse=True)),
        plan.price,
        plan.exact,
        plan.bound,
        plan.first_fit_price,
    )


@pytest.mark.parametrize("seed", range(CASES))
def test_no_plan_of_up_to_fifty_pods_is_better(seed: int) -> None:
    rng = random.Random(seed)
    case = world(rng, rng.choice([3, 8, 15, 30, 50]))
    left, price, exact, bound, _ = solve(case)
    assert (left, price) == optimum(case)
    assert exact
    assert bound == price
