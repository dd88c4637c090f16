"""The bound on clusters so small that every way to place their Pods can be tried: never below the best of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest

from packing_bound import bound_of, main
from packing_trace import Gate, NodeType, PodClass, Replay, commonest_shared, fits

Node = tuple[NodeType, int, int, tuple[int, ...]]  # with the CPU, the memory and the GPUs that are free
NOTHING_GIVEN = (0.0, 1)


def replay_of(nodes: Sequence[NodeType], pods: Sequence[PodClass]) -> Replay:
    """These Pods arriving in this order."""
    types, classes = sorted(set(nodes)), sorted(set(pods))
    milli = np.array([pod.gpus * pod.milli for pod in pods], dtype=np.int64)
    return Replay(
        types,
        [nodes.count(node) for node in types],
        classes,
        np.array([classes.index(pod) for pod in pods], dtype=np.int64),
        np.cumsum(milli) - milli,
        1000 * sum(node.gpus for node in nodes),
    )


def best(nodes: Sequence[NodeType], pods: Sequence[PodClass]) -> int:
    """The most milli-GPU that a policy can end with that places every Pod that fits: all its choices, tried."""
    seen: dict[tuple[int, tuple[Node, ...]], int] = {}

    def most(position: int, state: tuple[Node, ...]) -> int:
        if position == len(pods):
            return 0
        if (position, state) not in seen:
            pod = pods[position]
            following = {tuple(sorted(after)) for after in _placements(state, pod)}
            placed = [pod.gpus * pod.milli + most(position + 1, after) for after in following]
            seen[position, state] = max(placed) if placed else most(position + 1, state)
        return seen[position, state]

    return most(0, tuple(sorted((node, node.cpu, node.memory, (1000,) * node.gpus) for node in nodes)))


def _placements(state: tuple[Node, ...], pod: PodClass) -> Iterator[list[Node]]:
    for i, (node, cpu, memory, gpus) in enumerate(state):
        if not fits(pod, node) or cpu < pod.cpu or memory < pod.memory:
            continue
        room = [slot for slot, free in enumerate(gpus) if free >= pod.milli]
        for chosen in combinations(room, pod.gpus):
            left = sorted(free - pod.milli * (slot in chosen) for slot, free in enumerate(gpus))
            yield [*state[:i], (node, cpu - pod.cpu, memory - pod.memory, tuple(left)), *state[i + 1 :]]


def bound(nodes: Sequence[NodeType], pods: Sequence[PodClass], gate: Gate | None = None) -> float:
    replay = replay_of(nodes, pods)
    return bound_of(replay, gate or commonest_shared(replay), NOTHING_GIVEN, 0.0101, 300).bound


ONE, TWO = NodeType(8000, 8192, 1, "T4"), NodeType(8000, 8192, 2, "T4")
BIG, HALF, WHOLE = PodClass(1, 600, 1000, 0, ""), PodClass(1, 500, 1000, 0, ""), PodClass(1, 1000, 1000, 0, "")


@pytest.mark.parametrize(
    ("nodes", "pods", "answer"),
    [
        ([ONE, ONE], [BIG] * 4, 0.6),  # two of 600 milli share no GPU
        ([ONE], [HALF] * 3, 1.0),
        ([ONE], [PodClass(1, 510, 1000, 0, ""), HALF], 0.51),  # the first closes the GPU to the second
        ([TWO], [BIG, PodClass(1, 400, 1000, 0, ""), WHOLE, HALF], 1.0),  # 600 + 400 beside a whole one
        ([ONE], [PodClass(1, 300, 4000, 0, "")] * 3, 0.6),  # the third finds a GPU and no CPU
        ([ONE], [PodClass(1, 300, 0, 4096, "")] * 3, 0.6),  # and no memory
    ],
)
def test_by_hand(nodes: list[NodeType], pods: list[PodClass], answer: float) -> None:
    assert best(nodes, pods) == answer * 1000 * sum(node.gpus for node in nodes)
    assert bound(nodes, pods) == pytest.approx(answer, abs=2e-6)


def test_who_must_take_what_fits_cannot_wait_for_better() -> None:
    # Seven Pods without a GPU leave one CPU: for one of the shared ones. Whoever may refuse takes eight of those.
    pods = [PodClass(0, 0, 1000, 0, "")] * 7 + [PodClass(1, 100, 1000, 0, "")] * 10
    assert best([ONE], pods) == 100
    assert bound([ONE], pods) == pytest.approx(0.1, abs=2e-6)
    assert best([ONE], pods[::-1]) == 800
    assert bound([ONE], pods[::-1]) == pytest.approx(0.8, abs=2e-6)


def test_models() -> None:
    nodes, pods = [ONE, NodeType(8000, 8192, 1, "A10")], [PodClass(1, 500, 1000, 0, "A10")] * 4
    assert best(nodes, pods) == 1000
    assert bound(nodes, pods, Gate(500, 1000, 0)) == pytest.approx(0.5, abs=2e-6)
    with pytest.raises(ValueError, match="--gate"):
        bound(nodes, pods)


@pytest.mark.parametrize("seed", range(40))
def test_never_below_the_best_that_can_be_done(seed: int) -> None:
    random = Random(seed)
    nodes = [
        NodeType(random.choice((4000, 8000)), 8192, random.choice((1, 2)), random.choice(("T4", "A10")))
        for _ in range(random.choice((1, 2, 3)))
    ]
    kinds = [
        PodClass(
            1, random.choice((100, 250, 400, 600, 700)), random.choice((0, 1000, 3000)), random.choice((0, 3072)), ""
        )
        for _ in range(2)
    ]
    kinds += [
        PodClass(random.choice((1, 2)), 1000, random.choice((1000, 5000)), 1024, random.choice(("", "", "A10"))),
        PodClass(0, 0, 2000, 1024, ""),
    ]
    pods = [*random.choices(kinds, k=9), kinds[0]]  # one at least that can be the gate
    most = best(nodes, pods) / (1000 * sum(node.gpus for node in nodes))
    assert most <= bound(nodes, pods) <= 1 + 1e-6


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "openb_node_list_gpu_node.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nn0,8000,8192,1,T4\n")
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
    (tmp_path / "openb_pod_list_default.csv").write_text(f"{header}p0,1000,0,1,600,\n")
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "default-s42.order").write_text("0\n0\n")
    achieved, bounds = tmp_path / "achieved.json", tmp_path / "bounds.json"
    achieved.write_text(json.dumps({"default": {"42": 0.5}}))
    arguments = ["--traces", str(tmp_path), "--lists", "default", "--given", "0", "--achieved", str(achieved)]
    assert main([*arguments, "--json", str(bounds)]) == 0
    assert json.loads(bounds.read_text())["default"]["42"] == pytest.approx(0.6, abs=2e-6)
    assert "50.0000%" in capsys.readouterr().out
    assert main([*arguments[:2], "--lists", "other"]) == 1
    assert "openb_pod_list_other.csv" in capsys.readouterr().err
