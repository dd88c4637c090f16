"""JSON to core: the images that a Pod would like to find on its node, and the features that it must find."""

from typing import Any

import pytest

from nos import _core
from nos.kube import decode
from nos.kube.decode.images import normalised
from tests.kube.objects import container, pod

ONE_GPU = {"cpu": 500, "memory": 2**30, "nvidia.com/gpu": 1}


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1.37", "busybox:1.37"),
        ("registry:5000/busybox", "registry:5000/busybox:latest"),
        ("registry:5000/busybox:1.37", "registry:5000/busybox:1.37"),
        ("busybox@sha256:ab", "busybox@sha256:ab"),
    ],
)
def test_an_image_has_a_tag(image: str, name: str) -> None:
    assert normalised(image) == name


def test_images_of_containers_init_containers_and_volumes() -> None:
    spec = {
        "containers": [container("1", image="cuda:12"), {"name": "side", "image": "fluentd"}],
        "initContainers": [{"name": "init", "image": "cuda:12"}],
        "volumes": [{"name": "w", "image": {"reference": "weights:7"}}, {"name": "e", "emptyDir": {}}],
    }
    # init containers, containers, volumes; an image that two of them use counts twice
    images = ["cuda:12", "cuda:12", "fluentd:latest", "weights:7"]
    assert decode.waiting_spec(pod(spec)) == _core.PodSpec(ONE_GPU, images=images)
    assert decode.bound_spec(pod(spec)) == _core.PodSpec(ONE_GPU)


RESTARTS_ALL = [
    {"action": "Restart"},
    {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}},
]
MOUNTED = [{"name": "v"}, {"name": "w", "bindMountOptions": ["noexec"]}]


@pytest.mark.parametrize(
    ("spec", "features"),
    [
        ({}, []),
        ({"hostNetwork": True, "hostUsers": False}, ["UserNamespacesHostNetworkSupport"]),
        ({"hostNetwork": True, "hostUsers": True}, []),
        ({"hostNetwork": True}, []),
        ({"hostUsers": False}, []),
        ({"containers": [container("1", restartPolicyRules=RESTARTS_ALL)]}, ["RestartAllContainersOnContainerExits"]),
        (
            {"initContainers": [{"name": "i", "restartPolicyRules": RESTARTS_ALL}]},
            ["RestartAllContainersOnContainerExits"],
        ),
        ({"containers": [container("1", restartPolicyRules=[{"action": "Restart"}])]}, []),
        ({"containers": [container("1", volumeMounts=MOUNTED)]}, ["VolumeBindMountOptions"]),
        ({"ephemeralContainers": [{"name": "debug", "volumeMounts": MOUNTED}]}, ["VolumeBindMountOptions"]),
        ({"containers": [container("1", volumeMounts=[{"name": "bindMountOptions", "bindMountOptions": []}])]}, []),
        (
            {
                "hostNetwork": True,
                "hostUsers": False,
                "containers": [container("1", volumeMounts=MOUNTED, restartPolicyRules=RESTARTS_ALL)],
            },
            [
                "RestartAllContainersOnContainerExits",
                "UserNamespacesHostNetworkSupport",
                "VolumeBindMountOptions",
            ],
        ),
    ],
)
def test_features_are_inferred(spec: dict[str, Any], features: list[str]) -> None:
    assert decode.waiting_spec(pod(spec)) == _core.PodSpec(ONE_GPU, features=features)
    if features:
        assert decode.waiting_spec(pod(spec)) != _core.PodSpec(ONE_GPU)
