"""What the core knows of Pods near by equals what a slow judge finds, in crowds: many Pods, few places, few labels.

The state machine of test_near_by_properties.py is about what happens one after another; here is enough at once for
skews, companies and minDomains to decide. Random by seed, for Hypothesis draws too little of everything.
"""

from random import Random
from typing import Any

import pytest

from nos._core import Cluster, Scheduler
from tests.near_by_oracle import NearBy, Pod, core_labels, core_spec
from tests.oracle import Held, core_node

_PLACES = {"zone": "pqr", "rack": "1234", "host": "0123456"}
_NAMESPACES = ("one", "two", "three")
_CROWDS, _ASKED = 60, 10


@pytest.mark.parametrize("seed", range(10))
def test_the_judge_finds_the_same_nodes(seed: int) -> None:
    random = Random(seed)
    some = 0
    for _ in range(_CROWDS):
        cluster, judge = _crowd(random)
        scheduler = Scheduler(cluster)
        for _ in range(_ASKED):
            pod = _pod(random, asks=True)
            found = set(scheduler.feasible(core_spec(pod), core_labels(pod)))
            assert found == judge.feasible(pod), pod
            some += 0 < len(found) < len(judge.nodes)
    assert some > 0.5 * _CROWDS * _ASKED  # or it would not be worth asking


def _crowd(random: Random) -> tuple[Cluster, NearBy]:
    cluster, judge = Cluster(), NearBy()
    for number in range(random.choice((3, 5, 7))):
        node = _node(random, number)
        cluster.upsert_node(f"n{number}", core_node(node))
        judge.nodes[f"n{number}"] = node
    for name in _NAMESPACES[1:]:
        judge.namespaces[name] = {"team": random.choice("ab")}
        cluster.upsert_namespace(name, judge.namespaces[name])
    for number in range(random.choice((2, 6, 12))):
        pod, node = _pod(random, asks=False), random.choice(sorted(judge.nodes))
        coming = random.random() < 0.1 and not pod["terminating"]
        where = judge.nominated if coming else judge.pods
        where[f"u{number}"] = Held(pod, node)
        cluster.upsert_pod(
            f"u{number}",
            core_spec(pod),
            node=node,
            labels=core_labels(pod),
            terminating=pod["terminating"],
            nominated=coming,
        )
    cluster.check()
    return cluster, judge


def _node(random: Random, number: int) -> dict[str, Any]:
    labels = {key: random.choice(values) for key, values in _PLACES.items() if random.random() < 0.9}
    if "host" in labels:
        labels["host"] = str(number)
    return {
        "allocatable": {"cpu": 4000, "pods": random.choice((4, 20))},
        "labels": labels,
        "taints": [("gpu", "", random.choice(("NoSchedule", "NoExecute", "PreferNoSchedule")))]
        if random.random() < 0.25
        else [],
    }


def _pod(random: Random, *, asks: bool) -> Pod:
    """One that asks has one or two wishes; of one that is there only those to be apart bind others."""
    pod: Pod = {
        "requests": {"cpu": random.choice((0, 0, 500))},
        "namespace": "one" if random.random() < 0.75 else random.choice(_NAMESPACES),
        "labels": {key: random.choice("ab") for key in ("app", "tier") if random.random() < 0.8},
        "terminating": not asks and random.random() < 0.2,
        "tolerations": [("gpu", "Exists", "", "")] if random.random() < 0.6 else [],
        "selector": {"zone": random.choice("pq")} if random.random() < 0.25 else {},
    }
    wishes = ("near", "apart", "spread", "spread", "") if asks else ("apart", "near", "spread", *[""] * 9)
    for wish in {random.choice(wishes) for _ in range(random.choice((1, 1, 2)))}:
        if wish == "spread":
            pod["spread"] = [_constraint(random, key) for key in random.sample(list(_PLACES), random.choice((1, 1, 2)))]
        elif wish:
            pod[wish] = [_term(random) for _ in range(random.choice((1, 1, 1, 2)))]
    return pod


def _term(random: Random) -> tuple[str, dict[str, Any]]:
    selector: dict[str, Any] = {"labels": _labels(random), "namespaces": ["one"]}
    if random.random() < 0.3:
        selector["namespaces"] = random.sample(_NAMESPACES, random.choice((0, 1, 2)))
        requirement = random.choice(([], [("team", "In", ["a"])], [("team", "DoesNotExist", [])], None))
        selector["namespace_labels"] = requirement
    return random.choice(list(_PLACES)), selector


def _constraint(random: Random, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "selector": {"labels": _labels(random)},
        "max_skew": random.choice((1, 1, 2)),
        "min_domains": random.choice((1, 1, 1, 2, 4)),
        "required": random.random() < 0.9,
        "honor_affinity": random.random() < 0.6,
        "honor_taints": random.random() < 0.4,
    }


def _labels(random: Random) -> list[tuple[str, str, list[str]]] | None:
    return random.choice(
        (
            *[[("app", "In", ["a"])]] * 6,
            *[[("app", "Exists", [])]] * 4,
            [("app", "In", ["a"]), ("tier", "NotIn", ["b"])],
            [("tier", "DoesNotExist", [])],
            [],
            None,
        )
    )
