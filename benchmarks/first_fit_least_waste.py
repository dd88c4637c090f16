"""First-fit-decreasing and least waste, as the Cluster Autoscaler plans: a re-implementation of ours.

Per round each group alone gets all Pods that wait, sorted by cpu and memory, first fit on as many nodes as they need;
of these options that one is bought which leaves the smallest part of cpu and memory unused. Price and GPUs are no
inputs. MIG instances are numbers there; here its nodes may be cut as geometry allows, which does it a favour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nos._core import Cluster, NodeSpec, PodSpec, Policy, Scheduler


@dataclass(frozen=True)
class Offer:
    """A group: what its nodes offer, and what one costs."""

    cpu: int
    memory: int
    node: NodeSpec
    price: int


@dataclass(frozen=True)
class Wish:
    """A Pod: what it asks for."""

    cpu: int
    memory: int
    spec: PodSpec


def price(wishes: Mapping[str, Wish], offers: Sequence[Offer]) -> int:
    """What the plan costs that lets all of them run that fit anywhere."""
    left = dict(wishes)
    spent = 0
    while left:
        options = [(offer, *_fill(left, offer)) for offer in offers]
        useful = [
            (_waste(left, offer, nodes, placed), offer, nodes, placed) for offer, nodes, placed in options if placed
        ]
        if not useful:
            break
        _, offer, nodes, placed = min(useful, key=lambda option: option[0])
        spent += offer.price * nodes
        for uid in placed:
            del left[uid]
    return spent


def _waste(wishes: Mapping[str, Wish], offer: Offer, nodes: int, placed: Sequence[str]) -> float:
    cpu = sum(wishes[uid].cpu for uid in placed) / (offer.cpu * nodes)
    memory = sum(wishes[uid].memory for uid in placed) / (offer.memory * nodes)
    return 2 - cpu - memory


def _fill(wishes: Mapping[str, Wish], offer: Offer) -> tuple[int, list[str]]:
    """How many nodes of one group take whom."""
    cluster = Cluster()
    scheduler = Scheduler(cluster, Policy("first-fit"))
    placed: list[str] = []
    in_vain: set[PodSpec] = set()
    order = sorted(wishes, key=lambda uid: -(wishes[uid].cpu / offer.cpu + wishes[uid].memory / offer.memory))
    for uid in order:
        spec = wishes[uid].spec
        if spec in in_vain:
            continue
        cluster.upsert_pod(uid, spec)
        if not scheduler.place(uid):
            name = f"n{cluster.node_count}"
            cluster.upsert_node(name, offer.node)
            if not scheduler.place(uid):
                cluster.remove_node(name)
                cluster.remove_pod(uid)
                in_vain.add(spec)
                continue
        placed.append(uid)
    return cluster.node_count, placed
