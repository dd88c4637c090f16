"""The replay, judged from its files by an oracle that shares no code with it."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos.simulate.generate import Group, generate
from nos.simulate.read import read
from nos.simulate.replay import larger_than_any_node, replay
from nos.simulate.result import as_json, placement_lines, summarize
from nos.simulate.trace import Node, Pod, Trace
from tests.simulate.replay_oracle import judge

POLICIES = ["nos", "fgd", "best-fit", "first-fit"]

nodes = st.tuples(
    st.sampled_from([0, 2000, 4000, 8000]),
    st.sampled_from([1024, 4096]),
    st.sampled_from([0, 1, 2, 8]),
    st.sampled_from(["A", "B", ""]),
)
pods = st.tuples(
    st.sampled_from([0, 500, 1000, 3000]),
    st.sampled_from([0, 256, 1024]),
    st.sampled_from([(0, 0), (1, 1), (1, 300), (1, 500), (1, 700), (1, 999), (1, 1000), (2, 1000), (8, 1000)]),
    st.sampled_from(["", "", "A", "A|B", "C"]),
)


def write_trace(folder: Path, nodes: list[tuple], pods: list[tuple], order: list[int]) -> tuple[Path, Path, Path]:  # type: ignore[type-arg]
    files = folder / "nodes.csv", folder / "pods.csv", folder / "order"
    lines = [f"n{i},{cpu},{mib},{gpus},{model}" for i, (cpu, mib, gpus, model) in enumerate(nodes)]
    files[0].write_text("\n".join(["sn,cpu_milli,memory_mib,gpu,model", *lines]) + "\n")
    lines = [f"p{i},{cpu},{mib},{gpus},{milli},{spec}" for i, (cpu, mib, (gpus, milli), spec) in enumerate(pods)]
    files[1].write_text("\n".join(["name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec", *lines]) + "\n")
    files[2].write_text("".join(f"{row}\n" for row in order))
    return files


@settings(max_examples=150)
@given(
    st.lists(nodes, min_size=1, max_size=5),
    st.lists(pods, min_size=1, max_size=6),
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.sampled_from(POLICIES),
)
def test_nothing_is_overcommitted_nor_refused_without_need(
    nodes: list[tuple],  # type: ignore[type-arg]
    pods: list[tuple],  # type: ignore[type-arg]
    order: list[int],
    policy: str,
) -> None:
    order = [row % len(pods) for row in order]
    with tempfile.TemporaryDirectory() as name:
        files = write_trace(Path(name), nodes, pods, order)
        replayed = replay(read(*files), policy)
        out = Path(name) / "out.csv"
        out.write_text("".join(placement_lines(replayed)))
        judged = judge(files[0], files[1], order, out)
    assert judged == {"placed": len(replayed.placements), "used_milli": replayed.used_milli}
    assert len(replayed.placements) + len(replayed.refusals) == len(order)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_generated_trace_in_every_policy(policy: str, tmp_path: Path) -> None:
    trace = generate([Group(10, 8, "H100"), Group(10, 2, "T4")], seed=7)
    tuples = [(node.cpu_milli, node.memory_mib, node.gpus, node.model) for node in trace.nodes]
    asked = [(pod.cpu_milli, pod.memory_mib, (pod.gpus, pod.gpu_milli), "|".join(pod.models)) for pod in trace.pods]
    order = list(trace.order)
    files = write_trace(tmp_path, tuples, asked, order)
    replayed = replay(trace, policy)
    out = tmp_path / "out.csv"
    out.write_text("".join(placement_lines(replayed)))
    assert judge(files[0], files[1], order, out)["used_milli"] == replayed.used_milli
    assert replayed.used_milli > 0.8 * trace.gpu_capacity_milli


def test_the_same_trace_gives_the_same_placements() -> None:
    trace = generate([Group(10, 8)], seed=1)
    assert list(placement_lines(replay(trace))) == list(placement_lines(replay(trace)))


def test_samples_do_not_change_the_placements() -> None:
    trace = generate([Group(10, 8)], seed=1)
    sampled = replay(trace, samples=True)
    assert sampled.placements == replay(trace).placements
    assert sampled.samples[0].arrivals == 0
    assert sampled.samples[-1].arrivals == len(trace.order)
    assert sampled.samples[-1].used_milli == sampled.used_milli
    assert sampled.samples[-1].requested_milli == sum(pod.total_gpu_milli for pod in trace.pods)


def test_progress_adds_up_to_all_arrivals() -> None:
    trace = generate([Group(10, 8)], count=777)
    heard: list[int] = []
    replay(trace, progress=heard.append)
    assert sum(heard) == 777


def test_summary_of_a_trace_that_fits_on_a_hand() -> None:
    # Two GPUs on a, one on b. Arrivals: a whole GPU, 600 milli, 600 milli, 3 GPUs (larger than any node), CPU only.
    trace = Trace(
        [Node("a", 8000, 8192, 2, "X"), Node("b", 8000, 8192, 1, "Y")],
        [Pod("one", 1, 1, 1, 1000), Pod("part", 1, 1, 1, 600), Pod("three", 1, 1, 3, 1000), Pod("cpu", 1, 1, 0, 0)],
        [0, 1, 1, 2, 3],
    )
    summary = summarize(replay(trace))
    assert (summary.pods, summary.placed, summary.refused) == (5, 4, 1)
    assert summary.gpu_allocated_ratio == pytest.approx(2.2 / 3)  # 1 + 0.6 + 0.6 of 3
    assert summary.gpu_requested_ratio == pytest.approx(5.2 / 3)
    assert summary.larger_than_any_node.pods == 1
    assert summary.larger_than_any_node.names == ("three",)
    assert [(share.model, share.gpus) for share in summary.by_model] == [("X", 2), ("Y", 1)]
    assert [(demand.demand, demand.pods, demand.placed) for demand in summary.by_demand] == [
        ("CPU only", 1, 1),
        ("part of a GPU", 2, 2),
        ("1 GPU", 1, 1),
        ("3 GPUs", 1, 0),
    ]
    assert summary.refused == 1


def test_json_of_one_and_of_several() -> None:
    trace = generate([Group(2, 8)], count=20)
    summaries = [summarize(replay(trace, policy)) for policy in ("nos", "fgd")]
    one = as_json(summaries[:1])
    for key in ("pods", "placed", "gpu_allocated_ratio", "fragmentation_ratio", "seconds", "decisions_per_second"):
        assert isinstance(one[key], int | float)
    assert 0 <= one["gpu_allocated_ratio"] <= 1
    assert 0 <= one["fragmentation_ratio"] <= 1
    assert [document["policy"] for document in as_json(summaries)["policies"]] == ["nos", "fgd"]


def test_no_gpu_at_all() -> None:
    summary = summarize(replay(Trace([Node("a", 1000, 1, 0)], [Pod("p", 600, 1, 0, 0)], [0, 0])))
    assert (summary.placed, summary.refused, summary.gpu_allocated_ratio, summary.fragmentation_ratio) == (1, 1, 0, 0)
    assert summary.by_model == ()


def test_larger_than_any_node_looks_at_models_too() -> None:
    trace = Trace(
        [Node("a", 8000, 8192, 2, "X"), Node("b", 1000, 8192, 4, "Y")],
        [Pod("x4", 1, 1, 4, 1000, ("X",)), Pod("y4", 1, 1, 4, 1000, ("Y",)), Pod("wide", 2000, 1, 3, 1000)],
        [0, 1, 2],
    )
    assert larger_than_any_node(trace, [0, 1, 2]) == [0, 2]
