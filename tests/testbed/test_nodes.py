"""Shapes, and the Nodes that are made of them."""

from __future__ import annotations

import pytest

from nos.testbed import TestbedError
from nos.testbed.nodes import GPU_TAINT, MODELS, make_node, parse_shapes


def test_shapes_are_read_in_any_case_and_summed() -> None:
    assert parse_shapes("8xH100=10, 2xt4 ,2xT4=3,cpu=2") == {"8xH100": 10, "2xT4": 4, "cpu": 2}
    assert parse_shapes("") == {}


@pytest.mark.parametrize("text", ["8xH100=0", "8xH100=-1", "8xH100=two", "0xH100", "H100", "8xVoodoo2=1"])
def test_a_wrong_shape_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(TestbedError, match=text.partition("=")[0]):
        parse_shapes(text)


def test_a_gpu_node_has_what_gpu_feature_discovery_writes() -> None:
    node = make_node("8xH100", 3)
    assert node["metadata"]["name"] == "8xh100-3"
    labels = node["metadata"]["labels"]
    expected = {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.memory": "81559",
        "nvidia.com/gpu.family": "hopper",
        "nvidia.com/gpu.compute.major": "9",
        "nvidia.com/gpu.compute.minor": "0",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/mig.capable": "true",
        "nvidia.com/mig.strategy": "mixed",
        "kubernetes.io/hostname": "8xh100-3",
        "topology.kubernetes.io/zone": "sim-1a",  # 3 zones, in turn
    }
    assert {key: labels[key] for key in expected} == expected
    assert all(isinstance(value, str) and len(value) <= 63 for value in labels.values())
    allocatable = node["status"]["allocatable"]
    # 8 shares of 24 CPUs and 256 GiB, less 1 CPU and 4 GiB for the system
    assert (allocatable["nvidia.com/gpu"], allocatable["cpu"], allocatable["memory"]) == ("8", "191", "2044Gi")
    assert node["spec"]["taints"] == [GPU_TAINT]


def test_the_taint_and_the_labels_are_options() -> None:
    node = make_node("1xA30", 0, taint=False, labels={"nos.nebuly.com/gpu-partitioning": "mig"})
    assert "taints" not in node["spec"]
    assert node["metadata"]["labels"]["nos.nebuly.com/gpu-partitioning"] == "mig"


def test_a_cpu_node_has_no_trace_of_a_gpu() -> None:
    node = make_node("cpu", 0)
    assert node["metadata"]["name"] == "cpu-0"
    assert not [key for key in (*node["metadata"]["labels"], *node["status"]["capacity"]) if "nvidia" in key]
    assert "taints" not in node["spec"]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_makes_a_valid_node_name(model: str) -> None:
    name = make_node(f"4x{model}", 0)["metadata"]["name"]
    assert name == name.lower()
    assert name.replace("-", "").isalnum()
