"""The replay itself: every arrival is one upsert and one decision, as with a controller that never waits.

Only deciding is timed. What can be done before (names, specs) is, and what can be read later (placements) is, between
stretches of arrivals, where the samples for the report are taken too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

from nos._core import Bind, Cluster, NodeSpec, PodSpec, Policy, Requirement, Scheduler, SelectorTerm
from nos.simulate.trace import WHOLE_GPU, Node, Pod, Trace

_GPU = "nvidia.com/gpu"
_MODEL_LABEL = "nvidia.com/gpu.product"
_PODS_PER_NODE = 1_000_000  # traces know no limit
_MIB = 1 << 20
_STRETCHES = 200


@dataclass(frozen=True, slots=True)
class Placement:
    """The Pod that arrived at a position of the order runs on a node, on some of its GPUs."""

    position: int
    node: int
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stood after some arrivals; requested is the GPU asked for until then."""

    arrivals: int
    requested_milli: int
    used_milli: int
    fragmentation_ratio: float


@dataclass(frozen=True, slots=True)
class Replay:
    """What one policy made of a trace."""

    trace: Trace
    policy: str
    seconds: float  # deciding alone
    placements: Sequence[Placement]
    refusals: Sequence[int]  # positions of the Pods that fitted nowhere
    samples: Sequence[Sample]  # empty unless asked for
    used_milli: int
    fragmentation_ratio: float


def replay(
    trace: Trace,
    policy: str = "nos",
    *,
    samples: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Replay:
    """Let the Pods of the trace arrive in their order; progress hears, now and then, how many more were decided."""
    cluster = Cluster()
    for node in trace.nodes:
        cluster.upsert_node(node.name, _node_spec(node))
    if policy == "fgd":  # as published: it knows the whole list's distribution before the first Pod arrives
        for pod in trace.pods:
            cluster.expect(_pod_spec(pod))
    scheduler = Scheduler(cluster, Policy(policy))
    arrivals = _arrivals(trace)
    node_index = {node.name: index for index, node in enumerate(trace.nodes)}
    placements: list[Placement] = []
    refusals: list[int] = []
    taken = [_sample(cluster, scheduler, 0, 0)] if samples else []
    seconds = 0.0
    requested = 0
    for begin, end in _stretches(len(arrivals)):
        took, binds = _decide(cluster, scheduler, arrivals[begin:end])
        seconds += took
        for position, bind in enumerate(binds, begin):
            if bind:
                placements.append(Placement(position, node_index[bind.node], tuple(bind.gpus)))
            else:
                refusals.append(position)
        if samples:
            requested += sum(trace.pods[row].total_gpu_milli for row in trace.order[begin:end])
            taken.append(_sample(cluster, scheduler, end, requested))
        progress(end - begin)
    return Replay(
        trace,
        policy,
        seconds,
        placements,
        refusals,
        taken,
        cluster.gpu_used_milli,
        scheduler.fragmentation_ratio(),
    )


def larger_than_any_node(trace: Trace, rows: Sequence[int]) -> list[int]:
    """Those of the given Pods that do not even fit an empty node of this trace."""
    empty = Cluster()
    shapes = {(node.cpu_milli, node.memory_mib, node.gpus, node.model): node for node in trace.nodes}
    for node in shapes.values():
        empty.upsert_node(node.name, _node_spec(node))
    scheduler = Scheduler(empty)
    fits: dict[PodSpec, bool] = {}
    larger = []
    for row in rows:
        spec = _pod_spec(trace.pods[row])
        if spec not in fits:
            fits[spec] = bool(scheduler.feasible(spec))
        if not fits[spec]:
            larger.append(row)
    return larger


def _decide(
    cluster: Cluster, scheduler: Scheduler, arrivals: Sequence[tuple[str, PodSpec]]
) -> tuple[float, list[Bind | None]]:
    upsert, place = cluster.upsert_pod, scheduler.place
    binds = []
    begin = perf_counter()
    for uid, spec in arrivals:
        upsert(uid, spec)
        bind = place(uid)
        if bind is None:
            cluster.remove_pod(uid)
        binds.append(bind)
    return perf_counter() - begin, binds


def _arrivals(trace: Trace) -> list[tuple[str, PodSpec]]:
    """A uid and a spec per arrival. Equal Pods share a spec."""
    by_content: dict[PodSpec, PodSpec] = {}
    specs: dict[int, PodSpec] = {}
    for row in set(trace.order):
        spec = _pod_spec(trace.pods[row])
        specs[row] = by_content.setdefault(spec, spec)
    return [(str(position), specs[row]) for position, row in enumerate(trace.order)]


def _stretches(arrivals: int) -> Iterator[tuple[int, int]]:
    """The arrivals in stretches of nearly equal length."""
    count = min(_STRETCHES, arrivals)
    bounds = [arrivals * number // count for number in range(count + 1)]
    yield from pairwise(bounds)


def _sample(cluster: Cluster, scheduler: Scheduler, arrivals: int, requested: int) -> Sample:
    return Sample(arrivals, requested, cluster.gpu_used_milli, scheduler.fragmentation_ratio())


def _node_spec(node: Node) -> NodeSpec:
    return NodeSpec(
        {"cpu": node.cpu_milli, "memory": node.memory_mib * _MIB, _GPU: node.gpus, "pods": _PODS_PER_NODE},
        labels={_MODEL_LABEL: node.model} if node.model else {},
    )


def _pod_spec(pod: Pod) -> PodSpec:
    requests = {"cpu": pod.cpu_milli, "memory": pod.memory_mib * _MIB}
    shared = pod.gpus == 1 and pod.gpu_milli < WHOLE_GPU
    if pod.gpus and not shared:
        requests[_GPU] = pod.gpus
    return PodSpec(
        requests,
        gpu_share_milli=pod.gpu_milli if shared else 0,
        affinity=[SelectorTerm([Requirement(_MODEL_LABEL, "In", pod.models)])] if pod.models else None,
    )
