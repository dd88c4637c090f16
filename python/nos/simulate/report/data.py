"""What the report draws, as values for JSON: the course of each replay, and how full each node is at the end."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from nos.simulate.replay import Replay
from nos.simulate.result import Summary, ratio
from nos.simulate.trace import WHOLE_GPU, Node, Pod, Trace

_MOST_GPUS_DRAWN = 120_000  # more would be a picture of several megabytes that no screen shows
_MOST_BARS = 16  # of one node; more GPUs than that share bars
_MOST_MODELS = 12

Need = tuple[int, int, int, int, tuple[str, ...]]  # GPUs, milli-GPU of each, milli-CPU, MiB, models


def report_data(replays: Sequence[Replay], summaries: Sequence[Summary]) -> dict[str, Any]:
    """All that the scripts of the page read. Replays are of one trace, in the order of the summaries."""
    trace = replays[0].trace
    drawn = _drawn_nodes(trace)
    models = [share.model for share in summaries[0].by_model]
    needs = _smallest_needs(trace)
    return {
        "models": models[:_MOST_MODELS],
        "nodes": {
            "name": [trace.nodes[index].name for index in drawn],
            "model": [models.index(trace.nodes[index].model or "unknown") for index in drawn],
            "gpus": [trace.nodes[index].gpus for index in drawn],
            "notDrawn": sum(1 for node in trace.nodes if node.gpus) - len(drawn),
            "withoutGpu": sum(1 for node in trace.nodes if not node.gpus),
        },
        "modelNames": models,
        "policies": [
            {
                "name": replay.policy,
                "course": _course(replay),
                "courseOfModel": [_course_of_model(replay, model) for model in models[:_MOST_MODELS]],
                "allocatedOfModel": [_percent(share.allocated_ratio) for share in summary.by_model],
                "refused": [
                    {"demand": demand.demand, "pods": demand.pods, "refused": demand.pods - demand.placed}
                    for demand in summary.by_demand
                ],
                "nodes": _final_nodes(replay, drawn, needs),
            }
            for replay, summary in zip(replays, summaries, strict=True)
        ],
        "gpusOfModel": [share.gpus for share in summaries[0].by_model],
    }


def _course(replay: Replay) -> list[list[float]]:
    """Per sample: arrivals, and in percent GPU requested and allocated (of the capacity), fragmented (of the free)."""
    capacity = replay.trace.gpu_capacity_milli
    return [
        [
            sample.arrivals,
            _percent(ratio(sample.requested_milli, capacity)),
            _percent(ratio(sample.used_milli, capacity)),
            _percent(sample.fragmentation_ratio),
        ]
        for sample in replay.samples
    ]


def _course_of_model(replay: Replay, model: str) -> list[float]:
    """Per sample, how much of a model's GPUs is allocated, in percent."""
    trace = replay.trace
    capacity = sum(node.gpus for node in trace.nodes if (node.model or "unknown") == model) * WHOLE_GPU
    course = []
    used = 0
    placements = iter(replay.placements)
    following = next(placements, None)
    for sample in replay.samples:
        while following and following.position < sample.arrivals:
            if (trace.nodes[following.node].model or "unknown") == model:
                used += trace.pods[trace.order[following.position]].total_gpu_milli
            following = next(placements, None)
        course.append(_percent(ratio(used, capacity)))
    return course


def _drawn_nodes(trace: Trace) -> list[int]:
    drawn = []
    gpus = 0
    for index, node in enumerate(trace.nodes):
        if node.gpus and gpus + node.gpus <= _MOST_GPUS_DRAWN:
            drawn.append(index)
            gpus += node.gpus
    return drawn


def _final_nodes(replay: Replay, drawn: Sequence[int], needs: Sequence[Need]) -> dict[str, list[Any]]:
    """Per drawn node: milli-GPU used per bar, free milli-CPU and MiB, and whether its free GPU is stranded."""
    trace = replay.trace
    cpu: Counter[int] = Counter()
    memory: Counter[int] = Counter()
    used: dict[int, list[int]] = {index: [0] * trace.nodes[index].gpus for index in drawn}
    for placement in replay.placements:
        pod = trace.pods[trace.order[placement.position]]
        cpu[placement.node] += pod.cpu_milli
        memory[placement.node] += pod.memory_mib
        if placement.node in used:
            for gpu in placement.gpus:
                used[placement.node][gpu] += pod.gpu_milli
    free = [(trace.nodes[i].cpu_milli - cpu[i], trace.nodes[i].memory_mib - memory[i]) for i in drawn]
    return {
        "bars": [_bars(used[index]) for index in drawn],
        "cpu": [milli for milli, _ in free],
        "memory": [mib for _, mib in free],
        "stranded": [
            int(_stranded(trace.nodes[index], used[index], *rest, needs))
            for index, rest in zip(drawn, free, strict=True)
        ],
    }


def _bars(used: Sequence[int]) -> list[int]:
    """A bar per GPU; of a node with very many, a bar for the mean of several."""
    if len(used) <= _MOST_BARS:
        return list(used)
    bounds = [len(used) * bar // _MOST_BARS for bar in range(_MOST_BARS + 1)]
    return [sum(used[a:b]) // (b - a) for a, b in pairwise(bounds)]


def _stranded(node: Node, used: Sequence[int], cpu: int, memory: int, needs: Iterable[Need]) -> bool:
    """Whether GPU is free here that no Pod of the trace could take."""
    if all(milli == WHOLE_GPU for milli in used):
        return False
    most_free = WHOLE_GPU - min(used)
    whole = used.count(0)
    return not any(
        need_cpu <= cpu
        and need_memory <= memory
        and (milli <= most_free if milli < WHOLE_GPU else gpus <= whole)
        and (not models or node.model in models)
        for gpus, milli, need_cpu, need_memory, models in needs
    )


def _smallest_needs(trace: Trace) -> list[Need]:
    """What the GPU Pods of the trace ask for, without those that ask for no less than another of the same models."""
    asked = {_need(pod) for pod in (trace.pods[row] for row in set(trace.order)) if pod.gpus}
    smallest: list[Need] = []
    for need in sorted(asked, key=lambda need: (need[4], *need[:4])):
        if not any(
            other[4] == need[4] and all(a <= b for a, b in zip(other[:4], need[:4], strict=True)) for other in smallest
        ):
            smallest.append(need)
    return smallest


def _need(pod: Pod) -> Need:
    return pod.gpus, pod.gpu_milli, pod.cpu_milli, pod.memory_mib, pod.models


def _percent(part: float) -> float:
    return round(100 * part, 3)
