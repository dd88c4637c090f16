"""A day of Pods that come and go, and what the nodes for them cost.

Time goes in ticks. A node costs from its order to its deletion, and serves after its boot. Every planner sees the same
arrivals, price table and scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.scaling_day_arrivals import DAY_S, HOUR_S, Arrival
from benchmarks.scaling_day_planners import MICRO, MOVE_DOLLARS, Machine, Offer, Planner, Removal

from nos._core import Cluster, PodSpec, Scheduler

TICK_S, BOOT_S, UNNEEDED_S, LOOK_S = 30, 180, 600, 60


class World:
    """The cluster, and the machines that were and are its nodes."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.machines: list[Machine] = []
        self.waiting: set[str] = set()
        self.moves = 0
        self._scheduler = Scheduler(self.cluster)
        self._pods: dict[str, tuple[Arrival, PodSpec]] = {}
        self._there: dict[str, Machine] = {}

    @property
    def there(self) -> list[Machine]:
        """Those that serve."""
        return list(self._there.values())

    @property
    def coming(self) -> list[Machine]:
        """Those that are ordered and do not serve yet."""
        return [machine for machine in self.machines if not machine.served]

    def come(self, uid: str, arrival: Arrival) -> None:
        """A Pod is made."""
        self._pods[uid] = arrival, arrival.spec()
        self._wait(uid, arrival.at)

    def leave(self, uid: str) -> None:
        """A Pod goes, wherever it is."""
        if uid not in self.waiting:
            del self._there[self.cluster.pod(uid).node].pods[uid]
        self.cluster.remove_pod(uid)
        self.waiting.discard(uid)
        del self._pods[uid]

    def bind(self) -> None:
        """Every Pod that has room gets its place."""
        for bind in self._scheduler.schedule().binds:
            arrival, spec = self._pods[bind.uid]
            self.cluster.upsert_pod(bind.uid, spec, node=bind.node, gpus=bind.gpus, instances=bind.instances)
            self._there[bind.node].pods[bind.uid] = arrival.units
            self.waiting.discard(bind.uid)

    def order(self, offer: Offer, now: float) -> Machine:
        machine = Machine(f"n{len(self.machines)}", offer, now)
        self.machines.append(machine)
        return machine

    def serve(self, machine: Machine) -> None:
        """It is a node from now on."""
        machine.served = True
        self._there[machine.name] = machine
        self.cluster.upsert_node(machine.name, machine.offer.node())

    def drain(self, name: str, now: float) -> None:
        """Its Pods wait again, and it is gone."""
        machine = self._there.pop(name)
        machine.gone = now
        for uid in machine.pods:
            self.cluster.remove_pod(uid)
            self._wait(uid, now)
            self.moves += 1
        machine.pods.clear()
        self.cluster.remove_node(name)

    def ahead(self) -> Cluster:
        """A copy, with the nodes that are coming."""
        copy = self.cluster.copy()
        for machine in self.coming:
            copy.upsert_node(machine.name, machine.offer.node())
        return copy

    def check(self) -> None:
        """Every Pod is where the ledger has it, and every machine that is there is a node."""
        self.cluster.check()
        placed = {uid: machine.name for machine in self.there for uid in machine.pods}
        assert placed == {uid: self.cluster.pod(uid).node for uid in self._pods.keys() - self.waiting}

    def _wait(self, uid: str, now: float) -> None:
        self.cluster.upsert_pod(uid, self._pods[uid][1], arrival=int(now * 1000))
        self.waiting.add(uid)


@dataclass(frozen=True)
class Day:
    """What came of it."""

    machines: Sequence[Machine]
    pods: int
    moves: int
    waited_s: float  # by all Pods together, before each ran
    stranded: int  # Pods whose node was emptied and that had no place at once

    @property
    def dollars(self) -> float:
        return sum(m.offer.shape.price * ((m.gone or DAY_S) - m.ordered) / HOUR_S for m in self.machines)

    @property
    def hasty(self) -> int:
        """Nodes that were made and removed again before they had served for as long as one has to be unneeded, or
        before they had paid for themselves."""
        return sum(
            m.gone is not None and m.gone - m.ordered < BOOT_S + max(UNNEEDED_S, m.payback) for m in self.machines
        )


def run(arrivals: Iterable[Arrival], planner: Planner) -> Day:
    """Live through it."""
    world = World()
    queue = sorted(arrivals, key=lambda arrival: arrival.at)
    leaving: list[tuple[float, str]] = []
    start, waited_s, stranded = 0, 0.0, 0
    for now in range(0, DAY_S, TICK_S):
        while start < len(queue) and queue[start].at <= now:
            world.come(f"u{start}", queue[start])
            leaving.append((queue[start].until, f"u{start}"))
            start += 1
        for _, uid in [one for one in leaving if one[0] <= now]:
            world.leave(uid)
        leaving = [one for one in leaving if one[0] > now]
        for machine in world.coming:
            if now >= machine.ordered + BOOT_S:
                world.serve(machine)
        world.bind()
        waited_s += len(world.waiting) * TICK_S
        if world.waiting:
            for group in planner.up(world.ahead()):
                world.order(planner.offers[group], now)
        if now % LOOK_S == 0:
            before = set(world.waiting)
            _shrink(world, planner, now)
            world.bind()
            stranded += len(world.waiting - before)
    world.check()
    return Day(world.machines, len(queue), world.moves, waited_s, stranded)


def _shrink(world: World, planner: Planner, now: float) -> None:
    old = [machine for machine in world.there if now - machine.ordered >= BOOT_S + UNNEEDED_S]
    steps = planner.down(world.cluster.copy(), old, world.coming)
    unneeded = {name for step in steps for name in step.nodes}
    since: dict[str, float] = {}
    for machine in world.there:
        if machine.name in unneeded:
            since[machine.name] = now if machine.unneeded is None else machine.unneeded
        machine.unneeded = since.get(machine.name)
    there = {machine.name for machine in world.there}
    for step in steps:
        if any(now - since[name] < UNNEEDED_S for name in step.nodes) or not step.onto <= there:
            continue  # too early, or where their Pods are to go is not there yet
        if not step.new:
            for name in step.nodes:
                world.drain(name, now)
            break  # the next look is a minute later
        for group in step.new:
            machine = world.order(planner.offers[group], now)
            machine.payback = _payback(step, machine)


def _payback(step: Removal, new: Machine) -> float:
    """Seconds. Until it serves both it and the old ones are paid, and every Pod moves once."""
    cost = new.offer.price * (BOOT_S + LOOK_S) / HOUR_S + step.moves * MOVE_DOLLARS * MICRO
    return cost / step.saved * HOUR_S
