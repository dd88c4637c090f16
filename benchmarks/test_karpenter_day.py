"""What the nodes of a day cost: nos, the real Karpenter, and Cluster Autoscaler's rules (benchmarks/karpenter_day.py).

Half an hour, most of which Karpenter waits. `pytest -s` shows the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from benchmarks.karpenter_day import KarpenterDay, running
from benchmarks.scaling_day_arrivals import TRACE, mig_mix, serving
from benchmarks.scaling_day_planners import MICRO, SHAPES, LeastWaste, Nos
from benchmarks.scaling_day_steps import Settled, Step, cut, settle


@pytest.fixture
def karpenter() -> Iterator[KarpenterDay]:
    with running(SHAPES) as day:
        yield day


def everybody(title: str, karpenter: KarpenterDay, steps: Sequence[Step]) -> dict[str, Settled]:
    """The same Pods for each, and everybody places all of them."""
    days = {
        "nos": settle(steps, Nos(SHAPES, longest_boot=0.0)),  # they boot at once here
        "Karpenter 1.14.1": karpenter.run(steps),
        "least waste": settle(steps, LeastWaste(SHAPES)),
    }
    print(f"\n{title}, {len(steps)} steps, up to {max(len(step.pods) for step in steps)} Pods at once")
    for name, day in days.items():
        print(f"{name:<17}{day.dollars_per_hour:>8.2f} $/h {day.made:>4} nodes made {day.moves:>4} moves")
        print(" " * 17 + " ".join(f"{price / MICRO:.0f}" for price in day.prices))
    return days


@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_of_slices_is_at_least_a_tenth_cheaper(karpenter: KarpenterDay, seed: int) -> None:
    days = everybody(f"MIG mix {seed}", karpenter, cut(mig_mix(seed, load=36), 12))
    cost = {name: day.dollars_per_hour for name, day in days.items()}
    assert cost["nos"] <= 0.9 * cost["Karpenter 1.14.1"]
    assert cost["nos"] <= 0.9 * cost["least waste"]


def test_a_day_of_whole_gpus_is_never_costlier(karpenter: KarpenterDay) -> None:
    if not TRACE.exists():
        pytest.skip(f"no trace: {TRACE} is missing")
    days = everybody("Alibaba 2025", karpenter, cut(serving(TRACE, day=20, every=40), 12))
    cost = {name: day.dollars_per_hour for name, day in days.items()}
    assert cost["nos"] <= cost["Karpenter 1.14.1"]
    assert cost["nos"] <= cost["least waste"]
