"""What Pods request, against Kubernetes' own arithmetic: random Pods, waiting and on a node, resized or about to be.

The other side is tests/kube/requests_oracle/requests.go, a few lines around k8s.io/component-helpers/resource. Our side
is decoded as the API server sends it, and read back from the ledger. NOS_SEED is the seed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from nos._core import Cluster, NodeSpec, PodSpec
from nos.kube.decode import bound_spec, waiting_spec
from nos.kube.pod import decode_pod
from nos.testbed.binaries import ensure_source
from nos.testbed.progress import Progress

pytestmark = pytest.mark.cluster

_SOURCE = Path(__file__).parent / "requests_oracle" / "requests.go"
_SEED = int(os.environ.get("NOS_SEED", "1"))
_PODS = 4000
_GPU, _GPUS = "nvidia.com/gpu", 200
_RESOURCES = ("cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "example.com/fpga", _GPU)
_MOST = {"cpu": 10**6}
_POWERS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def test_every_pod_requests_what_kubernetes_says() -> None:
    random = Random(_SEED)
    pods = [_pod(random) for _ in range(_PODS)]
    program = ensure_source(_SOURCE, Progress(quiet=True))
    asked = "".join(json.dumps(pod) + "\n" for pod in pods)
    told = subprocess.run([program], input=asked, capture_output=True, text=True, check=True).stdout
    answers = [json.loads(line) for line in told.splitlines()]
    differ: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    for pod, answer in zip(pods, answers, strict=True):
        decoded = decode_pod(json.dumps(pod))
        for stage, spec in (("waiting", waiting_spec(decoded)), ("bound", bound_spec(decoded))):
            assert _requested(spec) == _told(answer[stage]), f"NOS_SEED={_SEED}, {stage}: {json.dumps(pod)}"
        stages["pod-level"] += "resources" in pod["spec"]
        stages["given something else than asked"] += answer["bound"] != answer["waiting"]
        differ.update(name for name, amount in answer["waiting"].items() if amount)
    # That it was worth asking.
    assert stages["given something else than asked"] > _PODS / 4, stages
    assert stages["pod-level"] > _PODS / 10, stages
    assert all(differ[resource] > _PODS / 10 for resource in _RESOURCES), differ


def _requested(spec: PodSpec) -> dict[str, int]:
    """As the ledger counts it on a node that has some of everything; GPUs are counted by those that are left."""
    cluster = Cluster()
    cluster.upsert_node("n", NodeSpec(dict.fromkeys(_RESOURCES, _GPUS)))
    cluster.upsert_pod("p", spec, node="n")
    node = cluster.node("n")
    counted = node.requested | {_GPU: _GPUS - node.gpu_free_milli.count(1000)}
    return {resource: counted.get(resource, 0) for resource in _RESOURCES}


def _told(answer: dict[str, int]) -> dict[str, int]:
    return {resource: answer.get(resource, 0) for resource in _RESOURCES}


def _pod(random: Random) -> dict[str, Any]:
    containers = [_container(random, f"c{number}") for number in range(random.choice((1, 1, 2, 3)))]
    inits = [_container(random, f"i{number}") for number in range(random.choice((0, 0, 1, 2, 3)))]
    for container in inits:
        if random.random() < 0.5:
            container["restartPolicy"] = "Always"
    spec: dict[str, Any] = {"containers": containers, "initContainers": inits}
    if random.random() < 0.3:
        spec["resources"] = {kind: _amounts(random) for kind in ("requests", "limits") if random.random() < 0.7}
    if random.random() < 0.3:
        spec["overhead"] = _amounts(random)
    return {"metadata": {"name": "p", "uid": "p"}, "spec": spec, "status": _status(random, containers, inits)}


def _status(random: Random, containers: list[dict[str, Any]], inits: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a kubelet that has said all, some or nothing of what it has allocated and given."""
    status: dict[str, Any] = {}
    for kind, each in (("containerStatuses", containers), ("initContainerStatuses", inits)):
        status[kind] = [_given(random) | {"name": c["name"]} for c in each if random.random() < 0.6]
    if random.random() < 0.4:
        reason = random.choice(("Infeasible", "Deferred"))
        status["conditions"] = [
            {"type": "PodScheduled", "status": "True"},
            {"type": "PodResizePending", "status": "True", "reason": reason},
        ]
    return status | (_given(random) if random.random() < 0.4 else {})


def _given(random: Random) -> dict[str, Any]:
    """An empty map is never sent; an empty struct is."""
    given: dict[str, Any] = {}
    if random.random() < 0.7 and (allocated := _amounts(random)):
        given["allocatedResources"] = allocated
    if random.random() < 0.7:
        requests = _amounts(random)
        given["resources"] = {"requests": requests} if requests and random.random() < 0.8 else {}
    return given


def _container(random: Random, name: str) -> dict[str, Any]:
    kinds = [kind for kind in ("requests", "limits") if random.random() < 0.8]
    return {"name": name, "image": "i", "resources": {kind: _amounts(random) for kind in kinds}}


def _amounts(random: Random) -> dict[str, str]:
    return {resource: _quantity(random, resource) for resource in _RESOURCES if random.random() < 0.5}


def _quantity(random: Random, resource: str) -> str:
    """Any spelling of an amount that is not absurd: every suffix, fractions, exponents, signs, zeros at both ends."""
    if resource == _GPU:
        return str(random.choice((0, 1, 2, 8)))
    most = _MOST.get(resource, 2**44)
    while True:
        digits = random.choice(("0", "1", "7", "15", "250", "999", "1000", "1024", "123456", "0001"))
        fraction = random.choice(("", "", "", ".", ".5", ".25", ".001", ".000000001", ".1234567891234", ".500"))
        match random.randrange(3):
            case 0:
                suffix = random.choice(list(_POWERS))
                scale = 10.0 ** _POWERS[suffix]
            case 1:
                suffix = random.choice(list(_BINARY))
                scale = 2.0 ** _BINARY[suffix]
            case _:
                exponent = random.choice((-12, -9, -3, -1, 0, 1, 2, 3, 6, 9))
                suffix = f"{random.choice('eE')}{random.choice(('', '+')) if exponent >= 0 else ''}{exponent}"
                scale = 10.0**exponent
        text = f"{random.choice(('', '', '', '+'))}{digits}{fraction}{suffix}"
        if float(digits + (fraction if len(fraction) > 1 else "")) * scale < most:
            return text
