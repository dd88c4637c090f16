"""nos and kube-scheduler give the answers that are written down for what is easy to get wrong, on a real control plane.

- labels: Gt and Lt beside text, NotIn without the label, empty and void terms, matchFields with labels in one term;
- taints: each effect, tolerations by value, effect and for a while, cordoned nodes, what a RuntimeClass brings;
- host ports: 0.0.0.0, one address, IPv6, protocols, sidecars, the host's network;
- room: slots for Pods, overcommitted nodes, exact fits, fractions of a byte, extended resources that a node lacks,
  Pods that are done (not counted) or terminating (counted);
- requests: init containers, sidecars before and after a big one, overhead, pod-level resources, resizes under way;
- Pods near by: one Pod that matches all terms, terms with different keys, the first of a group, who is kept off by
  others, nodes without the key, namespaces by name, by labels, all and none, selectors that are absent or empty, keys
  that must match or must not, Pods that are going or done;
- spread: who counts itself, empty domains, minDomains, what node affinity and taints leave out, several constraints of
  which a node lacks one key, empty and absent selectors, keys that must match;
- nominated Pods: the room that is kept for them, who is more important, whom they keep off, who counts on them;
- volumes: bound and unbound claims, zones, what can be made where and how much of it, limits, who may use it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.case import Case, NotTaken
from tests.e2e.cases_labels_and_taints import LABELS_AND_TAINTS
from tests.e2e.cases_nominated import NOMINATED
from tests.e2e.cases_pods_near_by import PODS_NEAR_BY
from tests.e2e.cases_room import ROOM
from tests.e2e.cases_spread import SPREAD
from tests.e2e.cases_volume_limits import VOLUME_LIMITS
from tests.e2e.cases_volumes import VOLUMES
from tests.e2e.kube_verdicts import KubeScheduler, Verdicts
from tests.e2e.nos_verdicts import Nos, by_name
from tests.e2e.world import World

pytestmark = pytest.mark.cluster

CASES = [*LABELS_AND_TAINTS, *ROOM, *PODS_NEAR_BY, *SPREAD, *NOMINATED, *VOLUMES, *VOLUME_LIMITS]
_ANSWERED = [case for case in CASES if not isinstance(case.fits, NotTaken)]


@pytest.fixture(scope="module")
def cases(kube: KubeScheduler) -> Iterator[Verdicts]:
    """All of CASES in one world: a case has nodes of its own, and its Pod is judged on everybody's."""
    assert len({case.name for case in CASES}) == len(CASES)
    world = World(
        [node for case in CASES for node in case.nodes()],
        [resident for case in CASES for resident in case.residents()],
        storage=[thing for case in CASES for thing in case.stored()],
    )
    with kube.judging(world, [case.probe() for case in CASES]) as (verdicts, _):
        assert not [why for name, why in verdicts.refused.items() if name.startswith("resident-")]
        # Each is still where the case says, though some are being deleted.
        on = Counter(pod["spec"].get("nodeName") for pod in verdicts.pods)
        assert not Counter(resident.node for resident in world.residents if not resident.nominated) - on
        yield verdicts


@pytest.fixture(scope="module")
def nos(cases: Verdicts) -> Nos:
    return Nos(cases, cordon_is_a_flag=True)


@pytest.mark.parametrize("case", _ANSWERED, ids=lambda case: case.name)
def test_kube_scheduler_says_what_is_written(case: Case, cases: Verdicts) -> None:
    assert case.name not in cases.refused, cases.refused[case.name]
    assert {case.short(node) for node in cases.passed[case.name] if case.owns(node)} == case.fits


@pytest.mark.parametrize("case", _ANSWERED, ids=lambda case: case.name)
def test_nos_says_what_kube_scheduler_says(case: Case, cases: Verdicts, nos: Nos) -> None:
    passed = nos.passed(by_name(cases)[case.name])
    assert {case.short(node) for node in passed if case.owns(node)} == case.fits
    assert passed == cases.passed[case.name]


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.fits, NotTaken)], ids=lambda c: c.name)
def test_what_the_api_server_does_not_even_take(case: Case, cases: Verdicts) -> None:
    assert isinstance(case.fits, NotTaken)
    assert case.fits.because in cases.refused[case.name]
