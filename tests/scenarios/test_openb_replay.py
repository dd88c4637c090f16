"""The published "openb" trace: quality and correctness of every policy, judged from the placements."""

from pathlib import Path

import pytest

from nos.simulate.read import read
from nos.simulate.replay import Replay, replay
from nos.simulate.result import placement_lines
from tests.simulate.replay_oracle import judge

TRACE = Path(__file__).parents[3] / "shared" / "traces" / "alibaba-gpu-v2023"
NODES = TRACE / "openb_node_list_gpu_node.csv"

pytestmark = pytest.mark.skipif(not TRACE.is_dir(), reason="the trace alibaba-gpu-v2023 is not beside this checkout")


def run(pods: str, seed: int, policy: str) -> tuple[Replay, list[int]]:
    order = TRACE / "orders" / f"{pods}-s{seed}.order"
    trace = read(NODES, TRACE / f"openb_pod_list_{pods}.csv", order)
    return replay(trace, policy), [int(line) for line in order.read_text().split()]


@pytest.mark.parametrize(
    ("pods", "policy"),
    [
        ("default", "nos"),
        ("default", "fgd"),
        ("default", "best-fit"),
        ("default", "first-fit"),
        ("gpuspec20", "nos"),
        ("multigpu30", "nos"),
    ],
)
def test_nothing_is_overcommitted_nor_refused_without_need(pods: str, policy: str, tmp_path: Path) -> None:
    replayed, order = run(pods, 42, policy)
    out = tmp_path / "out.csv"
    out.write_text("".join(placement_lines(replayed)))
    judged = judge(NODES, TRACE / f"openb_pod_list_{pods}.csv", order, out)
    assert judged == {"placed": len(replayed.placements), "used_milli": replayed.used_milli}


@pytest.mark.parametrize("pods", ["default", "gpushare40", "gpushare80", "gpuspec20", "multigpu30"])
def test_nos_allocates_more_than_fgd(pods: str) -> None:
    assert run(pods, 42, "nos")[0].used_milli > run(pods, 42, "fgd")[0].used_milli
