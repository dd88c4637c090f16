"""JSON to core: topology spread, as kube-scheduler 1.37 reads it."""

from typing import Any

import pytest

from nos import _core
from nos._core import PodSelector, Requirement, SpreadConstraint
from nos.kube import decode
from nos.kube.decode import DefaultSpread
from nos.kube.selectors import equal
from tests.kube.objects import pod

ONE_GPU = {"cpu": 500, "memory": 2**30, "nvidia.com/gpu": 1}
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
WEB = {"matchLabels": {"app": "web"}}
IS_WEB = PodSelector([Requirement("app", "In", ["web"])], namespaces=["ml"])


def constraint(**more: Any) -> dict[str, Any]:
    return {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": WEB} | more


def spread(*constraints: dict[str, Any], **metadata: Any) -> _core.PodSpec:
    return decode.waiting_spec(pod({"topologySpreadConstraints": list(constraints)}, **metadata))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, SpreadConstraint(ZONE, IS_WEB, max_skew=1, min_domains=1, required=True)),
        ({"whenUnsatisfiable": "ScheduleAnyway"}, SpreadConstraint(ZONE, IS_WEB, max_skew=1, required=False)),
        ({"maxSkew": 4, "minDomains": 3}, SpreadConstraint(ZONE, IS_WEB, max_skew=4, min_domains=3)),
        ({"nodeAffinityPolicy": "Honor"}, SpreadConstraint(ZONE, IS_WEB, max_skew=1)),
        ({"nodeAffinityPolicy": "Ignore"}, SpreadConstraint(ZONE, IS_WEB, max_skew=1, honor_affinity=False)),
        ({"nodeTaintsPolicy": "Ignore"}, SpreadConstraint(ZONE, IS_WEB, max_skew=1)),
        ({"nodeTaintsPolicy": "Honor"}, SpreadConstraint(ZONE, IS_WEB, max_skew=1, honor_taints=True)),
        ({"labelSelector": None}, SpreadConstraint(ZONE, PodSelector(None, namespaces=["ml"]), max_skew=1)),
        ({"labelSelector": {}}, SpreadConstraint(ZONE, PodSelector([], namespaces=["ml"]), max_skew=1)),
    ],
)
def test_a_constraint(more: dict[str, Any], expected: SpreadConstraint) -> None:
    assert spread(constraint(**more)) == _core.PodSpec(ONE_GPU, spread=[expected])
    assert spread(constraint(**more)) != _core.PodSpec(ONE_GPU, spread=[SpreadConstraint(HOST, IS_WEB, max_skew=9)])


def merged(*requirements: Requirement) -> _core.PodSpec:
    selector = PodSelector([Requirement("app", "In", ["web"]), *requirements], namespaces=["ml"])
    return _core.PodSpec(ONE_GPU, spread=[SpreadConstraint(ZONE, selector, max_skew=1)])


HASH = Requirement("pod-template-hash", "In", ["5f"])


@pytest.mark.parametrize("by_server", [False, True], ids=["merged here", "merged by the API server already"])
def test_label_keys_take_the_values_of_the_pod(by_server: bool) -> None:
    expressions = [{"key": "pod-template-hash", "operator": "In", "values": ["5f"]}] if by_server else []
    keyed = constraint(matchLabelKeys=["pod-template-hash"], labelSelector=WEB | {"matchExpressions": expressions})
    assert spread(keyed, labels={"app": "web", "pod-template-hash": "5f"}) == merged(HASH)


def test_a_key_that_the_pod_does_not_have_says_nothing() -> None:
    keyed = constraint(matchLabelKeys=["pod-template-hash", "nowhere"])
    assert spread(keyed, labels={"pod-template-hash": "5f"}) == merged(HASH)


def test_each_constraint_has_its_own_keys() -> None:
    decoded = spread(
        constraint(matchLabelKeys=["pod-template-hash"]),
        constraint(topologyKey=HOST, matchLabelKeys=["tier"]),
        labels={"pod-template-hash": "5f", "tier": "front"},
    )
    web, front = Requirement("app", "In", ["web"]), Requirement("tier", "In", ["front"])
    assert decoded == _core.PodSpec(
        ONE_GPU,
        spread=[
            SpreadConstraint(ZONE, PodSelector([web, HASH], namespaces=["ml"]), max_skew=1),
            SpreadConstraint(HOST, PodSelector([web, front], namespaces=["ml"]), max_skew=1),
        ],
    )


def test_keys_do_not_turn_nobody_into_somebody() -> None:
    nobody = constraint(labelSelector=None, matchLabelKeys=["pod-template-hash"])
    selector = PodSelector(None, namespaces=["ml"])
    assert spread(nobody, labels={"pod-template-hash": "5f"}) == _core.PodSpec(
        ONE_GPU, spread=[SpreadConstraint(ZONE, selector, max_skew=1)]
    )


def test_only_the_labels_that_keys_name_tell_specs_apart() -> None:
    keyed = constraint(matchLabelKeys=["pod-template-hash"])
    one = spread(keyed, labels={"pod-template-hash": "5f", "index": "1"})
    assert one is spread(keyed, labels={"pod-template-hash": "5f", "index": "2"})
    assert one != spread(keyed, labels={"pod-template-hash": "60"})
    assert one != spread(keyed, labels={"pod-template-hash": "5f"}, namespace="other")


DEFAULT = DefaultSpread("ml", tuple(equal({"app": "web"})))


def test_the_defaults_of_the_cluster() -> None:
    assert decode.waiting_spec(pod(), default=DEFAULT) == _core.PodSpec(
        ONE_GPU,
        spread=[
            SpreadConstraint(HOST, IS_WEB, max_skew=3, required=False),
            SpreadConstraint(ZONE, IS_WEB, max_skew=5, required=False),
        ],
        spread_by_default=True,
    )


def test_a_constraint_of_its_own_drives_the_defaults_out() -> None:
    own = pod({"topologySpreadConstraints": [constraint()]})
    assert decode.waiting_spec(own, default=DEFAULT) == merged()


def test_on_a_node_constraints_are_history() -> None:
    assert decode.bound_spec(pod({"topologySpreadConstraints": [constraint()]})) == _core.PodSpec(ONE_GPU)
