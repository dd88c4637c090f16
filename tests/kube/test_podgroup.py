"""What Pods and PodGroups say of a group, and what it comes to."""

import json

import pytest

from nos.kube.podgroup import Says, Terms, agreed, decode_pod_group, membership
from nos.kube.unsupported import unsupported
from tests.kube.objects import pod

GROUP = "nos.nebuly.com/pod-group"
LEAST, TOPOLOGY, MODE = f"{GROUP}-min-available", f"{GROUP}-topology", f"{GROUP}-topology-mode"


def test_a_pod_names_its_group_by_label_annotation_or_field():
    by_label = membership(pod(labels={GROUP: "job", LEAST: "4"}))
    by_annotation = membership(pod(annotations={GROUP: "job", LEAST: "4"}))
    assert by_label == by_annotation == ("ml/job", Says(4))
    mixed = membership(pod(labels={GROUP: "job"}, annotations={TOPOLOGY: "topology.kubernetes.io/rack", LEAST: "4"}))
    assert mixed == ("ml/job", Says(4, "topology.kubernetes.io/rack"))
    assert membership(pod({"schedulingGroup": {"podGroupName": "job"}}, labels={GROUP: "other"})) == ("ml/job", None)
    assert membership(pod()) is None
    assert membership(pod(labels={"app": GROUP}, annotations={GROUP: ""})) is None
    assert membership(pod(annotations={f"{GROUP}-min-available": "4"})) is None


def test_an_annotation_comes_before_a_label():
    assert membership(pod(labels={GROUP: "a", LEAST: "1"}, annotations={GROUP: "b"})) == ("ml/b", Says(1))


def test_a_scheduling_group_of_another_kind_is_not_handled():
    assert unsupported(pod({"schedulingGroup": {"compositePodGroupName": "c"}})) == (
        "a spec.schedulingGroup that names no PodGroup",
    )
    assert unsupported(pod({"schedulingGroup": {"podGroupName": "g"}})) == ()
    assert unsupported(pod(labels={GROUP: "g"})) == ()


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({LEAST: "four"}, f'{LEAST} is "four", which is no whole number above 0'),
        ({LEAST: "0"}, f'{LEAST} is "0", which is no whole number above 0'),
        ({LEAST: "-1"}, f'{LEAST} is "-1", which is no whole number above 0'),
        ({LEAST: ""}, f'{LEAST} is "", which is no whole number above 0'),
        ({LEAST: "4.0"}, f'{LEAST} is "4.0", which is no whole number above 0'),
        ({LEAST: "10000000000"}, f'{LEAST} is "10000000000", which is no whole number above 0'),
        ({LEAST: "2", MODE: "must"}, f'{MODE} is "must", which is neither required nor preferred'),
    ],
)
def test_what_makes_no_sense_is_named(told, problem):
    found = membership(pod(annotations={GROUP: "job"} | told))
    assert found.says.problem == problem
    assert agreed([("a", found.says)]) == Terms(0, problem=f"cannot start: of Pod a {problem}")


def test_who_mentions_a_thing_speaks_for_the_others():
    rack = Says(topology_key="rack")
    assert agreed([("a", Says(4)), ("b", Says()), ("c", rack)]) == Terms(4, "rack", required=True)
    assert agreed([("a", Says(4, "rack", required=False))]) == Terms(4, "rack", required=False)
    assert agreed([("a", Says(4, None, required=True))]) == Terms(4)


def test_pods_that_disagree_are_named():
    assert agreed([("a", Says(4)), ("b", Says(4)), ("c", Says(8))]).problem == (
        f"cannot start: its Pods disagree: {LEAST} is 4 on a, and 8 on c"
    )
    assert agreed([("a", Says(4, "rack")), ("b", Says(4, "zone"))]).problem == (
        f"cannot start: its Pods disagree: {TOPOLOGY} is rack on a, and zone on b"
    )
    assert agreed([("a", Says(4, "rack", required=True)), ("b", Says(None, None, required=False))]).problem == (
        f"cannot start: its Pods disagree: {MODE} is required on a, and preferred on b"
    )
    assert agreed([("a", Says())]).problem == f"cannot start: none of its Pods has the annotation {LEAST}"


def group(spec):
    return decode_pod_group(json.dumps({"metadata": {"name": "job", "namespace": "ml"}, "spec": spec}).encode())


def test_what_a_pod_group_asks_for():
    gang = {"schedulingPolicy": {"gang": {"minCount": 4}}}
    assert group(gang).terms == Terms(4)
    assert group(gang).metadata.key == "ml/job"
    assert group(gang | {"schedulingConstraints": {"topology": [{"key": "rack"}]}}).terms == Terms(4, "rack", True)
    assert group({"schedulingPolicy": {"basic": {}}}).terms == Terms(0)
    assert "CompositePodGroup" in group(gang | {"parentCompositePodGroupName": "whole"}).terms.problem
