"""A mismatch is cut down to what it takes."""

from __future__ import annotations

import math
from random import Random

import pytest

from tests.e2e.fixtures import cut_down
from tests.e2e.kube_verdicts import KubeScheduler, Verdicts
from tests.e2e.mismatch import mismatches
from tests.e2e.neighbours import near
from tests.e2e.nos_verdicts import Nos
from tests.e2e.random_crowds import random_crowd
from tests.e2e.shrink import shrunk
from tests.e2e.world import NODE_PREFIX, Object, World, namespace_of


class Liar(Nos):
    """Has never heard that a Pod which is being deleted still counts."""

    def __init__(self, verdicts: Verdicts) -> None:
        staying = [pod for pod in verdicts.pods if "deletionTimestamp" not in pod["metadata"]]
        super().__init__(Verdicts(**{**vars(verdicts), "pods": staying}))


def in_zone_a_with_app_a(world: World, probes: list[Object]) -> set[str]:
    """A difference that takes a node, what is on it, and two parts of the Pod."""
    in_a = {node["metadata"]["name"] for node in world.nodes if node["metadata"].get("labels", {}).get("zone") == "a"}
    there = any(
        resident.node in in_a and resident.pod.get("metadata", {}).get("labels", {}).get("app") == "a"
        for resident in world.residents
    )
    return {
        probe["metadata"]["name"]
        for probe in probes
        if there and "podAntiAffinity" in probe["spec"].get("affinity", {}) and "labels" in probe["metadata"]
    }


def test_nothing_is_left_that_is_not_needed() -> None:
    affinity: Object = {"podAntiAffinity": {"required": []}, "podAffinity": {}}
    probe = {
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "affinity": affinity, "tolerations": [{}]},
    }
    worlds = (random_crowd(Random(seed))[0] for seed in range(100))
    world = next(world for world in worlds if in_zone_a_with_app_a(world, [probe]))
    small, pod = shrunk(world, probe, in_zone_a_with_app_a, math.inf)
    assert in_zone_a_with_app_a(small, [pod])
    (node,), (resident,) = small.nodes, small.residents
    assert (node["metadata"]["labels"], resident.pod["metadata"]["labels"]) == ({"zone": "a"}, {"app": "a"})
    assert node["spec"] == {}
    assert not small.storage
    assert pod["spec"] == {"containers": [{"name": "c"}], "affinity": {"podAntiAffinity": {}}}


@pytest.mark.cluster
def test_a_lie_is_cut_down(kube: KubeScheduler) -> None:
    """In the whole world it takes one resident that is being deleted, and its node; some of that way is gone soon."""
    crowd, _ = random_crowd(Random(5))
    world = World(crowd.nodes[:6], [resident for resident in crowd.residents if resident.node < f"{NODE_PREFIX}n6"])
    leaving = next(resident for resident in world.residents if resident.terminating and not resident.phase)
    app = leaving.pod["metadata"]["labels"].setdefault("app", "a")
    terms = [near("kubernetes.io/hostname", {"matchLabels": {"app": app}}, namespaces=[namespace_of(leaving.pod)])]
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "0"}}}
    spec = {"containers": [container], "affinity": affinity, "tolerations": [{"operator": "Exists"}]}
    small, probe = cut_down(kube, Liar, world, {"metadata": {"name": "p"}, "spec": spec}, 12.0)
    with kube.judging(small, [probe]) as (verdicts, _):
        assert mismatches(verdicts, Liar(verdicts))
        assert not mismatches(verdicts, Nos(verdicts))
    assert len(small.nodes) + len(small.residents) < (len(world.nodes) + len(world.residents)) / 2
