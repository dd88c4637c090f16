"""nos and kube-scheduler find the same nodes feasible for the same random Pods, on a real control plane.

NOS_SEED is the first seed, NOS_CASES the number of Pods; where the two differ both are printed with the objects. Then
the world is cut down to what it takes, and kept in tests/e2e/fixtures, for test_fixtures.py to judge again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest

from tests.e2e.fixtures import FIXTURES, cut_down, write
from tests.e2e.kube_verdicts import KubeScheduler, Verdicts
from tests.e2e.mismatch import described, mismatches
from tests.e2e.nos_verdicts import Nos, by_name
from tests.e2e.random_crowds import random_crowd, random_neighbour
from tests.e2e.random_worlds import pinned, random_pod, random_world
from tests.e2e.told import Told
from tests.e2e.world import Object, World

pytestmark = pytest.mark.cluster

SEED = int(os.environ.get("NOS_SEED", "1"))
CASES = int(os.environ.get("NOS_CASES", "500"))
_PODS_PER_WORLD = 100
_SECONDS_TO_CUT_DOWN = 90.0
_ROUGH = "rough"  # the focus of Pods that ask for a mix of all that a node alone decides
# A claim that cannot be bound yet keeps its Pod waiting wherever it is.
_LEAST_TELLING = {"stuck": 0.0, "mix": 0.2, _ROUGH: 0.3, "alone": 0.2}


def test_random_pods_in_random_worlds(kube: KubeScheduler) -> None:
    told = Told()
    for seed in range(SEED, SEED - (-CASES // _PODS_PER_WORLD)):
        world, probes, focus_of = drawn(seed)
        with kube.judging(world, probes) as (verdicts, bind):
            nos = Nos(verdicts)
            told.note(verdicts, focus_of, nos, len(world.residents))
            found = mismatches(verdicts, nos)
            if not found:
                bindings_agree(Random(seed), verdicts, probes, bind)
        if found:
            name = next(iter(found))
            report = described(verdicts, name, *found[name])
            probe = next(probe for probe in probes if probe["metadata"]["name"] == name)
            fixture = FIXTURES / f"seed-{seed}-{name}.yaml"
            write(fixture, *cut_down(kube, Nos, world, probe, _SECONDS_TO_CUT_DOWN))
            pytest.fail(
                f"NOS_SEED={seed} NOS_CASES={_PODS_PER_WORLD}: {len(found)} Pods differ: {', '.join(found)}\n"
                f"{report}\n{fixture}:\n{fixture.read_text()}"
            )
    print(told)
    told.is_worth_it(_LEAST_TELLING)


def drawn(seed: int) -> tuple[World, list[Object], dict[str, str]]:
    """A world, the Pods to ask about in it, and the focus of each."""
    random = Random(seed)
    names = [f"pod-{number}" for number in range(_PODS_PER_WORLD)]
    if seed % 5 == 0:
        world = random_world(random)
        return world, [random_pod(random, name) for name in names], dict.fromkeys(names, _ROUGH)
    world, storage = random_crowd(random)
    asked = [random_neighbour(random, name, storage) for name in names]
    return world, [pod for pod, _ in asked], {pod["metadata"]["name"]: focus for pod, focus in asked}


def bindings_agree(
    random: Random, verdicts: Verdicts, probes: list[Object], bind: Callable[[list[Object]], dict[str, bool]]
) -> None:
    """Do real Bindings agree with what the extender heard? One Pod per node, and none that looks at other Pods or needs
    volumes, so that none is in another's way."""
    by_themselves = {
        probe["metadata"]["name"]: probe
        for probe in probes
        if probe["metadata"]["name"] in by_name(verdicts)
        and not {"podAffinity", "podAntiAffinity"} & probe["spec"].get("affinity", {}).keys()
        and not {"topologySpreadConstraints", "volumes"} & probe["spec"].keys()
    }
    copies, expected = [], {}
    for number, node in enumerate(sorted(node["metadata"]["name"] for node in verdicts.nodes)):
        inside = [name for name in by_themselves if node in verdicts.passed[name]]
        chosen = random.choice(inside if inside and number % 2 else sorted(by_themselves))
        copies.append(pinned(by_themselves[chosen], f"copy-{number}", node))
        expected[f"copy-{number}"] = node in verdicts.passed[chosen]
    assert bind(copies) == expected
