"""Among nodes that cost the same GPU a Pod gets the one that kube-scheduler's preference scores favour.

The scores are counted here once more, plainly, from kube-scheduler's documentation and source (version 1.37): each from
0 to 100 over the nodes where the Pod fits, times the default weight of its plugin.
"""

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nos._core import (
    Cluster,
    NodeSpec,
    PodLabels,
    PodSelector,
    PodSpec,
    PodTerm,
    Requirement,
    Scheduler,
    SelectorTerm,
    SpreadConstraint,
    Taint,
    Toleration,
)

MIB = 1 << 20
TAINTS, AFFINITY, SPREAD, PODS, IMAGES = 3, 2, 2, 2, 1  # the weights
HOSTNAME = "kubernetes.io/hostname"
KEYS = ("zone", "rack", HOSTNAME)
APPS = ("web", "db")

nodes = st.fixed_dictionaries(
    {
        "labels": st.dictionaries(st.sampled_from(["zone", "rack"]), st.sampled_from(["a", "b"]), max_size=2),
        "taints": st.sets(st.sampled_from(["x", "y"]), max_size=2),
        "images": st.dictionaries(
            st.sampled_from(["i:1", "i:2"]), st.sampled_from([1, 30, 300, 3000]).map(lambda mib: mib * MIB), max_size=2
        ),
    }
)
liked = st.tuples(st.sampled_from([-50, -3, 2, 40, 100]), st.sampled_from(KEYS), st.sampled_from(APPS))
residents = st.fixed_dictionaries(
    {
        "app": st.sampled_from(APPS),
        "node": st.integers(0, 3),
        "liked": st.lists(liked, max_size=1),
        "near": st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(APPS)), max_size=1),
    }
)
spreads = st.tuples(st.sampled_from(KEYS), st.sampled_from(APPS), st.sampled_from([1, 3]))
wishes = st.fixed_dictionaries(
    {
        "app": st.sampled_from(APPS),
        "tolerates": st.sampled_from([None, "x"]),
        "drawn": st.lists(st.tuples(st.sampled_from([1, 7, 50]), st.sampled_from(["a", "b"])), max_size=2),
        "liked": st.lists(liked, max_size=2),
        "spread": st.lists(spreads, max_size=2, unique_by=lambda spread: spread[0]),
        "by_default": st.booleans(),
        "images": st.lists(st.sampled_from(["i:1", "i:2"]), max_size=2),
    }
)


def selector(app: str) -> PodSelector:
    return PodSelector([Requirement("app", "In", [app])], namespaces=["n"])


def spec(pod: dict[str, Any]) -> PodSpec:
    return PodSpec(
        {"cpu": 1},
        tolerations=[Toleration(pod["tolerates"], "Exists")] if pod.get("tolerates") else [],
        preferred_affinity=[
            (weight, SelectorTerm([Requirement("zone", "In", [zone])])) for weight, zone in pod.get("drawn", [])
        ],
        pod_affinity=[PodTerm(key, selector(app)) for key, app in pod.get("near", [])],
        preferred_pod_affinity=[(weight, PodTerm(key, selector(app))) for weight, key, app in pod.get("liked", [])],
        spread=[
            SpreadConstraint(key, selector(app), max_skew=skew, required=False)
            for key, app, skew in pod.get("spread", [])
        ],
        spread_by_default=pod.get("by_default", False),
        images=pod.get("images", []),
    )


def labels_of(number: int, node: dict[str, Any]) -> dict[str, str]:
    return {**node["labels"], HOSTNAME: f"n{number}"}


@given(st.lists(nodes, min_size=2, max_size=4), st.lists(residents, max_size=6), wishes)
@settings(max_examples=600)
def test_the_preferred_node_of_equals(nodes, residents, wish):
    cluster = Cluster()
    for number, node in enumerate(nodes):
        cluster.upsert_node(
            f"n{number}",
            NodeSpec(
                {"cpu": 100, "pods": 100},
                labels=labels_of(number, node),
                taints=[Taint(key, "", "PreferNoSchedule") for key in sorted(node["taints"])],
                images=node["images"],
            ),
        )
    there = [resident for resident in residents if resident["node"] < len(nodes)]
    for number, resident in enumerate(there):
        labels = PodLabels("n", {"app": resident["app"]})
        cluster.upsert_pod(f"r{number}", spec(resident), labels=labels, node=f"n{resident['node']}")
    cluster.upsert_pod("u", spec(wish), labels=PodLabels("n", {"app": wish["app"]}))
    totals = scores([{**node, "labels": labels_of(number, node)} for number, node in enumerate(nodes)], there, wish)
    bind = Scheduler(cluster).place("u")
    assert bind
    assert bind.node == f"n{totals.index(max(totals))}", totals


def scores(nodes: Sequence[dict[str, Any]], there: Sequence[dict[str, Any]], wish: dict[str, Any]) -> list[int]:
    parts = [
        (TAINTS, of_taints(nodes, wish)),
        (AFFINITY, of_affinity(nodes, wish)),
        (PODS, of_pods(nodes, there, wish)),
        (SPREAD, of_spread(nodes, there, wish)),
        (IMAGES, of_images(nodes, wish)),
    ]
    return [sum(weight * part[number] for weight, part in parts) for number in range(len(nodes))]


def of_taints(nodes: Sequence[dict[str, Any]], wish: dict[str, Any]) -> list[int]:
    raw = [len(node["taints"] - {wish["tolerates"]}) for node in nodes]
    return [100 - (100 * count // max(raw) if max(raw) else 0) for count in raw]


def of_affinity(nodes: Sequence[dict[str, Any]], wish: dict[str, Any]) -> list[int]:
    raw = [sum(weight for weight, zone in wish["drawn"] if node["labels"].get("zone") == zone) for node in nodes]
    return [100 * sum_ // max(raw) if max(raw) else 0 for sum_ in raw]


def of_pods(nodes: Sequence[dict[str, Any]], there: Sequence[dict[str, Any]], wish: dict[str, Any]) -> list[int]:
    """What the Pod likes of those that are there, and they of it; a required affinity of theirs weighs 1."""
    pairs = [
        (key, nodes[pod["node"]]["labels"].get(key), weight)
        for pod in there
        for key, weight in [
            *((key, weight) for weight, key, app in wish["liked"] if app == pod["app"]),
            *((key, weight) for weight, key, app in pod["liked"] if app == wish["app"]),
            *((key, 1) for key, app in pod["near"] if app == wish["app"]),
        ]
    ]
    raw = [
        sum(weight for key, place, weight in pairs if place is not None and node["labels"].get(key) == place)
        for node in nodes
    ]
    least, most = min(raw), max(raw)
    return [100 * (sum_ - least) // (most - least) if most > least else 0 for sum_ in raw]


def of_spread(nodes: Sequence[dict[str, Any]], there: Sequence[dict[str, Any]], wish: dict[str, Any]) -> list[int]:
    if not wish["spread"]:
        return [0] * len(nodes)
    keys = [key for key, _, _ in wish["spread"]]
    scored = [wish["by_default"] or all(key in node["labels"] for key in keys) for node in nodes]
    raw = [0.0] * len(nodes)
    for key, app, skew in wish["spread"]:
        places = {
            node["labels"][key] for node, counts in zip(nodes, scored, strict=True) if counts and key in node["labels"]
        }
        weight = math.log((sum(scored) if key == HOSTNAME else len(places)) + 2)
        for number, node in enumerate(nodes):
            if scored[number] and key in node["labels"]:
                pods = sum(
                    pod["app"] == app
                    and scored[pod["node"]]
                    and nodes[pod["node"]]["labels"].get(key) == node["labels"][key]
                    for pod in there
                )
                raw[number] += pods * weight + skew - 1
    assume(all(abs(sum_ % 1 - 0.5) > 0.02 for sum_ in raw))  # there the core's fixed point may round the other way
    whole = [math.floor(sum_ + 0.5) for sum_ in raw]
    known = [sum_ for sum_, counts in zip(whole, scored, strict=True) if counts]
    if not known:
        return [0] * len(nodes)
    least, most = min(known), max(known)
    return [
        0 if not counts else 100 if most == 0 else 100 * (most + least - sum_) // most
        for sum_, counts in zip(whole, scored, strict=True)
    ]


def of_images(nodes: Sequence[dict[str, Any]], wish: dict[str, Any]) -> list[int]:
    """An image counts by its size and by how many nodes have it."""
    if not wish["images"]:
        return [0] * len(nodes)
    most = 1000 * MIB * len(wish["images"])
    result = []
    for node in nodes:
        sum_ = 0
        for image in wish["images"]:
            holders = sum(image in other["images"] for other in nodes)
            sum_ += node["images"].get(image, 0) * holders // len(nodes)
        result.append(100 * (min(max(sum_, 23 * MIB), most) - 23 * MIB) // (most - 23 * MIB))
    return result
