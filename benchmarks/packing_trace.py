"""The openb replay as the bound sees it: node types with their counts, Pod classes, arrivals as class indices."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LISTS = ("default", "gpushare40", "gpushare80", "gpuspec20", "multigpu30")
DEFAULT_TRACES = Path(__file__).resolve().parents[1] / ".." / "shared" / "traces" / "alibaba-gpu-v2023"
NODE_FILE = "openb_node_list_gpu_node.csv"
GRAIN = 10  # milli-GPU per cell of a pattern; checked against the trace

Ints = NDArray[np.int64]


class PodClass(NamedTuple):
    gpus: int
    milli: int
    cpu: int
    memory: int
    models: str


class NodeType(NamedTuple):
    cpu: int
    memory: int
    gpus: int
    model: str


class Gate(NamedTuple):
    milli: int
    cpu: int
    memory: int


@dataclass
class Replay:
    """Node types with their counts, Pod classes, and the arrivals as class indices."""

    types: list[NodeType]
    counts: list[int]
    classes: list[PodClass]
    arrivals: Ints
    before: Ints  # milli-GPU requested before each arrival
    capacity: int


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def load(traces: Path, list_name: str, seed: str) -> Replay:
    nodes = Counter(
        NodeType(int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]), row["model"])
        for row in read_rows(traces / NODE_FILE)
    )
    pods = [
        PodClass(
            int(row["num_gpu"]),
            int(row["gpu_milli"]),
            int(row["cpu_milli"]),
            int(row["memory_mib"]),
            row.get("gpu_spec") or "",
        )
        for row in read_rows(traces / f"openb_pod_list_{list_name}.csv")
    ]
    order = [pods[int(line)] for line in (traces / "orders" / f"{list_name}-s{seed}.order").read_text().split()]
    classes = sorted(set(order))
    if any(pod.milli % GRAIN for pod in classes):
        raise ValueError(f"{list_name}: a gpu_milli is no multiple of {GRAIN}: lower GRAIN in {Path(__file__).name}")
    index = {pod: i for i, pod in enumerate(classes)}
    milli = np.array([pod.gpus * pod.milli for pod in order], dtype=np.int64)
    types = sorted(nodes)
    return Replay(
        types,
        [nodes[node] for node in types],
        classes,
        np.array([index[pod] for pod in order], dtype=np.int64),
        np.cumsum(milli) - milli,
        1000 * sum(node.gpus * count for node, count in nodes.items()),
    )


def commonest_shared(replay: Replay) -> Gate:
    count = Counter(
        replay.classes[i]
        for i in replay.arrivals
        if 0 < replay.classes[i].milli < 1000 and not replay.classes[i].models
    )
    if not count:
        raise ValueError("no Pod asks for part of a GPU of any model; name a request with --gate")
    pod = max(count, key=lambda c: (count[c], c))
    return Gate(pod.milli, pod.cpu, pod.memory)


def fits(pod: PodClass, node: NodeType) -> bool:
    small = pod.gpus <= node.gpus and pod.cpu <= node.cpu and pod.memory <= node.memory
    return small and (not pod.models or node.model in pod.models.split("|"))
