"""nos refuses fewer MIG slices than first-fit and best-fit, over mixes and loads, with nothing moved.

pytest benchmarks/test_mig_churn.py -s
"""

from __future__ import annotations

from mig_churn import Baseline, Nos, arrivals, refused_units
from nos.mig import find

GPUS = 100
SEEDS = (1, 2, 3)
PROFILES = ("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")
MIXES = {
    "uniform": (1 / 6,) * 6,
    "small-heavy": (0.5, 0.1, 0.2, 0.1, 0.05, 0.05),
    "mid": (0.3, 0.0, 0.3, 0.3, 0.0, 0.1),
    "no whole": (0.35, 0.1, 0.25, 0.2, 0.1, 0.0),
}
END, WARM = 30.0, 2.0


def test_fewer_refusals_under_churn() -> None:
    model = find("a100-40gb")
    assert model is not None
    profiles = [next(p for p in model.profiles if p.name == name) for name in PROFILES]
    against_first, against_best = [], []
    print("\nunits refused, %                 first-fit  best-fit    nos")
    for mix_name, mix in MIXES.items():
        for load in (0.85, 1.0):
            parts = []
            for policy in ("first", "best", "nos"):
                refused = offered = 0
                for seed in SEEDS:
                    made = Nos(model, GPUS) if policy == "nos" else Baseline(model, GPUS, policy == "best")
                    coming = list(arrivals(profiles, mix, load, GPUS, model.units, END, seed))
                    more_refused, more_offered = refused_units(made, coming, WARM)
                    refused, offered = refused + more_refused, offered + more_offered
                parts.append(refused / offered)
            first, best, nos = parts
            against_first.append(nos / first)
            against_best.append(nos / best)
            print(f"  {mix_name:12} at {load:4.0%} of all units {first:9.2%} {best:9.2%} {nos:6.2%}")
            assert nos <= best, "worse than best-fit"
    print(f"  nos / first-fit {sum(against_first) / 8:.3f} (to reach: 0.75)")
    print(f"  nos / best-fit {sum(against_best) / 8:.3f} (to reach: 0.90)")
    assert sum(against_first) / 8 <= 0.75
    assert sum(against_best) / 8 <= 0.90
