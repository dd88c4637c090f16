"""A seeded generator of traces, for those who have none: nodes of a given shape, and Pods as a real cluster sees them.

Integer arithmetic only: the same arguments give the same trace on every machine.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nos.simulate.trace import WHOLE_GPU, Node, Pod, Trace, TraceError

# Per mille of the Pods, by (GPUs, shared). A production cluster as published: an eighth of the Pods ask for CPU alone,
# more than a third for part of a GPU, nearly all others for one.
_DEMANDS = {(0, False): 130, (1, True): 375, (1, False): 450, (2, False): 20, (4, False): 12, (8, False): 13}
# Per mille of the Pods that share a GPU, by milli-GPU. Shares that do not add up to a GPU are what fragments.
_SHARES = {100: 60, 200: 90, 250: 120, 330: 110, 460: 160, 500: 200, 650: 60, 700: 50, 810: 130, 900: 20}
# Milli-CPU and MiB per GPU that a Pod takes, or of a Pod without one.
_CPU_PER_GPU = {2000: 60, 4000: 180, 6000: 240, 8000: 250, 10000: 130, 12000: 110, 16000: 30}
_CPU_ALONE = {1000: 200, 4000: 300, 8000: 300, 16000: 150, 32000: 50}
_MIB_PER_CPU = {1024: 150, 2048: 400, 4096: 380, 8192: 70}
# Milli-CPU per GPU of a node, and of a lean one; MiB per CPU of all.
_FULL_CPU = 12000
_LEAN_CPU = 8000
_LEAST_CPU = 32000
_NODE_MIB_PER_CPU = 4096
_ONE_MODEL_ONLY = 120  # per mille of the GPU Pods, where there are several models
_DEFAULT_LOAD = 1300  # per mille of the GPUs that are asked for when no count is given
_MOST_NODES = 1_000_000
_MOST_GPUS = 64
_DEFAULT_MODEL = "A100"

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Group:
    """Equal nodes: how many, and the GPUs of each."""

    nodes: int
    gpus: int
    model: str = _DEFAULT_MODEL


def parse_groups(text: str) -> list[Group]:
    """Groups from NODESxGPUS[:MODEL], several joined by commas: 300x8:H100,100x2:T4."""
    groups = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})(?::([A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?))?", part)
        if not match:
            raise TraceError(f"{part!r} is not of the form NODESxGPUS[:MODEL], such as 100x8 or 100x8:H100")
        group = Group(int(match[1]), int(match[2]), match[3] or _DEFAULT_MODEL)
        if not 1 <= group.nodes <= _MOST_NODES or group.gpus > _MOST_GPUS:
            raise TraceError(f"{part!r}: between 1 and {_MOST_NODES} nodes of at most {_MOST_GPUS} GPUs")
        groups.append(group)
    if sum(group.nodes for group in groups) > _MOST_NODES:
        raise TraceError(f"{text!r}: at most {_MOST_NODES} nodes")
    return groups


def generate(groups: Sequence[Group], count: int | None = None, seed: int = 0) -> Trace:
    """A trace of count Pods; without a count, as many as ask for 130 % of the GPUs (ten per node where there is none).

    One node in four has less CPU per GPU than the others, so that GPUs can be stranded. Every Pod fits some node that
    is empty.
    """
    source = random.Random(seed)
    nodes = list(_nodes(groups))
    models = {gpus: sorted({group.model for group in groups if group.gpus >= gpus}) for gpus in (1, 2, 4, 8)}
    most_gpus = max(group.gpus for group in groups)
    demands = _urn({demand: weight for demand, weight in _DEMANDS.items() if demand[0] <= most_gpus})
    wanted = sum(node.gpus for node in nodes) * _DEFAULT_LOAD
    if count is None and wanted == 0:
        count = 10 * len(nodes)
    pods: list[Pod] = []
    while len(pods) < count if count is not None else wanted > 0:
        pod = _pod(f"pod-{len(pods)}", demands, models, source)
        wanted -= pod.total_gpu_milli
        pods.append(pod)
    return Trace(nodes, pods, range(len(pods)))


def _nodes(groups: Sequence[Group]) -> Iterator[Node]:
    number = 0
    for group in groups:
        for _ in range(group.nodes):
            cpu = max(group.gpus * (_LEAN_CPU if number % 4 == 3 else _FULL_CPU), _LEAST_CPU)
            memory = cpu * _NODE_MIB_PER_CPU // 1000
            yield Node(f"node-{number}", cpu, memory, group.gpus, group.model if group.gpus else "")
            number += 1


def _pod(
    name: str, demands: Sequence[tuple[int, bool]], models: Mapping[int, Sequence[str]], source: random.Random
) -> Pod:
    gpus, shared = _draw(demands, source)
    gpu_milli = _draw(_SHARES_URN, source) if shared else WHOLE_GPU if gpus else 0
    cpu = _draw(_CPU_PER_GPU_URN if gpus else _CPU_ALONE_URN, source)
    mib_per_cpu = _draw(_MIB_PER_CPU_URN, source)
    if gpus:
        cpu = cpu * gpu_milli // WHOLE_GPU
    if gpus > 1:
        cpu = min(cpu, _LEAN_CPU) * gpus
    if gpus != 1:
        mib_per_cpu = min(mib_per_cpu, _NODE_MIB_PER_CPU)
    picky = gpus and len(models[1]) > 1 and source.randrange(1000) < _ONE_MODEL_ONLY
    allowed = (_draw(models[gpus], source),) if picky else ()
    return Pod(name, cpu, mib_per_cpu * cpu // 1000, gpus, gpu_milli, allowed)


def _urn(weights: Mapping[K, int]) -> list[K]:
    """Each key as often as its weight says."""
    return [key for key, weight in weights.items() for _ in range(weight)]


def _draw(urn: Sequence[K], source: random.Random) -> K:
    return urn[source.randrange(len(urn))]


_SHARES_URN = _urn(_SHARES)
_CPU_PER_GPU_URN = _urn(_CPU_PER_GPU)
_CPU_ALONE_URN = _urn(_CPU_ALONE)
_MIB_PER_CPU_URN = _urn(_MIB_PER_CPU)
