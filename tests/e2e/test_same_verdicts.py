"""nos and kube-scheduler find the same nodes feasible for the same random Pods, on a real control plane.

NOS_SEED is the first seed, NOS_CASES the number of Pods (and of most of them once more without something). Where
the two differ both numbers are printed with the objects. Then the world is cut down to what it takes, and kept in
tests/e2e/fixtures, for test_fixtures.py to judge again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from random import Random

import pytest

from tests.e2e.drawn import PODS, drawn
from tests.e2e.fixtures import FIXTURES, cut_down, write
from tests.e2e.kube_verdicts import KubeScheduler, Verdicts
from tests.e2e.mismatch import described, mismatches
from tests.e2e.nos_verdicts import Nos, by_name
from tests.e2e.random_worlds import pinned
from tests.e2e.told import Told
from tests.e2e.world import Object

pytestmark = pytest.mark.cluster

SEED = int(os.environ.get("NOS_SEED", "1"))
CASES = int(os.environ.get("NOS_CASES", "500"))
_SECONDS_TO_CUT_DOWN = 90.0


def test_random_pods_in_random_worlds(kube: KubeScheduler) -> None:
    told = Told()
    for seed in range(SEED, SEED - (-CASES // PODS)):
        asked = drawn(seed)
        print(f"NOS_SEED={seed} NOS_CASES={PODS}: {len(asked.world.nodes)} nodes, {len(asked.probes)} Pods", flush=True)
        with kube.judging(asked.world, asked.probes) as (verdicts, bind):
            nos = Nos(verdicts)
            told.note(verdicts, asked, nos)
            found = mismatches(verdicts, nos)
            if not found:
                bindings_agree(Random(seed), verdicts, asked.probes, bind)
        if found:  # still? On a busy machine kube-scheduler may have been asked a moment too early
            again = [probe for probe in asked.probes if probe["metadata"]["name"] in found]
            with kube.judging(asked.world, again) as (verdicts, _):
                found = mismatches(verdicts, Nos(verdicts))
        if found:
            name = next(iter(found))
            report = described(verdicts, name, *found[name])
            probe = next(probe for probe in asked.probes if probe["metadata"]["name"] == name)
            fixture = FIXTURES / f"seed-{seed}-{name}.yaml"
            write(fixture, *cut_down(kube, Nos, asked.world, probe, _SECONDS_TO_CUT_DOWN))
            pytest.fail(
                f"NOS_SEED={seed} NOS_CASES={PODS}: {len(found)} Pods differ: {', '.join(found)}\n"
                f"{report}\n{fixture}:\n{fixture.read_text()}"
            )
    print(told)
    if CASES >= 500:
        told.is_worth_it()


def bindings_agree(
    random: Random, verdicts: Verdicts, probes: Sequence[Object], bind: Callable[[list[Object]], dict[str, bool]]
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
