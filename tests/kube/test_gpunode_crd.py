"""GPUNodes on the real API server: what it takes, what it refuses, what kubectl shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from nos.kube.gpunode import GPU_NODES
from nos.mig import models
from nos.testbed import Testbed
from nos.testbed.errors import TestbedError

pytestmark = pytest.mark.cluster
Object = dict[str, Any]
A = {"profile": "3g.40gb", "start": 0}
B = {"profile": "3g.40gb", "start": 4}


@pytest.fixture
def served(testbed: Testbed) -> Iterator[Testbed]:
    testbed.install_crds()
    body = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode", "metadata": {"name": "gpu-1"}}
    testbed.api.create(GPU_NODES, body)
    yield testbed
    testbed.api.request("DELETE", f"{GPU_NODES}/gpu-1")


def put(testbed: Testbed, part: str, value: Object) -> str:
    """Write spec or status; the API server's complaint, empty where it has none."""
    path = f"{GPU_NODES}/gpu-1"
    body = testbed.api.get(path) | {part: value}
    status, answer = testbed.api.request("PUT", path + ("/status" if part == "status" else ""), body)
    return "" if status == 200 else json.loads(answer)["message"]


def gpu(**more: Any) -> Object:
    return {"index": 0, "uuid": "GPU-1", "product": "NVIDIA H100 80GB HBM3", "mig": False, "ready": True} | more


def instance(profile: str, start: int, **more: Any) -> Object:
    return {"uuid": f"MIG-{start}", "profile": profile, "start": start, "ready": True} | more


def test_a_spec_that_can_be_meant_is_taken(served: Testbed) -> None:
    assert (
        put(served, "spec", {"gpus": [{"index": 0, "mig": True, "instances": [A, B]}, {"index": 1, "mig": False}]})
        == ""
    )
    media = [{"profile": "1g.10gb+me", "start": 0}, {"profile": "1g.12gb+me.all", "start": 1}]
    media.append({"profile": "1g.24gb-me", "start": 2})
    assert put(served, "spec", {"gpus": [{"index": 0, "mig": True, "instances": media}]}) == ""


def test_every_profile_that_nos_knows_has_a_name_that_is_taken(served: Testbed) -> None:
    names = sorted({profile.name for model in models() for profile in model.profiles})
    for number in range(0, len(names), 16):  # as many as a GPU may have, at starts of their own
        wanted = [{"profile": name, "start": start} for start, name in enumerate(names[number : number + 16])]
        assert put(served, "spec", {"gpus": [{"index": 0, "mig": True, "instances": wanted}]}) == ""


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"index": 0, "mig": True, "instances": [A, A | {"profile": "1g.10gb"}]}, "two instances start at one unit"),
        ({"index": 0, "mig": False, "instances": [A]}, "a GPU without MIG mode has no instances"),
        ({"index": 0, "mig": True, "instances": [A | {"profile": "3g"}]}, "profile"),
        ({"index": 0, "mig": True, "instances": [A | {"start": 16}]}, "start"),
        ({"index": 64, "mig": False}, "index"),
        ({"index": 0}, "mig"),
        ({"index": 0, "mig": True, "instances": [{"profile": "3g.40gb"}]}, "start"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(served: Testbed, entry: Object, said: str) -> None:
    assert said in put(served, "spec", {"gpus": [entry]})


def test_a_gpu_is_named_once(served: Testbed) -> None:
    assert "Duplicate value" in put(served, "spec", {"gpus": [{"index": 0, "mig": False}, {"index": 0, "mig": True}]})


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        ([gpu(instances=[instance("1g.10gb", 0)])], "a GPU without MIG mode has no instances"),
        ([gpu(mig=True)], "a GPU in MIG mode is not handed out whole"),
        ([gpu(unhealthy="XID 79")], "an unhealthy GPU is not handed out"),
        ([gpu(), gpu(index=1)], "two GPUs have one uuid"),
        (
            [gpu(mig=True, ready=False, instances=[instance("1g.10gb", 0), instance("2g.20gb", 0)])],
            "two instances start at one unit",
        ),
    ],
)
def test_a_report_that_cannot_be_true_is_refused(served: Testbed, gpus: list[Object], said: str) -> None:
    assert said in put(served, "status", {"gpus": gpus})


def test_spec_and_status_are_written_apart_and_only_a_spec_is_a_generation(served: Testbed) -> None:
    path = f"{GPU_NODES}/gpu-1"
    assert served.api.get(path)["metadata"]["generation"] == 1
    assert put(served, "spec", {"gpus": [{"index": 0, "mig": False}]}) == ""
    body = served.api.get(path) | {"spec": {"gpus": []}, "status": {"observedGeneration": 2, "gpus": [gpu()]}}
    assert served.api.request("PUT", f"{path}/status", body)[0] == 200
    written = served.api.get(path)
    assert written["spec"]["gpus"] == [{"index": 0, "mig": False}]
    assert (written["metadata"]["generation"], written["status"]["observedGeneration"]) == (2, 2)


def test_kubectl_shows_what_matters(served: Testbed) -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": ""}
    status = {
        "gpuCount": 2,
        "product": "NVIDIA H100 80GB HBM3",
        "cut": "0:3g.40gb,1g.10gb 1:whole",
        "conditions": [ready | {"lastTransitionTime": "2026-11-24T00:00:00Z"}],
    }
    assert put(served, "status", status) == ""
    for name in ("gpunodes", "gn"):
        heading, line = served.kubectl("get", name).splitlines()
        assert heading.split() == ["NAME", "GPUS", "PRODUCT", "CUT", "READY", "AGE"]
        shown = [cell.strip() for cell in re.split(r" {2,}", line)]
        assert shown[:5] == ["gpu-1", "2", "NVIDIA H100 80GB HBM3", "0:3g.40gb,1g.10gb 1:whole", "True"]
    assert "Serving" in served.kubectl("get", "gn", "-o", "wide")
    assert "Written by the node's agent alone" in served.kubectl("explain", "gpunodes.status")


def test_what_is_unknown_is_refused_or_dropped(served: Testbed) -> None:
    manifest = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode", "metadata": {"name": "gpu-2"}}
    with pytest.raises(TestbedError, match="unknown field"):
        served.kubectl("create", "--validate=strict", "-f", "-", stdin=json.dumps(manifest | {"spec": {"gpu": []}}))
