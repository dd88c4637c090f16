"""What one seed stands for: a world, and the Pods that are asked about in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tests.e2e.left_out import without_each
from tests.e2e.random_crowds import random_crowd, random_neighbour
from tests.e2e.random_worlds import random_pod, random_world
from tests.e2e.world import Object, World

PODS = 100
_SIZES = (0, 12, 30, 5, 20, 0, 16, 25, 2, 8)  # of crowds; by the seed's last digit
_ROUGH = "rough"  # the focus of Pods that ask for a mix of all that a node alone decides


@dataclass(frozen=True)
class Drawn:
    """probes: PODS of them, and copies of them with one piece left out."""

    world: World
    probes: Sequence[Object]
    focus_of: Mapping[str, str]
    without: Mapping[str, tuple[str, str]]  # by the name of a copy, whose it is, and the piece


def drawn(seed: int) -> Drawn:
    random = Random(seed)
    names = [f"pod-{number}" for number in range(PODS)]
    if not (size := _SIZES[seed % 10]):
        world = random_world(random)
        return Drawn(world, [random_pod(random, name) for name in names], dict.fromkeys(names, _ROUGH), {})
    world, storage = random_crowd(random, size)
    asked = [random_neighbour(random, name, storage) for name in names]
    probes = [pod for pod, _ in asked]
    without: dict[str, tuple[str, str]] = {}
    for pod in tuple(probes):
        for less, piece in without_each(random, pod, 2):
            name = f"less-{len(without)}"
            probes.append({**less, "metadata": {**less["metadata"], "name": name}})
            without[name] = pod["metadata"]["name"], piece
    return Drawn(world, probes, dict(zip(names, (focus for _, focus in asked), strict=True)), without)
