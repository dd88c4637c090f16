"""Upper bound on the GPU fraction that the openb replay can end with, for policies that refuse no Pod that fits.

The replay: Pods arrive in the order of orders/LIST-sSEED.order (about 130 % of the GPU capacity), no Pod leaves, a
refused Pod never comes back. The bound knows the future; a policy does not, so it need not be attainable.

What is assumed. Of the Pods that arrive before arrivals reach --given (0.9) of the GPU capacity, those that ask for at
most --given-max-gpus (1) GPUs are all placed. This is a premise, not a theorem: a policy that never refuses a Pod that
fits can still fail to place one of them, because by then it does not fit (a plain best fit refuses Pods of 8 GPUs from
0.875 on, and on gpushare80 single-GPU Pods from 0.896 on). For such a run put --given below its first refusal.
--given 0 assumes nothing: only the gate below forces Pods in, and the bound holds for every policy that never refuses
a Pod that fits.

Why it is valid.
* Pattern LP. Per node type (equal CPU, memory, GPU count, model) a GPU carries a pattern: sizes that sum to at most
  1000 milli; a whole GPU is the size 1000. Pods of a class (GPUs, milli, CPU, memory, gpu_spec) on a type need pattern
  slots of their size; their CPU and memory sum to at most that of all nodes of the type. Every real packing satisfies
  this with integers; the LP allows fractions and pools CPU and memory per type, so its maximum is no smaller.
* Gate. Take one request e, by default the commonest shared class without gpu_spec. Room only shrinks, so there is one
  moment t at which e stops fitting anywhere. Before t every Pod that needs no more than e in everything fits, so it was
  placed. From t on every node is closed to e: its GPUs each have less than e's milli free ("gpu"), or its free CPU
  ("cpu") or memory ("memory") is less than e's. The LP splits each type into these three kinds; patterns have Pods from
  before and after t; Pods from before must close the node, later ones must fit what a closed node has left.
  t is unknown: its range is cut into intervals [a, b); in one, Pods before a are forced, Pods before b count as early,
  both of which only relax. The bound is the largest over intervals; the one on top is halved until it is narrow.
* Arithmetic. The printed number is not the LP solver's. Its duals are rounded to integers and put into the Lagrangian
  function, which bounds the LP from above for any multipliers; each class takes its best node type, each GPU its best
  pattern (exact dynamic programme), each type its best kind, all in exact integers. Stopping column generation early
  (--rounds) only loosens it.

    python benchmarks/packing_bound.py --lists default --seeds 42 --achieved FILE    (pytest benchmarks --achieved FILE)
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from itertools import pairwise
from pathlib import Path

from packing_lp import Interval, Pattern, PatternLP
from packing_trace import DEFAULT_TRACES, LISTS, Gate, Replay, commonest_shared, load

FIRST_CUTS = (0.0, 0.8, 0.88, 0.9, 0.91, 0.94, 0.95, 1.0, 1.1)


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<100}", end="\r" if not text else "", file=sys.stderr, flush=True)


def bound_of(replay: Replay, gate: Gate, given: tuple[float, int], width: float, rounds: int) -> Interval:
    """The interval with the largest bound; all others are no larger."""
    patterns: dict[bool, set[Pattern]] = {False: set(), True: set()}
    end = (int(replay.before[-1]) + 8000 + 1) / replay.capacity
    progress("without the gate")
    top = Interval(0.0, math.inf)
    top.bound = PatternLP(replay, gate, top, given, patterns).bound(0.0, rounds)
    todo = [Interval(a, b, top.bound) for a, b in pairwise([*(cut for cut in FIRST_CUTS if cut < end), end, math.inf])]
    todo.sort(key=lambda part: part.end - part.start)
    done: list[Interval] = []
    floor = 0.0  # the answer is at least the bound of any interval that is not cut further
    while True:
        for part in todo:
            if part.bound > floor:
                progress(f"{part.bound:.4%} at most; gate closes in {part.start:.3f}..{part.end:.3f}")
                part.bound = min(part.bound, PatternLP(replay, gate, part, given, patterns).bound(floor, rounds))
            if part.end - part.start <= width:
                floor = max(floor, part.bound)
        done = sorted(done + todo, key=lambda part: part.bound)
        top = done.pop()
        if not math.isfinite(top.end) or top.end - top.start <= width or top.bound <= floor:
            progress("")
            return Interval(top.start, top.end, max(floor, top.bound))
        middle = (top.start + top.end) / 2
        todo = [Interval(top.start, middle, top.bound), Interval(middle, top.end, top.bound)]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--traces", type=Path, default=DEFAULT_TRACES, help="folder of the openb trace")
    parser.add_argument("--lists", default=",".join(LISTS), help="comma-separated Pod lists")
    parser.add_argument("--seeds", default="42", help="comma-separated seeds of the orders")
    parser.add_argument("--given", type=float, default=0.9, help="arrivals, of the capacity, that must all be placed")
    parser.add_argument("--given-max-gpus", type=int, default=1, help="of these, only Pods with at most so many GPUs")
    parser.add_argument("--gate", help="milli,cpu_milli,memory_mib; default: the commonest shared class")
    parser.add_argument("--width", type=float, default=0.0101, help="narrowest interval of the gate's closing")
    parser.add_argument("--rounds", type=int, default=300, help="most rounds of column generation per interval")
    parser.add_argument("--json", type=Path, help="write the bounds here")
    parser.add_argument("--achieved", type=Path, help='JSON such as {"default": {"42": 0.959}}')
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    achieved = json.loads(options.achieved.read_text()) if options.achieved else {}
    bounds: dict[str, dict[str, float]] = {}
    print(f"{'list':<12} {'seed':>4} {'bound':>8} {'achieved':>9} {'distance':>9} {'gate closes':>14} {'seconds':>8}")
    for list_name in options.lists.split(","):
        for seed in options.seeds.split(","):
            start = time.monotonic()
            replay = load(options.traces, list_name, seed)
            gate = Gate(*map(int, options.gate.split(","))) if options.gate else commonest_shared(replay)
            given = (options.given, options.given_max_gpus)
            top = bound_of(replay, gate, given, options.width, options.rounds)
            bounds.setdefault(list_name, {})[seed] = top.bound
            reached = achieved.get(list_name, {}).get(seed)
            shown = ("-", "-") if reached is None else (f"{reached:.4%}", f"{top.bound - reached:.4%}")
            closes = f"{top.start:.3f}..{top.end:.3f}" if math.isfinite(top.end) else "-"
            print(
                f"{list_name:<12} {seed:>4} {top.bound:>8.4%} {shown[0]:>9} {shown[1]:>9} {closes:>14}"
                f" {time.monotonic() - start:>8.1f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(bounds, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    try:
        run(parse(arguments))
    except FileNotFoundError as error:
        print(f"no file {error.filename}: give the folder with --traces, or check --lists and --seeds", file=sys.stderr)
    except (OSError, ValueError, KeyError) as error:
        print(f"cannot read the input: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
