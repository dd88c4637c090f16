"""Teams that share GPUs, whatever happens: Pods come and end, quotas and budgets change, victims go when they like and
come back as new Pods. Judged by plain sums over all Pods; nothing here is shared with the core."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nos._core import PodLabels, PodSelector, QuotaSpec, Scheduler
from tests.evicting import GPU, World

TEAMS = ("a", "b", "c")
FREE = "free"  # a namespace without a quota
_ROUNDS = 12


class Sharing(RuleBasedStateMachine):
    """One GPU count per node, whole GPUs, a flat set of quotas."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.room: dict[str, int] = {}
        self.quotas: dict[str, tuple[int, int | None]] = {}
        self.budgets: dict[str, int] = {}
        self.gpus: dict[str, int] = {}
        self.team: dict[str, str] = {}
        self.made = 0

    # What happens.

    @initialize(
        rooms=st.lists(st.integers(1, 4), min_size=1, max_size=3), least=st.lists(st.integers(0, 4), min_size=3)
    )
    def begin(self, rooms: list[int], least: list[int]) -> None:
        for number, gpus in enumerate(rooms):
            self.room[f"n{number}"] = gpus
            self.world.node(f"n{number}", gpus)
        for team, amount in zip(TEAMS, least, strict=False):
            self.promise(team, amount, None)

    @rule(team=st.sampled_from(TEAMS), least=st.integers(0, 5), more=st.none() | st.integers(0, 4))
    def promise(self, team: str, least: int, more: int | None) -> None:
        most = None if more is None else least + more
        self.quotas[team] = least, most
        spec = QuotaSpec([team], min={GPU: least}, max={} if most is None else {GPU: most})
        self.world.cluster.upsert_quota(team, spec)

    @rule(team=st.sampled_from([*TEAMS, FREE]), gpus=st.sampled_from([1, 1, 1, 2, 3]), priority=st.integers(0, 2))
    def arrive(self, team: str, gpus: int, priority: int) -> None:
        self.made += 1
        uid = f"{team}{self.made}"
        self.gpus[uid], self.team[uid] = gpus, team
        self.world.pod(uid, gpus, priority=priority, labels=PodLabels(team, {}))

    @rule(team=st.sampled_from(TEAMS), allowed=st.sampled_from([0, 0, 1, 5]))
    def guard(self, team: str, allowed: int) -> None:
        self.budgets[team] = allowed
        self.world.cluster.upsert_budget(team, PodSelector([], namespaces=[team]), allowed)

    @rule(data=st.data())
    @precondition(lambda self: self.gpus)
    def end(self, data: Any) -> None:
        self._gone(data.draw(st.sampled_from(sorted(self.gpus))))

    @rule(data=st.data())
    def cycle(self, data: Any) -> None:
        over = self._over()
        self.world.cycle()
        self._hold_to_bounds()
        self._justify(over)
        self.world.confirm()
        for uid in sorted(self.world.evicted):
            if data.draw(st.booleans()):
                self.world.terminate(uid)

    @rule()
    def settle(self) -> None:
        """All victims go, and come back as others of their team. That ends."""
        for _ in range(_ROUNDS):
            self.world.cycle()
            self.world.confirm()
            going = self.world.evicted | {uid for uid in self.gpus if self._is_terminating(uid)}
            if not going and not self.world.bound:
                break
            for uid in sorted(going):
                team, gpus, priority = self.team[uid], self.gpus[uid], self.world.priority(uid)
                self._gone(uid)
                self.arrive(team, gpus, priority)
        else:
            raise AssertionError(f"still at it: {self.world.outcome.evictions}")
        assert self.world.outcome.held == []
        self._require_guarantees()

    # What holds.

    @invariant()
    def nothing_is_overcommitted(self) -> None:
        self.world.cluster.check()
        taken = Counter[str]()
        for uid in self._placed():
            taken[self.world.cluster.pod(uid).node] += self.gpus[uid]
        assert all(taken[node] <= room for node, room in self.room.items())

    def _hold_to_bounds(self) -> None:
        """No newcomer is beyond a max; nor beyond his min and the sum of all, save for who came within theirs after
        him."""
        used, newcomers = self._used(), {*self.world.bound, *dict(self.world.outcome.held)}
        teams = {self.team[uid] for uid in newcomers} - {FREE}
        entitled = {team for team in teams if used[team] <= self.quotas[team][0]}
        within = sum(self.gpus[uid] for uid in newcomers if self.team[uid] in entitled)
        assert all(most is None or used[team] <= most for team in teams for _, most in [self.quotas[team]])
        assert teams == entitled or sum(used[team] for team in TEAMS) - within <= self._sum()

    def _sum(self) -> int:
        return sum(least for least, _ in self.quotas.values())

    def _justify(self, over: set[str]) -> None:
        """Nobody goes without cause, nor for somebody who does not get his room."""
        held = dict(self.world.outcome.held)
        for eviction in self.world.outcome.evictions:
            assert eviction.for_uid in held
            victim, winner = eviction.uid, eviction.for_uid
            if victim in self.world.terminating:  # it goes in any case
                continue
            if self.team[victim] == self.team[winner]:
                assert eviction.why == "priority"
                assert self.world.priority(victim) < self.world.priority(winner)
            else:
                assert eviction.why == "reclaim"
                assert FREE not in (self.team[victim], self.team[winner])
                assert victim in over
        if len(held) == 1:
            (winner,) = held
            for spared in self.world.evicted:
                copy = self.world.cluster.copy()
                for uid in self.world.evicted - {spared}:
                    copy.remove_pod(uid)
                outcome = Scheduler(copy).schedule()
                assert winner not in {bind.uid for bind in outcome.binds}, f"{spared} goes for nothing"

    def _require_guarantees(self) -> None:
        """No team below its min waits for GPUs that others hold beyond theirs, as far as their budgets let them go."""
        used = self._used()
        for uid, code in self.world.codes.items():
            team, wanted = self.team[uid], self.gpus[uid]
            if team == FREE or used[team] + wanted > self.quotas[team][0]:
                continue
            for node, room in self.room.items():
                there = [other for other in self._placed() if self.world.cluster.pod(other).node == node]
                free = room - sum(self.gpus[other] for other in there)
                for lender in set(TEAMS) - {team}:
                    beyond, allowed = used[lender] - self.quotas[lender][0], self.budgets.get(lender, 99)
                    for other in sorted(self._over() & set(there), key=self.world.arrival, reverse=True):
                        if self.team[other] == lender and beyond > 0 and allowed > 0:
                            free, beyond, allowed = free + self.gpus[other], beyond - self.gpus[other], allowed - 1
                assert free < wanted, f"{uid} waits ({code}) though {node} could be its"

    # Plain sums.

    def _placed(self) -> list[str]:
        return [uid for uid in self.gpus if self.world.cluster.pod(uid).phase in ("assumed", "bound")]

    def _charged(self) -> list[str]:
        held = [uid for uid in self.gpus if self.world.cluster.pod(uid).phase == "held"]
        return [uid for uid in self._placed() if not self.world.cluster.pod(uid).leaving] + held

    def _used(self) -> Counter[str]:
        used = Counter[str]()
        for uid in self._charged():
            used[self.team[uid]] += self.gpus[uid]
        return used

    def _over(self) -> set[str]:
        """Of each team's Pods, the oldest first, those from the first on that do not fit into its min any more; whoever
        leaves is not counted any more, nor is who is about to come."""
        over = set()
        for team in TEAMS:
            total = 0
            pods = [uid for uid in self._placed() if self.team[uid] == team]
            for uid in sorted(pods, key=self.world.arrival):
                total += self.gpus[uid]
                if total > self.quotas[team][0]:
                    over.add(uid)
        return over

    def _is_terminating(self, uid: str) -> bool:
        return uid in self.world.terminating

    def _gone(self, uid: str) -> None:
        self.world.gone([uid])
        del self.gpus[uid]


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=200, stateful_step_count=30)
