"""What the nodes for a day cost: nos, and Cluster Autoscaler's rules re-implemented (benchmarks/scaling_day.py)."""

from __future__ import annotations

import pytest
from benchmarks.scaling_day import Day, run
from benchmarks.scaling_day_arrivals import TRACE, Arrival, mig_mix, serving
from benchmarks.scaling_day_planners import SHAPES, LeastWaste, Nos, Shape

SMALL, LARGE = SHAPES, [shape for shape in SHAPES if shape.gpus == 8]  # all machines, and only those of eight GPUs


def both(title: str, arrivals: list[Arrival], shapes: list[Shape]) -> dict[str, Day]:
    days = {"nos": run(arrivals, Nos(shapes)), "least waste": run(arrivals, LeastWaste(shapes))}
    for name, day in days.items():
        print(
            f"\n{title}: {name}: ${day.dollars:,.0f}, {len(day.machines)} nodes made, a Pod waited "
            f"{day.waited_s / max(1, day.pods):.0f} s, {day.moves} moves",
            end="",
        )
    assert days["nos"].hasty == 0
    assert days["nos"].stranded == 0
    return days


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("machines", "shapes"), [("all machines", SMALL), ("8 GPUs only", LARGE)])
def test_a_day_of_slices_is_at_least_a_tenth_cheaper(seed: int, machines: str, shapes: list[Shape]) -> None:
    days = both(f"MIG mix {seed}, {machines}", list(mig_mix(seed, load=12)), shapes)
    assert days["nos"].dollars <= 0.9 * days["least waste"].dollars


@pytest.mark.parametrize("day", [3, 10, 17, 20])
def test_a_day_of_whole_gpus_is_never_costlier(day: int) -> None:
    if not TRACE.exists():
        pytest.skip(f"no trace: {TRACE} is missing")
    days = both(f"Alibaba 2025, day {day}", list(serving(TRACE, day, every=20)), list(SMALL))
    assert days["nos"].dollars <= days["least waste"].dollars
