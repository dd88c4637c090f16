"""What was lent comes back: from whom, how much, and from nobody else. The arithmetic of each case is in its text."""

from __future__ import annotations

import pytest

from nos._core import PodLabels, PodSelector, PodSpec, QuotaSpec
from tests.evicting import GPU, World

MEMORY = "nos.nebuly.com/gpu-memory"
A, B, C = (PodLabels(name, {}) for name in "abc")


@pytest.fixture
def world() -> World:
    return World()


def _quota(world: World, name: str, least: int, *, most: int | None = None, parent: str = "") -> None:
    spec = QuotaSpec([name], min={GPU: least}, max={} if most is None else {GPU: most}, parent=parent)
    world.cluster.upsert_quota(name, spec)


def _pods(world: World, labels: PodLabels, name: str, count: int, *, node: str = "", priority: int = 0) -> None:
    for number in range(count):
        world.pod(f"{name}-{number}", 1, node=node, labels=labels, priority=priority)


def test_the_worked_example_of_the_design(world: World) -> None:
    """GB of GPU memory: min A 40, B 10, C 30; used A 40, B 40, C 0. C leaves 30 idle; of them A is guaranteed
    40/80 x 30 = 15, B 10/80 x 30 = 3. A Pod of A of 10: 40 + 10 <= 40 + 15, and B has 40 > 10 + 3: one of B goes.
    A further one: 50 + 10 > 55, so it waits."""
    for labels, least in ((A, 40), (B, 10), (C, 30)):
        name = labels_name(labels)
        world.cluster.upsert_quota(name, QuotaSpec([name], min={MEMORY: least}))
    spec = PodSpec({"nvidia.com/gpu-10gb": 1})
    allocatable = 8
    world.node("n", 0, extended={"nvidia.com/gpu-10gb": allocatable})
    for number in range(4):
        world.pod(f"a-{number}", spec=spec, node="n", labels=A)
        world.pod(f"b-{number}", spec=spec, node="n", labels=B)
    world.pod("a-new", spec=spec, labels=A)
    world.cycle()
    assert world.evicted == {"b-3"}
    assert world.outcome.evictions[0].why == "reclaim"
    world.pod("a-further", spec=spec, labels=A)
    world.cycle()
    assert world.evicted == {"b-3"}
    assert world.codes == {"a-new": "MakingRoom", "a-further": "QuotaExhausted"}
    world.gone(["b-3"])
    world.cycle()
    assert world.bound == {"a-new": "n"}
    assert world.cluster.quota("a").used == {MEMORY: 50}
    assert world.cluster.quota("b").used == {MEMORY: 30}


def labels_name(labels: PodLabels) -> str:
    return {A: "a", B: "b", C: "c"}[labels]


def test_a_quota_within_its_min_takes_back_what_it_lent_whatever_the_priority(world: World) -> None:
    """4 GPUs, min 2 and 2; b has all 4, two of them lent, at high priority. a takes its two back, and not a third."""
    _quota(world, "a", 2)
    _quota(world, "b", 2)
    world.node("n", 4)
    _pods(world, B, "b", 4, node="n", priority=100)
    _pods(world, A, "a", 3)
    world.cycle()
    assert world.evicted == {"b-2", "b-3"}
    assert sorted(world.codes.values()) == ["MakingRoom", "MakingRoom", "QuotaExhausted"]
    for _ in range(5):
        world.cycle()
        assert world.evicted == {"b-2", "b-3"}


def test_who_is_within_its_min_keeps_it(world: World) -> None:
    """a, over its min, may not have what is b's own, however important its Pod: that takes the place of one of a's."""
    _quota(world, "a", 2)
    _quota(world, "b", 2)
    world.node("n", 4)
    _pods(world, A, "a", 2, node="n")
    _pods(world, B, "b", 2, node="n")
    world.pod("a-new", 1, labels=A, priority=1000)
    world.cycle()
    assert world.evicted == {"a-1"}


def test_within_a_quota_priority_decides(world: World) -> None:
    _quota(world, "a", 2, most=2)
    world.node("n", 4)
    _pods(world, A, "a", 2, node="n")
    world.pod("a-new", 1, labels=A, priority=10)
    world.cycle()
    assert world.evicted == {"a-1"}
    assert world.outcome.evictions[0].why == "priority"


def test_pods_without_a_quota_are_left_alone_and_leave_alone(world: World) -> None:
    _quota(world, "a", 2)
    world.node("n", 2)
    world.pod("free", 1, node="n")
    world.pod("a-0", 1, node="n", labels=A)
    world.pod("a-new", 1, labels=A, priority=10)
    world.pod("free-new", 1, priority=5)
    world.cycle()
    assert {eviction.uid: eviction.for_uid for eviction in world.outcome.evictions} == {
        "a-0": "a-new",
        "free": "free-new",
    }


def test_nothing_is_taken_back_against_a_budget(world: World) -> None:
    """b-1 is over its quota, and the younger; but its budget allows nobody to go. b-0 is in quota."""
    _quota(world, "a", 1)
    _quota(world, "b", 1)
    world.node("n", 2)
    _pods(world, B, "b", 2, node="n")
    world.cluster.upsert_budget("b/all", PodSelector([], namespaces=["b"]), 0)
    _pods(world, A, "a", 1)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"a-0": "InsufficientGpu"})
    world.cluster.upsert_budget("b/all", PodSelector([], namespaces=["b"]), 1)
    world.cycle()
    assert world.evicted == {"b-1"}


def test_what_a_budget_allows_is_for_the_youngest(world: World) -> None:
    """b-1 and b-2 are lent, and the budget lets one go."""
    _quota(world, "a", 2)
    _quota(world, "b", 1)
    world.node("n", 3)
    _pods(world, B, "b", 3, node="n")
    world.cluster.upsert_budget("b/all", PodSelector([], namespaces=["b"]), 1)
    _pods(world, A, "a", 1)
    world.cycle()
    assert world.evicted == {"b-2"}


def test_a_gang_that_would_go_along_has_its_budgets_too(world: World) -> None:
    """Both Pods of the gang are lent. One would be enough, the other one would go along, and the budget lets one go."""
    _quota(world, "a", 2)
    _quota(world, "b", 0)
    world.cluster.upsert_gang("train", min_members=2)
    for number in range(2):
        world.node(f"n{number}", 1)
        world.pod(f"b-{number}", 1, node=f"n{number}", labels=B, gang="train")
    world.cluster.upsert_budget("b/all", PodSelector([], namespaces=["b"]), 1)
    _pods(world, A, "a", 1)
    world.cycle()
    assert world.evicted == set()
    world.cluster.upsert_budget("b/all", PodSelector([], namespaces=["b"]), 2)
    world.cycle()
    assert world.evicted == {"b-0", "b-1"}


def test_no_more_is_taken_than_was_lent(world: World) -> None:
    """min 4 and 4. b uses 6: 2 are lent. A Pod of a wants 4 on one node, where 1 is free and 4 are b's."""
    _quota(world, "a", 4)
    _quota(world, "b", 4)
    world.node("n", 5)
    world.node("m", 3)
    _pods(world, B, "b", 2, node="m")
    _pods(world, B, "b-young", 4, node="n")
    world.pod("a-new", 4, labels=A)
    world.cycle()
    assert world.evicted == set(), "n would have 1 + 2 GPUs for it"
    world.pod("a-smaller", 3, labels=A)
    world.cycle()
    assert world.evicted == {"b-young-2", "b-young-3"}


def test_where_room_is_free_nobody_goes_for_what_is_guaranteed(world: World) -> None:
    """min 1 and 1, b uses 2; a third GPU is free. a's Pod is within its min, and runs there."""
    _quota(world, "a", 1)
    _quota(world, "b", 1)
    world.node("n", 3)
    _pods(world, B, "b", 2, node="n")
    _pods(world, A, "a", 1)
    world.cycle()
    assert (world.bound, world.evicted) == ({"a-0": "n"}, set())


def test_a_share_is_taken_from_who_has_more_than_his_wherever_he_is(world: World) -> None:
    """min a 4, b 1, c 3; a uses 4, b 4, c none: 3 are idle, a's share of them is 4/8 x 3 = 1. On m a GPU is free, where
    a's Pod may go; the sum of 8 is used up all the same. b has 4 > 1 + 0: one of its Pods goes, from n."""
    for name, least in (("a", 4), ("b", 1), ("c", 3)):
        _quota(world, name, least)
    world.node("n", 8)
    world.node("m", 1)
    _pods(world, A, "a", 4, node="n")
    _pods(world, B, "b", 4, node="n")
    spec = PodSpec({GPU: 1}, node_selector={"kubernetes.io/hostname": "m"})
    world.pod("a-new", spec=spec, labels=A)
    world.cycle()
    assert world.evicted == {"b-3"}
    assert world.outcome.held == [("a-new", "m")]
    world.gone(["b-3"])
    world.cycle()
    assert world.bound == {"a-new": "m"}


def test_a_gang_takes_back_all_that_it_needs_or_nothing(world: World) -> None:
    """min 4 and 2; b uses all 6, of which it lent 4. A gang of a of 4 gets them; one of 5 would be over a's min."""
    _quota(world, "a", 4)
    _quota(world, "b", 2)
    for number in range(3):
        world.node(f"n{number}", 2)
        _pods(world, B, f"b{number}", 2, node=f"n{number}")
    world.cluster.upsert_gang("five", min_members=5)
    for number in range(5):
        world.pod(f"five-{number}", 1, labels=A, gang="five")
    world.cycle()
    assert (world.evicted, world.outcome.held) == (set(), [])
    assert set(world.codes.values()) == {"GangDoesNotFit"}
    world.gone(f"five-{number}" for number in range(5))
    world.cluster.upsert_gang("four", min_members=4)
    for number in range(4):
        world.pod(f"four-{number}", 1, labels=A, gang="four")
    world.cycle()
    assert len(world.evicted) == 4
    assert "b0-0" not in world.evicted
    assert "b0-1" not in world.evicted, "the two oldest are b's own"
    assert len(world.outcome.held) == 4


def test_relatives_share_before_strangers_do(world: World) -> None:
    """A team of a and c, min 2 each, and b outside with 2. a uses 4, c nothing, b 2: a has borrowed what c leaves idle.
    c asks for 1: a gives it back. b asks for one more: 2 + 1 > 2 and nothing is idle for it, so it waits."""
    world.cluster.upsert_quota("team", QuotaSpec([], min={GPU: 4}))
    _quota(world, "a", 2, parent="team")
    _quota(world, "c", 2, parent="team")
    _quota(world, "b", 2)
    world.node("n", 6)
    _pods(world, A, "a", 4, node="n")
    _pods(world, B, "b", 2, node="n")
    _pods(world, B, "b-more", 1)
    world.cycle()
    assert (world.evicted, world.codes) == (set(), {"b-more-0": "QuotaExhausted"})
    _pods(world, C, "c", 1)
    world.cycle()
    assert world.evicted == {"a-3"}


def test_what_strangers_lent_to_a_team_goes_back_to_them_first(world: World) -> None:
    """a and c form a team with min 2 each; a uses 3, c 2, so the team is 1 over its 4: that was b's. b, min 1, takes it
    from a, which is over its min, and not from c, which is not."""
    world.cluster.upsert_quota("team", QuotaSpec([], min={GPU: 4}))
    _quota(world, "a", 2, parent="team")
    _quota(world, "c", 2, parent="team")
    _quota(world, "b", 1)
    world.node("n", 5)
    _pods(world, A, "a", 3, node="n")
    _pods(world, C, "c", 2, node="n")
    _pods(world, B, "b", 1)
    world.cycle()
    assert world.evicted == {"a-2"}


def test_who_is_not_over_stays_though_his_quota_is(world: World) -> None:
    """min 1 and 1; b-0, the older, is b's own, b-1 is lent. a's Pod may run where b-0 is, and nowhere else."""
    _quota(world, "a", 1)
    _quota(world, "b", 1)
    for number in range(2):
        world.node(f"n{number}", 1)
        world.pod(f"b-{number}", 1, node=f"n{number}", labels=B)
    spec = PodSpec({GPU: 1}, node_selector={"kubernetes.io/hostname": "n0"})
    world.pod("a-new", spec=spec, labels=A)
    world.cycle()
    assert world.evicted == set()


def test_each_that_goes_leaves_less_to_take_back(world: World) -> None:
    """b, min 4, uses 3 + 3 + 1: it lent 3. a wants 4 where second and third are, both over. The second would go first,
    as it is less important: 4 are left, b's own, and the third stays; so nobody goes."""
    _quota(world, "a", 4)
    _quota(world, "b", 4)
    world.node("m", 3)
    world.node("n", 4)
    world.pod("first", 3, node="m", labels=B)
    world.pod("second", 3, node="n", labels=B)
    world.pod("third", 1, node="n", labels=B, priority=5)
    world.pod("a-new", 4, labels=A)
    world.cycle()
    assert world.evicted == set()


def test_where_a_quota_is_in_the_way_nobody_more_goes_than_it_asks(world: World) -> None:
    """Min A 0, C 3; used A 1, C 2. C's 2 more would be 4 > 3: one of C has to go, and 1 + 2 <= 3. On n, where both of C
    are, the room for 2 would need both; m has it."""
    _quota(world, "a", 0)
    _quota(world, "c", 3)
    world.node("n", 2)
    world.node("m", 3)
    _pods(world, C, "c", 2, node="n")
    _pods(world, A, "a", 1, node="m")
    world.pod("new", 2, labels=C, priority=1)
    world.cycle()
    assert world.evicted == {"c-1"}
    assert [(eviction.why, eviction.node) for eviction in world.outcome.evictions] == [("priority", "n")]
    assert world.outcome.held == [("new", "m")]
    world.cycle()  # it is still there, and chosen again
    assert world.evicted == {"c-1"}
    world.terminate("c-1")
    world.cycle()
    assert world.evicted <= {"c-1"}
    assert world.outcome.held == [("new", "m")]
    world.gone(["c-1"])
    world.cycle()
    assert world.bound == {"new": "m"}


def test_a_max_is_kept_by_whoever_is_least_important_wherever_he_is(world: World) -> None:
    """Max A 3, used 2: for 2 more one of A has to go. The less important one is on n, the room for 2 on m."""
    _quota(world, "a", 0, most=3)
    _quota(world, "b", 9)
    world.node("n", 1)
    world.node("m", 3)
    _pods(world, A, "low", 1, node="n")
    _pods(world, A, "mid", 1, node="m", priority=1)
    world.pod("new", 2, labels=A, priority=2)
    world.cycle()
    assert world.evicted == {"low-0"}
    assert world.outcome.held == [("new", "m")]
