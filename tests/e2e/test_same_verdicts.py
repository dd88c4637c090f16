"""nos and kube-scheduler find the same nodes feasible for the same Pod, on a real control plane.

Random nodes and Pods first, then what is easy to get wrong, with the answer written down:

- labels: Gt and Lt beside text, NotIn without the label, empty and void terms, matchFields with labels in one term;
- taints: each effect, tolerations by value, effect and for a while, cordoned nodes, what a RuntimeClass brings;
- host ports: 0.0.0.0, one address, IPv6, protocols, sidecars, the host's network;
- room: slots for Pods, overcommitted nodes, exact fits, fractions of a byte, extended resources that a node lacks,
  Pods that are done (not counted) or terminating (counted);
- requests: init containers, sidecars before and after a big one, overhead, pod-level resources, resizes under way.

NOS_SEED is the first seed, NOS_CASES the number of random Pods; on a mismatch both are printed with the objects.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import pytest
import yaml

from nos._core import PodSpec, Scheduler
from nos.controller.ledger import Ledger
from nos.kube.decode import waiting_spec
from nos.kube.node import decode_node
from nos.kube.pod import decode_pod
from nos.testbed import Testbed
from tests.e2e.case import Case, NotTaken
from tests.e2e.cases_labels_and_taints import LABELS_AND_TAINTS
from tests.e2e.cases_room import ROOM
from tests.e2e.kube_verdicts import SCHEDULER, KubeScheduler, Object, Verdicts, World
from tests.e2e.random_worlds import pinned, random_pod, random_world

pytestmark = pytest.mark.cluster

CASES = [*LABELS_AND_TAINTS, *ROOM]
SEED = int(os.environ.get("NOS_SEED", "1"))
_PODS_PER_WORLD = 110
_WORLDS = -(-int(os.environ.get("NOS_CASES", "220")) // _PODS_PER_WORLD)


@pytest.fixture(scope="module")
def kube(testbed: Testbed) -> Iterator[KubeScheduler]:
    with KubeScheduler(testbed) as running:
        yield running


class Nos:
    """What nos makes of the same objects: through the controller's ledger, into the core."""

    def __init__(self, nodes: Sequence[Object], pods: Sequence[Object]) -> None:
        ledger = Ledger(SCHEDULER)
        for node in nodes:
            ledger.nodes.changed(decode_node(json.dumps(_with_the_cordon_as_a_flag_alone(node))))
        for pod in pods:
            ledger.pods.changed(decode_pod(json.dumps(pod)))
        ledger.cluster.check()
        self._scheduler = Scheduler(ledger.cluster)

    def passed(self, pod: Object) -> set[str]:
        return set(self._scheduler.feasible(self.spec(pod)))

    def spec(self, pod: Object) -> PodSpec:
        return waiting_spec(decode_pod(json.dumps(pod)))


def _with_the_cordon_as_a_flag_alone(node: Object) -> Object:
    """The controller manager adds a taint to a cordoned node, a moment later; until then the flag must be enough."""
    taints = [t for t in node["spec"].get("taints", []) if t["key"] != "node.kubernetes.io/unschedulable"]
    return {**node, "spec": {**node["spec"], "taints": taints}}


def by_name(verdicts: Verdicts) -> dict[str, Object]:
    """The Pods that were asked about, as the API server has them."""
    return {pod["metadata"]["name"]: pod for pod in verdicts.pods if pod["metadata"]["name"] in verdicts.passed}


def differences(verdicts: Verdicts) -> str:
    """Empty, or what a person needs to know about each Pod on which the two disagree."""
    nos = Nos(verdicts.nodes, verdicts.pods)
    found = []
    for name, pod in by_name(verdicts).items():
        ours, theirs = nos.passed(pod), verdicts.passed[name]
        if ours != theirs:
            spec = {key: value for key, value in pod["spec"].items() if key in _TELLING}
            found.append(f"Pod {name}: only nos {sorted(ours - theirs)}, only kube-scheduler {sorted(theirs - ours)}")
            found.append(yaml.safe_dump(spec, sort_keys=False))
            found += [_about(node, verdicts) for node in sorted(ours ^ theirs)[:2]]
    return "\n".join(found)


_TELLING = (
    *("containers", "initContainers", "resources", "overhead", "hostNetwork"),
    *("nodeSelector", "affinity", "tolerations"),
)


def _about(name: str, verdicts: Verdicts) -> str:
    node = next(node for node in verdicts.nodes if node["metadata"]["name"] == name)
    shown = {
        "labels": node["metadata"].get("labels"),
        "spec": node["spec"],
        "allocatable": node["status"].get("allocatable"),
        "pods": [
            {"phase": pod["status"].get("phase"), "status": pod["status"].get("containerStatuses")}
            | {"conditions": pod["status"].get("conditions")}
            | {key: value for key, value in pod["spec"].items() if key in _TELLING}
            for pod in verdicts.pods
            if pod["spec"].get("nodeName") == name
        ],
    }
    return f"Node {name}:\n{yaml.safe_dump(shown, sort_keys=False)}"


@pytest.mark.parametrize("seed", range(SEED, SEED + _WORLDS))
def test_random_pods_in_a_random_world(kube: KubeScheduler, seed: int) -> None:
    random = Random(seed)
    world = random_world(random)
    probes = [random_pod(random, f"pod-{number}") for number in range(_PODS_PER_WORLD)]
    with kube.judging(world, probes) as (verdicts, bind):
        found = differences(verdicts)
        # Do real Bindings agree with what the extender heard? One Pod per node, so that none is in another's way.
        asked = by_name(verdicts)
        names = [name for name in asked if verdicts.passed[name]]
        copies, expected = [], {}
        for number, node in enumerate(sorted(node["metadata"]["name"] for node in verdicts.nodes)):
            inside = [name for name in names if node in verdicts.passed[name]]
            chosen = random.choice(inside if inside and number % 2 else list(asked))
            probe = next(probe for probe in probes if probe["metadata"]["name"] == chosen)
            copies.append(pinned(probe, f"copy-{number}", node))
            expected[f"copy-{number}"] = node in verdicts.passed[chosen]
        assert bind(copies) == expected, f"seed {seed}"
    assert not found, f"NOS_SEED={seed} NOS_CASES={_PODS_PER_WORLD}\n{found}"
    # That the worlds are worth asking about: most Pods are taken, and find some nodes but not all.
    assert len(verdicts.refused) < 0.25 * (len(probes) + len(world.residents)), verdicts.refused
    telling = [name for name, passed in verdicts.passed.items() if 0 < len(passed) < len(verdicts.nodes)]
    assert len(telling) > 0.3 * len(probes)


@pytest.fixture(scope="module")
def cases(kube: KubeScheduler) -> Iterator[Verdicts]:
    """All of CASES in one world: a case has nodes of its own, and its Pod is judged on everybody's."""
    nodes = [node for case in CASES for node in case.nodes()]
    residents = [resident for case in CASES for resident in case.residents()]
    with kube.judging(World(nodes, residents), [case.probe() for case in CASES]) as (verdicts, _):
        assert not [why for name, why in verdicts.refused.items() if name.startswith("resident-")]
        # Each is still where the case says, though some are being deleted.
        on = Counter(pod["spec"].get("nodeName") for pod in verdicts.pods)
        assert not Counter(resident.node for resident in residents) - on
        yield verdicts


@pytest.mark.parametrize("case", [case for case in CASES if not isinstance(case.fits, NotTaken)], ids=lambda c: c.name)
def test_what_is_easy_to_get_wrong(case: Case, cases: Verdicts) -> None:
    name = case.probe()["metadata"]["name"]
    assert name not in cases.refused, cases.refused[name]
    nos = Nos(cases.nodes, cases.pods).passed(by_name(cases)[name])
    assert {case.short(node) for node in cases.passed[name] if case.owns(node)} == case.fits, "kube-scheduler"
    assert {case.short(node) for node in nos if case.owns(node)} == case.fits, "nos"
    assert nos == cases.passed[name]


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.fits, NotTaken)], ids=lambda c: c.name)
def test_what_the_api_server_does_not_even_take(case: Case, cases: Verdicts) -> None:
    assert isinstance(case.fits, NotTaken)
    assert case.fits.because in cases.refused[case.probe()["metadata"]["name"]]
