"""Which volume a claim gets on which node, against a plain loop over all volumes."""

from __future__ import annotations

import random

import pytest

from nos._core import Cluster, NodeSpec, PodSpec, Requirement, Scheduler, SelectorTerm, VolumeClaim

Needs = list[dict[str, list[str]]] | None  # an OR of terms, each the values that labels may have; None: every node
Offers = list[tuple[str, Needs]]
ROOM = {"cpu": 1000, "memory": 2**30, "pods": 50}


def claim(offers: Offers) -> VolumeClaim:
    return VolumeClaim([(name, None if needs is None else list(map(term, needs))) for name, needs in offers])


def term(needs: dict[str, list[str]]) -> SelectorTerm:
    return SelectorTerm([Requirement(key, "In", values) for key, values in needs.items()])


def usable(needs: Needs, labels: dict[str, str]) -> bool:
    return needs is None or any(
        bool(term) and all(labels.get(key) in values for key, values in term.items()) for term in needs
    )


def choice(claims: list[Offers], labels: dict[str, str], taken: set[str]) -> list[str] | None:
    """The first volume of each claim that is usable and free; None where there is none."""
    chosen: list[str] = []
    for offers in claims:
        free = [n for n, needs in offers if usable(needs, labels) and n not in taken and n not in chosen]
        if not free:
            return None
        chosen.append(free[0])
    return chosen


def some_needs(rng: random.Random) -> Needs:
    if rng.random() < 0.15:
        return None
    keys = rng.choice([["host"], ["zone"], ["host", "zone"], ["rack"]])
    terms = rng.choice([1, 1, 1, 2, 0])
    return [{key: rng.sample("abcd", rng.choice([1, 1, 2])) for key in keys} for _ in range(terms)]


@pytest.mark.parametrize("seed", range(60))
def test_each_claim_gets_the_first_volume_that_will_do(seed: int) -> None:
    rng = random.Random(seed)
    cluster = Cluster()
    nodes = {}
    for number in range(12):
        nodes[f"n{number}"] = {key: rng.choice("abcd") for key in ("host", "zone", "rack") if rng.random() < 0.8}
        cluster.upsert_node(f"n{number}", NodeSpec(ROOM, labels=nodes[f"n{number}"]))
    scheduler = Scheduler(cluster)
    offers: Offers = [(f"v{number}", some_needs(rng)) for number in range(rng.choice([3, 10, 30]))]
    taken: set[str] = set()
    for number in range(8):
        claims = [rng.sample(offers, rng.randrange(len(offers) + 1)) for _ in range(rng.choice([1, 1, 2, 3]))]
        spec = PodSpec({"cpu": 1}, claims=[claim(each) for each in claims])
        choices = {name: choice(claims, labels, taken) for name, labels in nodes.items()}
        assert scheduler.feasible(spec) == [name for name, chosen in choices.items() if chosen is not None]
        cluster.upsert_pod(f"p{number}", spec)
        (bind,) = scheduler.schedule().binds or [None]
        assert (bind is None) == all(chosen is None for chosen in choices.values())
        if bind:
            assert bind.volumes == choices[bind.node]
            taken.update(bind.volumes)
        else:
            cluster.remove_pod(f"p{number}")
        cluster.check()
        if rng.random() < 0.3 and taken:  # one of them goes, and its volumes are free again
            gone = next((f"p{n}" for n in range(number + 1) if f"p{n}" in cluster), None)
            if gone:
                taken.difference_update(cluster.pod(gone).volumes)
                cluster.remove_pod(gone)
