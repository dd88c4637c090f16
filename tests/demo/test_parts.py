"""What arrives, the bound, and the pictures: without a cluster."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode
from rich.console import Console

from nos.demo import picture, summary, svg, workload
from nos.demo.board import Board, Nodes, Pods, percentile
from nos.demo.bound import Fewest, Shape, fewest
from nos.demo.view import View
from nos.demo.workload import Ask
from nos.kube.node import decode_node
from nos.kube.pod import decode_pod
from nos.testbed import nodes

DEFAULT = nodes.parse_shapes(workload.DEFAULT_NODES)
PLAIN = picture.Style(colour=False, unicode=True)


def test_the_default_workload_is_what_the_demo_promises() -> None:
    plan = workload.arrivals(DEFAULT, None, seed=1)
    sizes = Counter(arrival.ask.gpus for arrival in plan)
    assert sum(count for gpus, count in sizes.items() if gpus) > 200
    assert all(sizes[gpus] >= 10 for gpus in (0, 1, 2, 4, 8))
    assert [arrival.at for arrival in plan] == sorted(arrival.at for arrival in plan)
    assert 0 <= plan[0].at < plan[-1].at == 1
    assert len({arrival.name for arrival in plan}) == len(plan)
    asked = sum(arrival.ask.gpus for arrival in plan if arrival.name != "too-many-gpus")
    assert (
        asked <= 0.9 * sum(nodes.parse_shape(shape)[0] * count for shape, count in DEFAULT.items()) + 2
    )  # those that wait for ever


@pytest.mark.parametrize("pods", [1, 7, 500])
def test_as_many_pods_as_asked_for_and_three_that_cannot_run(pods: int) -> None:
    assert len(workload.arrivals({"2xT4": 3}, pods, seed=0)) == pods + 3


def test_one_seed_one_workload() -> None:
    assert workload.arrivals(DEFAULT, None, 3) == workload.arrivals(DEFAULT, None, 3)
    assert workload.arrivals(DEFAULT, None, 3) != workload.arrivals(DEFAULT, None, 4)


def test_the_bound_counts_gpus_cpu_and_room_for_each_size() -> None:
    eight = Shape(4, gpus=8, cpu=100, memory_gib=100)
    assert fewest([eight], []) == Fewest(0, 0)
    assert fewest([eight], [Ask(4, 1, 1)] * 3) == Fewest(2, 16)
    assert fewest([eight], [Ask(5, 1, 1)] * 3) == Fewest(3, 24)  # 15 GPUs, but one such Pod per node
    assert fewest([eight], [Ask(1, 60, 1)] * 3) == Fewest(2, 16)  # sums alone: this bound is no plan
    assert fewest([Shape(4, 4, 100, 100), eight], [Ask(1, 1, 1)] * 12) == Fewest(2, 12)
    with pytest.raises(ValueError, match="do not fit"):
        fewest([eight], [Ask(8, 1, 1)] * 5)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([2, 4, 8])), min_size=1, max_size=2),
    st.lists(st.sampled_from([1, 2, 4, 8]), max_size=5),
)
def test_no_plan_beats_the_bound(shapes: list[tuple[int, int]], sizes: list[int]) -> None:
    each = [gpus for count, gpus in shapes for _ in range(count)]
    best: tuple[int, int] | None = None
    for plan in itertools.product(range(len(each)), repeat=len(sizes)):
        load = [0] * len(each)
        for size, node in zip(sizes, plan, strict=True):
            load[node] += size
        if all(used <= has for used, has in zip(load, each, strict=True)):
            used = [has for taken, has in zip(load, each, strict=True) if taken]
            best = min(best or (99, 99), (len(used), sum(used)))
            if best[0] <= 1:
                break
    if best is not None:
        bound = fewest([Shape(c, g, 999, 999) for c, g in shapes], [Ask(size, 1, 1) for size in sizes])
        assert bound.nodes <= best[0]
        assert bound.gpus <= best[1]


def test_percentiles_by_nearest_rank() -> None:
    assert percentile([], 50) is None
    assert [percentile(range(1, 101), p) for p in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0


def filled(shapes: dict[str, int]) -> Board:
    """A Board on which every second Pod of the workload was bound, and one waits."""
    board = Board({f"{s.lower()}-{n}": nodes.parse_shape(s)[0] for s, count in shapes.items() for n in range(count)})
    seen, pods = Nodes(board), Pods(board)
    for name in board.expected:
        seen.changed(decode_node(encode({"metadata": {"name": name}})))
    for number, (name, gpus) in enumerate(board.expected.items()):
        if number % 2 or not gpus:
            continue
        board.expect(f"pod-{number}", Ask(gpus, 4, 16)).created = 0.0
        metadata = {"name": f"pod-{number}", "annotations": {"nos.nebuly.com/gpus": ",".join(map(str, range(gpus)))}}
        spec = {"nodeName": name, "schedulerName": "nos-scheduler"}
        pods.changed(decode_pod(encode({"metadata": metadata, "spec": spec})))
    board.expect("waits", Ask(1, 1, 1)).created = 0.0
    condition = {"type": "PodScheduled", "status": "False", "message": "0/77 nodes are available: " + "no room, " * 20}
    waits = {"metadata": {"name": "waits"}, "spec": {"schedulerName": "nos-scheduler"}}
    pods.changed(decode_pod(encode(waits | {"status": {"conditions": [condition]}})))
    return board


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 10), (20, 3)])
def test_the_view_fits_the_terminal(width: int, height: int) -> None:
    board = filled(DEFAULT)
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    lines = console.render_lines(View(board, 300, PLAIN), console.options.update(width=width, height=height), pad=False)
    texts = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert len([text for text in texts if text]) <= height
    assert all(len(text) <= width for text in texts)
    if (width, height) == (80, 24):
        whole = "\n".join(texts[:24])
        for part in ("cpu-0", "8xh100-35", "Last decisions", "waits  0/77", "GPUs  252 of 504"):
            assert part in whole
        assert "more rows" not in whole


def test_a_deleted_pod_leaves_its_gpus() -> None:
    board = filled({"2xT4": 1})
    assert board.gpus_in_use == 2
    assert board.nodes["2xt4-0"].cells == [2, 2]
    Pods(board).deleted(decode_pod(encode({"metadata": {"name": "pod-0"}, "spec": {}})))
    assert board.gpus_in_use == 0


def test_gpu_ranges() -> None:
    assert picture.ranges((5, 0, 1, 2)) == "0-2,5"
    assert picture.ranges((3,)) == "3"


def test_the_summary_in_a_pipe_is_plain_and_unpadded() -> None:
    out = io.StringIO()
    summary.show(Console(file=out), filled(DEFAULT), DEFAULT, PLAIN)
    assert "\x1b" not in out.getvalue()
    assert not any(line.endswith(" ") for line in out.getvalue().splitlines())
    assert "252 of 504; 252 on the 35 nodes in use, which is the fewest possible" in out.getvalue()


def test_the_svg_needs_no_network(tmp_path: Path) -> None:
    svg.write(tmp_path / "demo.svg", filled(DEFAULT), DEFAULT)
    drawn = (tmp_path / "demo.svg").read_text()
    assert drawn.startswith("<svg")
    assert "url(http" not in drawn
    assert "8xh100-35" in drawn
