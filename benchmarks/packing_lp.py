"""The pattern LP of one interval: column generation, and a certificate in exact integers. Why: packing_bound.py."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from packing_trace import GRAIN, Gate, Ints, Replay, fits

KINDS = ("gpu", "cpu", "memory")
SCALE = 10**12  # integer units per GPU in the certificate
SLOTS = 1000 // GRAIN
SHORTFALL = 3.0  # GPUs lost per GPU (at least one) of a forced Pod that the LP leaves out; keeps it feasible

Floats = NDArray[np.float64]
Pattern = tuple[tuple[int, int, int], ...]  # (size index, stage, count)


@dataclass
class Interval:
    """The gate closes when arrivals are in [start, end) of the capacity; end is inf where it never closes."""

    start: float
    end: float
    bound: float = math.inf


class PatternLP:
    """The LP of one interval. A pool is a node type and the kind in which its nodes are closed to the gate."""

    def __init__(
        self,
        replay: Replay,
        gate: Gate,
        interval: Interval,
        given: tuple[float, int],
        patterns: dict[bool, set[Pattern]],
    ) -> None:
        self.replay, self.gate, self.patterns = replay, gate, patterns
        self.sizes = sorted({pod.milli // GRAIN for pod in replay.classes if pod.gpus})
        kinds = KINDS if math.isfinite(interval.end) else ("open",)
        self.pools = [(t, kind) for t in range(len(replay.types)) for kind in kinds]
        self.full = np.array([kind == "gpu" for _, kind in self.pools])
        self._count_pods(interval, given)
        self.allowed = np.array(
            [
                [[self._allowed(p, c, s) for s in (0, 1)] for c in range(len(replay.classes))]
                for p in range(self.n_pools)
            ]
        )
        self._build()

    @property
    def n_pools(self) -> int:
        return len(self.pools)

    def _count_pods(self, interval: Interval, given: tuple[float, int]) -> None:
        """Arrivals and forced Pods per class and stage (0: before the gate closes, 1: after)."""
        replay, gate, capacity = self.replay, self.gate, self.replay.capacity
        stage = (replay.before >= interval.end * capacity).astype(np.int64)
        horizon = np.zeros(len(replay.classes))
        for i, pod in enumerate(replay.classes):
            if pod.gpus <= given[1]:
                horizon[i] = given[0] * capacity
            small = pod.gpus <= 1 and pod.milli <= gate.milli and pod.cpu <= gate.cpu and pod.memory <= gate.memory
            if small and not pod.models:
                horizon[i] = max(horizon[i], interval.start * capacity)
        forced = replay.before < horizon[replay.arrivals]
        self.arrived = np.zeros((len(replay.classes), 2), dtype=np.int64)
        self.forced = np.zeros_like(self.arrived)
        np.add.at(self.arrived, (replay.arrivals, stage), 1)
        np.add.at(self.forced, (replay.arrivals[forced], stage[forced]), 1)

    def _allowed(self, p: int, c: int, stage: int) -> bool:
        t, kind = self.pools[p]
        pod, gate = self.replay.classes[c], self.gate
        if not self.arrived[c, stage] or not fits(pod, self.replay.types[t]):
            return False
        too_large = {
            "gpu": pod.gpus > 0 and pod.milli >= gate.milli,
            "cpu": pod.cpu >= gate.cpu,
            "memory": pod.memory >= gate.memory,
        }
        return stage == 0 or not too_large.get(kind, False)

    def _to_close(self, p: int) -> tuple[int, int]:
        """Least CPU and memory that the early Pods take on a node of this pool."""
        t, kind = self.pools[p]
        node = self.replay.types[t]
        return (
            max(0, node.cpu - self.gate.cpu + 1) if kind == "cpu" else 0,
            max(0, node.memory - self.gate.memory + 1) if kind == "memory" else 0,
        )

    def _build(self) -> None:
        """Rows: class x stage, nodes per type; per pool GPUs, CPU, memory, CPU closed, memory closed, slots."""
        n_classes, n_types, n_pools, n_sizes = (
            len(self.replay.classes),
            len(self.replay.types),
            self.n_pools,
            len(self.sizes),
        )
        self.type_row = 2 * n_classes
        self.pool_row = self.type_row + n_types + 5 * np.arange(n_pools)
        first_slot = self.type_row + n_types + 5 * n_pools
        self.slot_row = first_slot + np.arange(n_pools * 2 * n_sizes).reshape(n_pools, 2, n_sizes)
        infinity = highspy.kHighsInf
        lower = [float(x) for x in self.forced.ravel()] + [float(n) for n in self.replay.counts]
        upper = [float(x) for x in self.arrived.ravel()] + [float(n) for n in self.replay.counts]
        lower += [0.0, -infinity, -infinity, 0.0, 0.0] * n_pools + [-infinity] * self.slot_row.size
        upper += [0.0, 0.0, 0.0, infinity, infinity] * n_pools + [0.0] * self.slot_row.size
        none: Any = np.array([], dtype=np.int32)
        new_solver: Any = highspy.Highs
        self.highs = new_solver()
        self.highs.setOptionValue("output_flag", False)
        self.highs.setOptionValue("threads", 1)
        self.highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
        self.highs.addRows(len(lower), np.array(lower), np.array(upper), 0, none, none, np.array([]))
        self._add_columns(self._node_columns() + self._pod_columns() + self._starting_patterns())

    def _add_columns(self, columns: list[tuple[float, list[tuple[int, float]]]]) -> None:
        entries = [entry for _, column in columns for entry in column]
        starts = np.cumsum([0] + [len(column) for _, column in columns[:-1]]).astype(np.int32)
        n = len(columns)
        self.highs.addCols(
            n,
            np.array([cost for cost, _ in columns]),
            np.zeros(n),
            np.full(n, highspy.kHighsInf),
            len(entries),
            starts,
            np.array([row for row, _ in entries], dtype=np.int32),
            np.array([value for _, value in entries]),
        )

    def _node_columns(self) -> list[tuple[float, list[tuple[int, float]]]]:
        columns = []
        for p, (t, _) in enumerate(self.pools):
            node, row, (cpu, memory) = self.replay.types[t], int(self.pool_row[p]), self._to_close(p)
            values = (-float(node.gpus), -node.cpu / 1000, -node.memory / 1024, -cpu / 1000, -memory / 1024)
            column = [(self.type_row + t, 1.0)] + [(row + i, value) for i, value in enumerate(values) if value]
            columns.append((0.0, column))
        return columns

    def _pod_columns(self) -> list[tuple[float, list[tuple[int, float]]]]:
        columns = []
        for p, c, stage in np.argwhere(self.allowed).tolist():
            pod, row, kind = self.replay.classes[c], int(self.pool_row[p]), self.pools[p][1]
            column = [(2 * c + stage, 1.0), (row + 1, pod.cpu / 1000), (row + 2, pod.memory / 1024)]
            if pod.gpus:
                size = self.sizes.index(pod.milli // GRAIN)
                column.append((int(self.slot_row[p, stage, size]), float(pod.gpus)))
            if stage == 0 and kind == "cpu":
                column.append((row + 3, pod.cpu / 1000))
            if stage == 0 and kind == "memory":
                column.append((row + 4, pod.memory / 1024))
            columns.append((pod.gpus * pod.milli / 1000, column))
        for c, stage in np.argwhere(self.forced).tolist():
            columns.append((-SHORTFALL * max(1, self.replay.classes[c].gpus), [(2 * c + stage, 1.0)]))
        return columns

    def _pattern_column(self, p: int, pattern: Pattern) -> tuple[float, list[tuple[int, float]]]:
        slots = [(int(self.slot_row[p, stage, size]), -float(count)) for size, stage, count in pattern]
        return 0.0, [(int(self.pool_row[p]), 1.0), *slots]

    def _starting_patterns(self) -> list[tuple[float, list[tuple[int, float]]]]:
        for full in (False, True):
            self.patterns[full] |= {((i, 0, SLOTS // size),) for i, size in enumerate(self.sizes)}
        self.patterns[False].add(())
        return [
            self._pattern_column(p, pattern)
            for p in range(self.n_pools)
            for pattern in sorted(self.patterns[bool(self.full[p])])
        ]

    def _price(self, worth: Ints) -> tuple[Ints, list[Pattern]]:
        """Per pool the best pattern, exactly: a knapsack over early sizes, then the gate, then late sizes."""
        never = np.int64(-(2**61))
        best = np.full((self.n_pools, SLOTS + 1), never)
        best[:, 0] = 0
        last = np.full((2, self.n_pools, SLOTS + 1), -1, dtype=np.int64)
        for stage in (0, 1):
            for used in range(1, SLOTS + 1):
                for i, size in enumerate(self.sizes):
                    if size <= used:
                        value = best[:, used - size] + worth[:, stage, i]
                        better = (value > best[:, used]) & (best[:, used - size] > never // 2)
                        best[better, used] = value[better]
                        last[stage, better, used] = i
            if stage == 0:
                best[self.full, : (1000 - self.gate.milli) // GRAIN + 1] = never
        return best.max(axis=1), [self._trace(last[:, p], int(best[p].argmax())) for p in range(self.n_pools)]

    def _trace(self, last: Ints, used: int) -> Pattern:
        count: Counter[tuple[int, int]] = Counter()
        for stage in (1, 0):
            while (i := int(last[stage, used])) >= 0:
                count[i, stage] += 1
                used -= self.sizes[i]
        return tuple(sorted((i, stage, n) for (i, stage), n in count.items()))

    def _certificate(self, dual: Floats, worth: Ints, gpu: Ints) -> int:
        """The Lagrangian function at the duals, rounded to integers, in milli-GPU rounded up."""
        pods, nodes = self.replay.classes, self.replay.types
        rows = dual[self.pool_row[:, None] + np.arange(1, 5)] * SCALE / np.array([1000, 1024, 1000, 1024])
        price: Ints = np.maximum(0, np.rint(rows * np.array([1, 1, -1, -1]))).astype(np.int64)
        total = 0
        kind = np.array([k for _, k in self.pools])
        for c, pod in enumerate(pods):
            for stage in (0, 1):
                if not self.arrived[c, stage]:
                    continue
                reduced = pod.gpus * pod.milli * (SCALE // 1000) - price[:, 0] * pod.cpu - price[:, 1] * pod.memory
                if pod.gpus:
                    reduced = reduced - pod.gpus * worth[:, stage, self.sizes.index(pod.milli // GRAIN)]
                if stage == 0:
                    reduced = reduced + np.where(kind == "cpu", price[:, 2] * pod.cpu, 0)
                    reduced = reduced + np.where(kind == "memory", price[:, 3] * pod.memory, 0)
                allowed = self.allowed[:, c, stage]
                gain = (
                    int(reduced[allowed].max()) if allowed.any() else -SCALE
                )  # forced but never fits: no packing at all
                total += gain * int(self.arrived[c, stage] if gain > 0 else self.forced[c, stage])
        worst: dict[int, int] = {}
        for p, (t, _) in enumerate(self.pools):
            cpu, memory = self._to_close(p)
            use = [int(x) for x in price[p]]
            value = int(gpu[p]) * nodes[t].gpus + use[0] * nodes[t].cpu + use[1] * nodes[t].memory
            worst[t] = max(worst.get(t, -(10**30)), value - use[2] * cpu - use[3] * memory)
        total += sum(worst[t] * self.replay.counts[t] for t in worst)
        return -(-total * 1000 // SCALE)

    def bound(self, enough: float, rounds: int) -> float:
        """Fraction of the capacity, rounded up. Stops once it is below `enough`, or after so many rounds."""
        best = self.replay.capacity
        for _ in range(rounds):
            self.highs.run()
            dual = np.array(self.highs.getSolution().row_dual)
            worth = np.maximum(0, np.rint(dual[self.slot_row] * SCALE)).astype(np.int64)
            gpu, patterns = self._price(worth)
            best = min(best, self._certificate(dual, worth, gpu))
            improving = np.flatnonzero(gpu > dual[self.pool_row] * SCALE + SCALE // 10**6).tolist()
            if not improving or best / self.replay.capacity < enough:
                break
            for p in improving:
                self.patterns[bool(self.full[p])].add(patterns[p])
            self._add_columns([self._pattern_column(p, patterns[p]) for p in improving])
        return math.ceil(best / self.replay.capacity * 10**6) / 10**6
