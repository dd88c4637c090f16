"""GPU nodes in the shapes that people own, as Node objects with the labels that GPU Feature Discovery writes.

A shape is `8xH100`: a count and a model of `MODELS`; `cpu` is a node without GPUs. CPU and memory per GPU are those of
the clouds' machines with that GPU, so that what strands a GPU for want of CPU in life does so here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .api import Api, Object, in_parallel
from .errors import TestbedError
from .kwok import NODE_ANNOTATION
from .progress import Progress
from .versions import KUBERNETES

GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
REGION = "sim-1"
ZONES = ("sim-1a", "sim-1b", "sim-1c")
SYSTEM_CPU, SYSTEM_MEMORY_GIB = 1, 4  # kept back for the system: capacity minus allocatable
DRIVER, CUDA = ("580", "95", "05"), ("13", "0")


@dataclass(frozen=True)
class Model:
    """One GPU model, and the share of its host that comes with one GPU."""

    product: str
    memory_mib: int
    family: str
    compute: str
    mig: bool
    cpus: int
    host_gib: int
    machine: str


# product and memory_mib as NVML reports them on hardware (the memory differs a little by driver).
MODELS: Mapping[str, Model] = {
    "B200": Model("NVIDIA-B200", 183359, "blackwell", "10.0", True, 24, 256, "p6-b200.48xlarge"),
    "H200": Model("NVIDIA-H200", 143771, "hopper", "9.0", True, 24, 256, "p5en.48xlarge"),
    "H100": Model("NVIDIA-H100-80GB-HBM3", 81559, "hopper", "9.0", True, 24, 256, "p5.48xlarge"),
    "H100-NVL": Model("NVIDIA-H100-NVL", 95830, "hopper", "9.0", True, 40, 320, "Standard_NC40ads_H100_v5"),
    "A100": Model("NVIDIA-A100-SXM4-80GB", 81920, "ampere", "8.0", True, 12, 144, "p4de.24xlarge"),
    "A100-40GB": Model("NVIDIA-A100-SXM4-40GB", 40960, "ampere", "8.0", True, 12, 144, "p4d.24xlarge"),
    "A30": Model("NVIDIA-A30", 24576, "ampere", "8.0", True, 16, 128, "PowerEdge-R750xa"),
    "RTX-PRO-6000": Model(
        "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", 97887, "blackwell", "12.0", True, 24, 128, "g7e.48xlarge"
    ),
    "L40S": Model("NVIDIA-L40S", 46068, "ada-lovelace", "8.9", False, 12, 96, "g6e.12xlarge"),
    "L4": Model("NVIDIA-L4", 23034, "ada-lovelace", "8.9", False, 12, 48, "g6.12xlarge"),
    "A10G": Model("NVIDIA-A10G", 23028, "ampere", "8.6", False, 12, 48, "g5.12xlarge"),
    "T4": Model("Tesla-T4", 15360, "turing", "7.5", False, 12, 48, "g4dn.12xlarge"),
    "V100": Model("Tesla-V100-SXM2-16GB", 16384, "volta", "7.0", False, 8, 61, "p3.16xlarge"),
}
CPU_NODE = ("cpu", 32, 128, "m7i.8xlarge")


def parse_shapes(text: str) -> dict[str, int]:
    """`8xH100=10,2xT4=4` as {"8xH100": 10, "2xT4": 4}; a shape alone is one node."""
    shapes: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        shape, _, count = part.partition("=")
        if not re.fullmatch(r"\d*", count) or count == "0":
            raise TestbedError(f"{part}: the number of nodes must be a positive integer, as in 8xH100=10")
        name = shape_name(*parse_shape(shape))
        shapes[name] = shapes.get(name, 0) + int(count or 1)
    return shapes


def parse_shape(shape: str) -> tuple[int, str]:
    """`8xH100` as (8, "H100"), `cpu` as (0, "cpu")."""
    if shape.lower() == "cpu":
        return 0, "cpu"
    match = re.fullmatch(r"([1-9]\d?)x(.+)", shape, re.IGNORECASE)
    if not match or match[2].upper() not in MODELS:
        raise TestbedError(f"no node shape {shape!r}: write COUNTxMODEL with a model of {', '.join(MODELS)}, or cpu")
    return int(match[1]), match[2].upper()


def shape_name(gpus: int, model: str) -> str:
    """The inverse of `parse_shape`."""
    return f"{gpus}x{model}" if gpus else model


def make_node(
    shape: str,
    number: int,
    *,
    taint: bool = True,
    labels: Mapping[str, str] | None = None,
    mig_strategy: str = "mixed",
) -> Object:
    """The Node `8xh100-NUMBER` of the shape `8xH100`, with its capacity, for kwok to bring to life."""
    gpus, model_name = parse_shape(shape)
    name = f"{shape.lower()}-{number}"
    zone = ZONES[number % len(ZONES)]
    if gpus:
        model = MODELS[model_name]
        cpus, gib, machine = gpus * model.cpus, gpus * model.host_gib, model.machine
    else:
        _, cpus, gib, machine = CPU_NODE
    own_labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        # A kubelet's, too; the controller manager would add them a moment later.
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": machine,
        "topology.kubernetes.io/region": REGION,
        "topology.kubernetes.io/zone": zone,
        **(gpu_labels(model, gpus, mig_strategy) if gpus else {}),
        **(labels or {}),
    }
    constant = {"ephemeral-storage": "1000Gi", "pods": "110", "hugepages-1Gi": "0", "hugepages-2Mi": "0"}
    if gpus:
        constant["nvidia.com/gpu"] = str(gpus)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    since = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": own_labels, "annotations": {NODE_ANNOTATION: "fake"}},
        "spec": {
            "providerID": f"kwok://{zone}/{name}",
            **({"taints": [GPU_TAINT]} if taint and gpus else {}),
        },
        "status": {
            "capacity": {"cpu": str(cpus), "memory": f"{gib}Gi", **constant},
            "allocatable": {
                "cpu": str(cpus - SYSTEM_CPU),
                "memory": f"{gib - SYSTEM_MEMORY_GIB}Gi",
                **constant,
            },
            # Ready from birth, where a kubelet says so a moment later: one write less per node, on a small machine.
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", **since}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "osImage": "simulated by kwok",
                "kernelVersion": "6.12.0",
                "kubeletVersion": KUBERNETES,
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "containerd://2.2.0",
                "bootID": "",
                "machineID": "",
                "systemUUID": "",
            },
        },
    }


def gpu_labels(model: Model, gpus: int, mig_strategy: str) -> dict[str, str]:
    """What GPU Feature Discovery and NVIDIA's operator write on a node with `gpus` of `model`, MIG mode off."""
    major, minor = model.compute.split(".")
    return {
        "nvidia.com/cuda.driver.major": DRIVER[0],
        "nvidia.com/cuda.driver.minor": DRIVER[1],
        "nvidia.com/cuda.driver.rev": DRIVER[2],
        "nvidia.com/cuda.driver-version.full": ".".join(DRIVER),
        "nvidia.com/cuda.driver-version.major": DRIVER[0],
        "nvidia.com/cuda.driver-version.minor": DRIVER[1],
        "nvidia.com/cuda.driver-version.revision": DRIVER[2],
        "nvidia.com/cuda.runtime.major": CUDA[0],
        "nvidia.com/cuda.runtime.minor": CUDA[1],
        "nvidia.com/cuda.runtime-version.full": ".".join(CUDA),
        "nvidia.com/cuda.runtime-version.major": CUDA[0],
        "nvidia.com/cuda.runtime-version.minor": CUDA[1],
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
        "nvidia.com/gpu.count": str(gpus),
        "nvidia.com/gpu.family": model.family,
        "nvidia.com/gpu.machine": model.machine,
        "nvidia.com/gpu.memory": str(model.memory_mib),
        "nvidia.com/gpu.mode": "compute",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": model.product,
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/mig.capable": str(model.mig).lower(),
        "nvidia.com/mig.strategy": mig_strategy,
        "nvidia.com/mps.capable": "false",
        "nvidia.com/vgpu.present": "false",
    }


def create_nodes(api: Api, nodes: Sequence[Object], progress: Progress) -> None:
    """Creates the nodes that are not there yet, and waits until all are Ready and free of the taint of those that are
    not: from then on a scheduler may use them."""
    if not nodes:
        return
    with progress.step(f"adding {len(nodes)} nodes") as update:
        in_parallel(lambda node: api.create("/api/v1/nodes", node), nodes, lambda done: update(done, 2 * len(nodes)))
        missing = {node["metadata"]["name"] for node in nodes}
        deadline = time.monotonic() + 60 + 0.1 * len(nodes)
        while True:
            asked = time.monotonic()
            missing -= ready_nodes(api)
            update(2 * len(nodes) - len(missing), 2 * len(nodes))
            if not missing:
                return
            now = time.monotonic()
            if now > deadline:
                raise TestbedError(f"{len(missing)} nodes are not Ready, such as {min(missing)}; see the logs")
            time.sleep(max(0.02, 4 * (now - asked)))  # long lists cost the API server what it needs for the nodes


def ready_nodes(api: Api) -> set[str]:
    """Names of the nodes that a scheduler may use."""
    return {
        node["metadata"]["name"]
        for node in api.get("/api/v1/nodes?resourceVersion=0")["items"]
        if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
        and not any(taint["key"] == "node.kubernetes.io/not-ready" for taint in node["spec"].get("taints", []))
    }
