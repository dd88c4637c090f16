"""A day as a row of steps: who is there at each, and what the nodes for them cost once all has settled.

Between two steps there is as much time as anybody needs: a planner orders and gives back until it would change nothing.
Boots and patience cost nothing here; `scaling_day.run` counts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.scaling_day import World
from benchmarks.scaling_day_arrivals import DAY_S, HOUR_S, Arrival
from benchmarks.scaling_day_planners import MICRO, Planner

_MOST_ROUNDS = 200  # more, and it does not settle


@dataclass(frozen=True)
class Step:
    """hours: that it lasts. pods: by number, those that are there."""

    hours: float
    pods: Mapping[int, Arrival]


@dataclass(frozen=True)
class Settled:
    """What came of it. prices: of the nodes that there are, micro-dollars per hour, at each step."""

    steps: Sequence[Step]
    prices: Sequence[int]
    made: int  # nodes
    moves: int

    @property
    def dollars_per_hour(self) -> float:
        """On average of the day."""
        hours = [step.hours for step in self.steps]
        return sum(p * h for p, h in zip(self.prices, hours, strict=True)) / sum(hours) / MICRO


def cut(arrivals: Iterable[Arrival], count: int) -> list[Step]:
    """So many steps of a day, alike in length; who is there half-way is there all the time."""
    pods = sorted(arrivals, key=lambda arrival: arrival.at)
    length = DAY_S / count
    return [
        Step(
            length / HOUR_S,
            {number: pod for number, pod in enumerate(pods) if pod.at <= (step + 0.5) * length < pod.until},
        )
        for step in range(count)
    ]


def settle(steps: Sequence[Step], planner: Planner) -> Settled:
    """What a planner makes of them. Everybody gets a place."""
    world, prices = World(), []
    there: set[int] = set()
    for step in steps:
        for number in sorted(there - step.pods.keys()):
            world.leave(f"u{number}")
        for number in sorted(step.pods.keys() - there):
            world.come(f"u{number}", step.pods[number])
        there = set(step.pods)
        rounds = 0
        while _turn(world, planner):
            rounds += 1
            assert rounds < _MOST_ROUNDS
        world.check()
        assert not world.waiting
        prices.append(sum(machine.offer.price for machine in world.there))
    return Settled(steps, prices, len(world.machines), world.moves)


def _turn(world: World, planner: Planner) -> bool:
    """Whether it changed anything."""
    world.bind()
    orders = planner.up(world.ahead()) if world.waiting else []
    for group in orders:
        world.serve(world.order(planner.offers[group], 0.0))
    if orders:
        return True
    removals = planner.down(world.cluster.copy(), world.there, ())
    for removal in removals[:1]:
        for group in removal.new:
            world.serve(world.order(planner.offers[group], 0.0))
        for name in removal.nodes:
            world.drain(name, 0.0)
    return bool(removals)
