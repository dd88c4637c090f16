"""What arrives in the demo: a seeded day of a cluster, pressed into seconds.

Pods come in sets of equal replicas, as Deployments and Jobs make them, of the sizes that people run: whole GPUs only,
for that is what Kubernetes knows. With them come three that no node of the demo can take, for their Reasons.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nos.testbed import nodes

NAMESPACE = "default"
SCHEDULER = "nos-scheduler"
DEFAULT_NODES = "8xH100=42,8xA100=14,4xL40S=14,cpu=7"  # whole rows of the picture, 80 characters wide
_LOAD = 0.9  # of the nodes' GPUs, when nobody says how many Pods
_LOAD_CPU = 0.7  # of the CPU of the nodes without GPUs


@dataclass(frozen=True)
class Ask:
    """What a Pod asks for."""

    gpus: int
    cpu: int
    memory_gib: int
    product: str = ""  # only on nodes with this GPU


@dataclass(frozen=True)
class Arrival:
    """A Pod, and when it is created: a part of the whole time, from 0 to 1."""

    name: str
    ask: Ask
    at: float


@dataclass(frozen=True)
class _Kind:
    name: str
    gpus: int
    weight: int  # of the sets, not of the Pods
    replicas: tuple[int, int]
    cpu: tuple[int, ...]
    memory_gib: tuple[int, ...]


_KINDS = (
    _Kind("train", 8, 10, (1, 3), (48, 64, 80), (512, 768)),
    _Kind("tune", 4, 16, (1, 3), (24, 32, 40), (128, 256, 320)),
    _Kind("eval", 2, 18, (1, 5), (8, 16, 20), (64, 96, 160)),
    _Kind("infer", 1, 34, (2, 9), (4, 6, 8, 10), (16, 32, 64)),
    _Kind("notebook", 1, 16, (1, 4), (2, 4), (8, 16, 32)),
    _Kind("etl", 0, 12, (2, 6), (2, 4, 6), (4, 8, 16)),
)
_HOPELESS = (
    ("too-many-gpus", Ask(16, 32, 128)),
    ("no-such-gpu", Ask(1, 8, 64, product=nodes.MODELS["B200"].product)),
    ("too-much-memory", Ask(1, 8, 6000)),
)


def arrivals(shapes: Mapping[str, int], pods: int | None, seed: int) -> list[Arrival]:
    """What arrives at nodes of these shapes; without `pods`, as many as ask for 90 % of their GPUs."""
    source = random.Random(seed)
    sets = list(_sets(shapes, source, pods))
    moment, found = 0.0, []
    for members in sets:  # each comes at once, or nearly; between them passes a random time
        found += [Arrival(name, ask, moment + 0.1 * replica) for replica, (name, ask) in enumerate(members)]
        moment += source.expovariate(1.0)
    found = found[:pods]
    found += [Arrival(name, ask, moment * (0.5 + 0.1 * number)) for number, (name, ask) in enumerate(_HOPELESS)]
    last = max(arrival.at for arrival in found) or 1.0
    return sorted((Arrival(a.name, a.ask, a.at / last) for a in found), key=lambda arrival: arrival.at)


def _sets(shapes: Mapping[str, int], source: random.Random, pods: int | None) -> Iterator[list[tuple[str, Ask]]]:
    """Sets of replicas until there are enough Pods, or enough of the nodes is asked for."""
    gpus_of = {shape: nodes.parse_shape(shape)[0] for shape in shapes}
    free_gpus = _LOAD * sum(gpus_of[shape] * count for shape, count in shapes.items())
    free_cpu = _LOAD_CPU * sum(nodes.CPU_NODE[1] * count for shape, count in shapes.items() if not gpus_of[shape])
    largest = max(gpus_of.values(), default=0)
    kinds = [kind for kind in _KINDS if (kind.gpus or free_cpu) and kind.gpus <= largest]
    number = made = 0
    while kinds and (made < pods if pods is not None else free_gpus >= 1):
        kind = source.choices(kinds, [kind.weight for kind in kinds])[0]
        replicas = source.randint(*kind.replicas)
        ask = Ask(kind.gpus, source.choice(kind.cpu), source.choice(kind.memory_gib))
        if pods is None:
            if kind.gpus:
                replicas = min(replicas, int(free_gpus) // kind.gpus)
                free_gpus -= replicas * kind.gpus
            else:
                replicas = min(replicas, int(free_cpu) // ask.cpu)
                free_cpu -= replicas * ask.cpu
        if not replicas:
            kinds.remove(kind)
            continue
        yield [(f"{kind.name}-{number}-{replica}", ask) for replica in range(replicas)]
        number += 1
        made += replicas


def manifest(name: str, ask: Ask) -> dict[str, Any]:
    """The Pod, as a user would write it: GPU nodes are tainted, and the API server adds the toleration."""
    amounts = {"cpu": str(ask.cpu), "memory": f"{ask.memory_gib}Gi"}
    if ask.gpus:
        amounts["nvidia.com/gpu"] = str(ask.gpus)
    spec: dict[str, Any] = {
        "schedulerName": SCHEDULER,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "busybox", "resources": {"requests": amounts, "limits": amounts}}],
    }
    if ask.product:
        spec["nodeSelector"] = {"nvidia.com/gpu.product": ask.product}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


SAMPLE = f"""\
apiVersion: v1
kind: Pod
metadata:
  name: my-pod
spec:
  schedulerName: {SCHEDULER}
  containers:
    - name: main
      image: busybox
      command: [sleep, infinity]
      resources:
        limits:
          nvidia.com/gpu: 1
          cpu: 1
          memory: 4Gi
"""
