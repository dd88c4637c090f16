"""JSON to core: what is placed, what waits with a Reason, what is counted."""

import json
from typing import Any

import pytest

from nos import _core
from nos.kube import decode
from nos.kube.encode import binding
from nos.kube.pod import decode_pod
from tests.kube.objects import container, pod

ONE_GPU = {"cpu": 500, "memory": 2**30, "nvidia.com/gpu": 1}


def reason_of(spec: _core.PodSpec, nodes: int = 1) -> str:
    """The message that a waiting Pod of this spec gets on a big node; empty when it is placed."""
    cluster = _core.Cluster()
    for number in range(nodes):
        offer = {"cpu": 64_000, "memory": 2**40, "nvidia.com/gpu": 8, "pods": 110}
        cluster.upsert_node(f"node-{number}", _core.NodeSpec(offer))
    cluster.upsert_pod("u", spec)
    outcome = _core.Scheduler(cluster).schedule()
    return outcome.waiting[0][1].message if outcome.waiting else ""


def test_requests_and_selector() -> None:
    decoded = decode.waiting_spec(pod({"nodeSelector": {"zone": "a"}, "overhead": {"cpu": "1"}}))
    assert decoded == _core.PodSpec(ONE_GPU | {"cpu": 1500}, node_selector={"zone": "a"})


def test_pods_of_one_template_share_one_spec() -> None:
    mounts = [container("1", volumeMounts=[{"name": f"kube-api-access-{n}"}]) for n in "ab"]
    volumes = [[{"name": f"kube-api-access-{n}", "projected": {"sources": []}}] for n in "ab"]
    a, b = (pod({"containers": [m], "volumes": v}, name=n) for m, v, n in zip(mounts, volumes, "ab", strict=True))
    assert decode.waiting_spec(a) is decode.waiting_spec(b)


def test_tolerations_affinity_and_ports() -> None:
    terms = [
        {
            "matchExpressions": [
                {"key": "gpu", "operator": "In", "values": ["h100"]},
                {"key": "n", "operator": "Exists"},
            ]
        },
        {},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]},
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    ports = [{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081, "hostIP": "10.0.0.1", "protocol": "UDP"}]
    sidecar = {"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 9, "hostPort": 9}]}
    init = {"name": "i", "ports": [{"containerPort": 7, "hostPort": 7}]}
    decoded = decode.waiting_spec(
        pod(
            {
                "affinity": {"nodeAffinity": required},
                "tolerations": [
                    {"operator": "Exists"},
                    {"key": "a", "value": "b"},
                    {"key": "n", "operator": "Gt", "value": "1"},
                ],
                "containers": [container("1", ports=ports)],
                "initContainers": [init, sidecar],
            }
        )
    )
    assert decoded == _core.PodSpec(
        ONE_GPU,
        affinity=[
            _core.SelectorTerm([_core.Requirement("gpu", "In", ["h100"]), _core.Requirement("n", "Exists")]),
            _core.SelectorTerm([], [_core.Requirement("metadata.name", "In", ["node-1"])]),
        ],
        tolerations=[_core.Toleration("", "Exists"), _core.Toleration("a", "Equal", "b")],
        host_ports=[_core.HostPort(8081, "UDP", "10.0.0.1"), _core.HostPort(9)],
    )


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}, "persistent volume claim data"),
        ({"volumes": [{"name": "v", "ephemeral": {}}]}, "ephemeral volume"),
        ({"volumes": [{"name": "v", "rbd": {}}]}, "rbd volume"),
        ({"volumes": [{"name": "v", "fromTheFuture": {}}]}, "fromTheFuture volume"),
        ({"resourceClaims": [{"name": "r"}]}, "resource claims"),
        ({"schedulingGroup": {"compositePodGroupName": "g"}}, "a spec.schedulingGroup that names no PodGroup"),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "Sometimes", "maxSkew": 1}]}, "topology spread"),
        ({"topologySpreadConstraints": [{"matchLabelKeys": 7}]}, "a spec that makes no sense"),
        ({"volumes": [{"name": "v", "image": 7}]}, "a spec that makes no sense"),
        ({"affinity": {"podAffinity": 7}}, "Expected `object"),
        ({"containers": [container("-1")]}, "nvidia.com/gpu: '-1' is negative"),
        ({"containers": [container("one")]}, "nvidia.com/gpu: 'one' is not a Kubernetes quantity"),
    ],
)
def test_what_is_not_handled_waits_and_is_named(spec: dict[str, Any], named: str) -> None:
    assert named in reason_of(decode.waiting_spec(pod(spec)))


@pytest.mark.parametrize(
    "kind", ["configMap", "secret", "emptyDir", "projected", "downwardAPI", "hostPath", "image", "csi", "nfs"]
)
def test_volumes_without_a_say_in_the_node_are_fine(kind: str) -> None:
    assert reason_of(decode.waiting_spec(pod({"volumes": [{"name": "v", kind: {}}]}))) == ""


@pytest.mark.parametrize("memory", ["8Ei", "1e40", "9223372036854775807"])
def test_an_absurd_request_waits(memory: str) -> None:
    absurd = container("1", resources={"requests": {"memory": memory, "nvidia.com/gpu": "1"}})
    assert reason_of(decode.waiting_spec(pod({"containers": [absurd]})))


def test_no_term_that_can_match_means_no_node() -> None:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}
    assert reason_of(decode.waiting_spec(pod({"affinity": {"nodeAffinity": required}})))


def test_an_unknown_operator_waits() -> None:
    term = {"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    assert reason_of(decode.waiting_spec(pod({"affinity": {"nodeAffinity": required}})))


def test_a_bound_pod_counts_what_it_was_given() -> None:
    given = {"name": "main", "allocatedResources": {"cpu": "2"}, "resources": {"requests": {"cpu": "2"}}}
    grown = pod({"nodeName": "n"}, {"phase": "Running", "containerStatuses": [given]})
    # cpu: asked 500m, given 2; the kubelet's view names no memory and no GPU, the spec does
    assert decode.bound_spec(grown) == _core.PodSpec(ONE_GPU | {"cpu": 2000})
    refused = {"type": "PodResizePending", "status": "True", "reason": "Infeasible"}
    wish = {"name": "main", "resources": {"requests": {"cpu": "64"}}}
    stuck = pod(
        {"nodeName": "n", "containers": [wish]},
        {"phase": "Running", "containerStatuses": [given], "conditions": [refused]},
    )
    assert decode.bound_spec(stuck) == _core.PodSpec({"cpu": 2000})


def test_a_bound_pod_counts_whatever_else_it_uses() -> None:
    bound = pod({"nodeName": "n", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]})
    assert decode.bound_spec(bound) == _core.PodSpec(ONE_GPU)


def test_an_absurd_bound_pod_counts_as_much_as_can_be_counted() -> None:
    huge = container("1", resources={"requests": {"memory": "8Ei", "nvidia.com/gpu": "99999999"}})
    assert decode.bound_spec(pod({"nodeName": "n", "containers": [huge]})) == _core.PodSpec(
        {"memory": 2**50, "nvidia.com/gpu": 65_535}
    )


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("0,3", (0, 3)),
        ("7", (7,)),
        ("3,3", (3,)),
        ("", ()),
        ("a", ()),
        ("1,", ()),
        ("-1", ()),
        ("²", ()),
        ("1" * 99, ()),
    ],
)
def test_the_decision_is_read_back(text: str, slots: tuple[int, ...]) -> None:
    assert decode.gpus(pod(annotations={"nos.nebuly.com/gpus": text, "other": "x"})) == slots


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:3g.40gb@4,1:1g.10gb@0", ((0, "3g.40gb", 4), (1, "1g.10gb", 0))),
        ("2:1g.10gb+me@6", ((2, "1g.10gb+me", 6),)),
        ("0:3g.40gb@4,0:3g.40gb@4", ((0, "3g.40gb", 4),)),
        ("", ()),
        ("0:3g.40gb", ()),
        ("0:3g.40gb@4,nonsense", ()),
        ("99999:3g.40gb@4", ()),
        ("0:3g.40gb@-1", ()),
        ("0:" + "g" * 1000 + "@0", ()),
        ("\u0663:3g.40gb@4", ()),
    ],
)
def test_the_instances_of_a_decision(text: str, expected: tuple[tuple[int, str, int], ...]) -> None:
    body = {"metadata": {"name": "p", "annotations": {"nos.nebuly.com/instances": text}}, "spec": {}}
    assert decode.instances(decode_pod(json.dumps(body).encode())) == expected


def test_the_instances_of_a_decision_are_read_back_as_they_were_written() -> None:
    given = ((0, "1g.10gb+me", 6), (0, "3g.40gb", 0), (11, "1g.24gb-me", 10))
    annotations = json.loads(binding("p", "u", "n", instances=given))["metadata"]["annotations"]
    body = {"metadata": {"name": "p", "annotations": annotations}, "spec": {}}
    assert decode.instances(decode_pod(json.dumps(body).encode())) == given
