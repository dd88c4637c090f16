"""JSON to core: what a node offers."""

import logging

import pytest

from nos import _core
from nos.kube import decode
from nos.kube.volumes import NodeVolumes
from tests.kube.objects import node

ROOM = {"cpu": "4", "pods": "110"}


def test_room_labels_and_taints() -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    allocatable = {"cpu": "63500m", "memory": "1Ti", "nvidia.com/gpu": "8", "pods": "110"}
    offered = node(labels={"zone": "a"}, spec={"unschedulable": True, "taints": [taint]}, allocatable=allocatable)
    assert decode.node_spec(offered) == _core.NodeSpec(
        {"cpu": 63_500, "memory": 2**40, "nvidia.com/gpu": 8, "pods": 110},
        labels={"zone": "a"},
        taints=[_core.Taint("k", "v", "NoSchedule")],
        unschedulable=True,
    )


def test_a_node_that_makes_no_sense_offers_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert decode.node_spec(node(allocatable={"cpu": "-4"})) == _core.NodeSpec({}, unschedulable=True)
    assert "node n takes no Pods: cpu: '-4' is negative" in caplog.text


@pytest.mark.parametrize(
    ("labels", "gb"),
    [
        ({}, 0),
        ({"nvidia.com/gpu.memory": "81559"}, 80),  # as an H100 reports
        ({"nvidia.com/gpu.memory": "40960"}, 40),
        ({"nvidia.com/gpu.memory": "15360", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}, 15),
        ({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"}, 40),
        ({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"}, 40),
        ({"nvidia.com/gpu.product": "Tesla-T4"}, 0),  # it cannot be cut, so nos does not know it
        ({"nvidia.com/gpu.memory": "much", "nvidia.com/gpu.product": "A30"}, 24),
        ({"nvidia.com/gpu.memory": "9" * 11}, 1_000_000),
        ({"nvidia.com/gpu.memory": "9" * 12}, 0),
    ],
)
def test_memory_of_a_gpu_in_gb(labels: dict[str, str], gb: int) -> None:
    assert decode.node_spec(node(labels=labels, allocatable=ROOM)) == _core.NodeSpec(
        {"cpu": 4000, "pods": 110}, labels=labels, gpu_memory_gb=gb
    )


def test_every_name_of_an_image_and_every_feature() -> None:
    images = [
        {"names": ["cuda@sha256:12", "cuda:12"], "sizeBytes": 4_000_000_000},
        {"sizeBytes": 7},  # a dangling one
        {"names": ["pause:3"], "sizeBytes": 700_000},
    ]
    offered = node(allocatable=ROOM, images=images, declaredFeatures=["VolumeBindMountOptions"])
    assert decode.node_spec(offered) == _core.NodeSpec(
        {"cpu": 4000, "pods": 110},
        images={"cuda@sha256:12": 4_000_000_000, "cuda:12": 4_000_000_000, "pause:3": 700_000},
        features=["VolumeBindMountOptions"],
    )


def test_nodes_share_their_images() -> None:
    images = [{"names": ["cuda:12"], "sizeBytes": 4_000_000_000}]
    a, b = (node(name, images=images) for name in "ab")
    assert a.status.images[0] is b.status.images[0]


def test_by_dra_is_only_what_it_does_not_offer_otherwise() -> None:
    room = ROOM | {"nvidia.com/gpu": "0", "example.com/nic": "2"}
    offered = decode.node_spec(node(allocatable=room), by_dra=["nvidia.com/gpu", "example.com/nic", "example.com/fpga"])
    assert offered == _core.NodeSpec(
        {"cpu": 4000, "pods": 110, "nvidia.com/gpu": 0, "example.com/nic": 2},
        by_dra=["nvidia.com/gpu", "example.com/fpga"],
    )


def test_csi_drivers() -> None:
    volumes = NodeVolumes(("CSI driver ebs",), (("ebs", 25),), (("ebs", "vol-1"),))
    assert decode.node_spec(node(allocatable=ROOM), volumes=volumes) == _core.NodeSpec(
        {"cpu": 4000, "pods": 110},
        features=["CSI driver ebs"],
        attach_limits={"ebs": 25},
        attached=[("ebs", "vol-1")],
    )
