"""What a replay comes to: the summary (JSON, terminal) and the list of placements (CSV)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nos.simulate.replay import Replay, larger_than_any_node
from nos.simulate.trace import WHOLE_GPU

_MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Share:
    """One GPU model, and how much of it is allocated."""

    model: str
    nodes: int
    gpus: int
    allocated_ratio: float


@dataclass(frozen=True, slots=True)
class Demand:
    """One class of Pods by what they ask of GPUs: how many arrived, and how many were placed."""

    demand: str
    pods: int
    placed: int


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Pods that not even an empty node of the trace could take: how many arrivals, and the first names."""

    pods: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one replay. Ratios are of the GPU capacity, but fragmentation_ratio is of the free GPU."""

    policy: str
    nodes: int
    gpus: int
    pods: int
    placed: int
    refused: int
    gpu_requested_ratio: float
    gpu_allocated_ratio: float
    fragmentation_ratio: float
    seconds: float
    decisions_per_second: float
    by_model: tuple[Share, ...]
    by_demand: tuple[Demand, ...]
    larger_than_any_node: TooLarge


def summarize(replay: Replay) -> Summary:
    """The figures of a replay."""
    trace = replay.trace
    capacity = trace.gpu_capacity_milli
    requested = sum(trace.pods[row].total_gpu_milli for row in trace.order)
    refused_rows = [trace.order[position] for position in replay.refusals]
    larger = larger_than_any_node(trace, refused_rows)
    names = list(dict.fromkeys(trace.pods[row].name for row in larger))
    return Summary(
        policy=replay.policy,
        nodes=len(trace.nodes),
        gpus=capacity // WHOLE_GPU,
        pods=len(trace.order),
        placed=len(replay.placements),
        refused=len(replay.refusals),
        gpu_requested_ratio=ratio(requested, capacity),
        gpu_allocated_ratio=ratio(replay.used_milli, capacity),
        fragmentation_ratio=replay.fragmentation_ratio,
        seconds=replay.seconds,
        decisions_per_second=len(trace.order) / replay.seconds if replay.seconds else 0.0,
        by_model=_by_model(replay),
        by_demand=_by_demand(replay),
        larger_than_any_node=TooLarge(len(larger), tuple(names[:_MOST_NAMES])),
    )


def as_json(summaries: Sequence[Summary]) -> dict[str, Any]:
    """One summary as it is; several below "policies"."""
    documents = [asdict(summary) for summary in summaries]
    return documents[0] if len(documents) == 1 else {"policies": documents}


def placement_lines(replay: Replay) -> Iterator[str]:
    """A line pod_index,node_index,gpu_indices per placed Pod; pod_index is the position in the order."""
    for placement in replay.placements:
        yield f"{placement.position},{placement.node},{'-'.join(map(str, placement.gpus))}\n"


def ratio(part: int, whole: int) -> float:
    """part / whole; 0 of nothing."""
    return part / whole if whole else 0.0


def _by_model(replay: Replay) -> tuple[Share, ...]:
    """Models in order of their GPUs, most first."""
    trace = replay.trace
    nodes = Counter(node.model for node in trace.nodes if node.gpus)
    gpus: Counter[str] = Counter()
    for node in trace.nodes:
        gpus[node.model] += node.gpus
    used: Counter[str] = Counter()
    for placement in replay.placements:
        pod = trace.pods[trace.order[placement.position]]
        used[trace.nodes[placement.node].model] += pod.total_gpu_milli
    return tuple(
        Share(model or "unknown", nodes[model], count, ratio(used[model], count * WHOLE_GPU))
        for model, count in sorted(gpus.items(), key=lambda item: (-item[1], item[0]))
        if count
    )


def _by_demand(replay: Replay) -> tuple[Demand, ...]:
    trace = replay.trace
    pods = Counter(trace.pods[row].demand for row in trace.order)
    placed = Counter(trace.pods[trace.order[placement.position]].demand for placement in replay.placements)
    return tuple(Demand(demand[1], pods[demand], placed[demand]) for demand in sorted(pods))
