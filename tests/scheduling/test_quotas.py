"""Quotas at work, on examples that can be followed by hand."""

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, QuotaSpec, Scheduler
from tests.quota_oracle import GPU, MEMORY

ROOM = {"cpu": 10**6, "memory": 10**12, "pods": 10**4, GPU: 100, "nvidia.com/gpu-10gb": 100}
TEN = {"nvidia.com/gpu-10gb": 1}


class World:
    """Nodes with room for everybody: what keeps a Pod waiting is its quota."""

    def __init__(self, *memories: int, **quotas: QuotaSpec) -> None:
        self.cluster = Cluster()
        for number, gb in enumerate(memories or (40,)):
            self.cluster.upsert_node(f"node-{number}", NodeSpec(ROOM, gpu_memory_gb=gb))
        for name, quota in quotas.items():
            self.cluster.upsert_quota(name, quota)

    def pods(self, namespace: str, requests: dict[str, int], count: int = 1, node: str = "") -> list[str]:
        first = self.cluster.pod_count
        uids = [f"{namespace}-{number:03}" for number in range(first, first + count)]
        for number, uid in enumerate(uids, first):
            self.cluster.upsert_pod(
                uid, PodSpec(requests), labels=PodLabels(namespace), node=node, arrival=number, preempts=False
            )
        return uids

    def schedule(self) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
        """The node of who is bound; the code and message of who waits."""
        outcome = Scheduler(self.cluster).schedule()
        self.cluster.check()
        waiting = {uid: (reason.code, reason.message) for uid, reason in outcome.waiting}
        return {bind.uid: bind.node for bind in outcome.binds}, waiting


def test_who_borrows_may_have_what_others_leave_idle_and_no_more() -> None:
    world = World(a=QuotaSpec(["a"], min={MEMORY: 40}), b=QuotaSpec(["b"], min={MEMORY: 20}))
    world.pods("b", TEN, 1, node="node-0")
    pods = world.pods("a", TEN, 7)
    bound, waiting = world.schedule()
    assert list(bound) == pods[:5]  # 40 + 20 - 10
    assert waiting[pods[5]] == waiting[pods[6]]
    assert waiting[pods[5]] == (
        "QuotaExhausted",
        "Too little is left of what all quotas guarantee together: 60 of 60 GB of GPU memory are in use, and"
        " the Pod asks for 10. a uses 50, its min is 40. 10 less in use, or mins that add up to 70 GB of GPU memory,"
        " would let it in.",
    )


def test_nobody_has_more_than_his_max() -> None:
    world = World(a=QuotaSpec(["a"], min={GPU: 1}, max={GPU: 3}), b=QuotaSpec(["b"], min={GPU: 9}))
    pods = [
        *world.pods("a", {GPU: 2}),
        *world.pods("a", {GPU: 2}),
        *world.pods("a", {GPU: 4}),
        *world.pods("a", {GPU: 1}),
    ]
    bound, waiting = world.schedule()
    assert list(bound) == [pods[3], pods[0]]  # the last is within the min, who borrows comes after
    assert waiting == {
        pods[1]: (
            "QuotaMax",
            "a has too little left under its max: 3 of 3 GPUs are in use, and the Pod asks for 2."
            " 2 less in use, or a max of 5 GPUs, would let it in.",
        ),
        pods[2]: (
            "QuotaMax",
            "a has too little left under its max: 3 of 3 GPUs are in use, and the Pod asks for 4."
            " Only a max of 7 GPUs would let it in.",
        ),
    }


def test_a_max_on_cpu_says_nothing_about_memory() -> None:
    world = World(a=QuotaSpec(["a"], max={"cpu": 4000}))
    pods = world.pods("a", {"cpu": 2000, "memory": 10**9}, 3)
    bound, waiting = world.schedule()
    assert list(bound) == pods[:2]
    assert waiting[pods[2]][0] == "QuotaMax"


def test_a_max_above_bounds_all_below() -> None:
    world = World(
        org=QuotaSpec([], max={GPU: 3}),
        a=QuotaSpec(["a"], max={GPU: 2}, parent="org"),
        b=QuotaSpec(["b"], parent="org"),
    )
    pods = [*world.pods("a", {GPU: 1}, 3), *world.pods("b", {GPU: 1}, 2)]
    bound, waiting = world.schedule()
    assert list(bound) == [pods[0], pods[1], pods[3]]
    assert "a has too little left under its max: 2 of 2" in waiting[pods[2]][1]
    assert "org has too little left under its max: 3 of 3" in waiting[pods[4]][1]


def test_quotas_say_nothing_about_pods_without_one() -> None:
    world = World(a=QuotaSpec(["a"], min={GPU: 1}))
    free = world.pods("elsewhere", {GPU: 4}, 2)
    bound, waiting = world.schedule()
    assert list(bound) == free
    assert not waiting
    assert world.cluster.quota("a").used == {GPU: 0}


def test_a_gpu_that_is_too_large_for_the_quota_is_passed_over() -> None:
    world = World(80, 24, 80, a=QuotaSpec(["a"], min={MEMORY: 50}))
    pods = world.pods("a", {GPU: 1}, 3)
    bound, waiting = world.schedule()
    assert bound == {pods[0]: "node-1", pods[1]: "node-1"}  # 24 + 24; another 24 would be 72 of 50
    assert waiting[pods[2]][0] == "QuotaExhausted"


def test_why_it_waits_is_its_quota_only_if_that_bars_the_room() -> None:
    """A GPU of 80 GB is beyond the quota; the one of 24 is taken by others."""
    world = World(80, a=QuotaSpec(["a"], min={MEMORY: 50}))
    small = {"cpu": 10**6, "pods": 10, GPU: 1}
    world.cluster.upsert_node("small", NodeSpec(small, gpu_memory_gb=24))
    world.pods("elsewhere", {GPU: 1}, node="small")
    (pod,) = world.pods("a", {GPU: 1})
    _, waiting = world.schedule()
    assert waiting[pod][0] == "QuotaExhausted"
    world.pods("elsewhere", {GPU: 100}, node="node-0")
    _, waiting = world.schedule()
    assert waiting[pod][0] == "InsufficientGpu"


def test_pods_of_one_spec_wait_for_reasons_of_their_quotas() -> None:
    world = World(a=QuotaSpec(["a"], max={GPU: 0}), b=QuotaSpec(["b"], min={GPU: 0}), c=QuotaSpec(["c"], min={GPU: 0}))
    pods = [uid for name in "aabcd" for uid in world.pods(name, {GPU: 101})]
    outcome = Scheduler(world.cluster).schedule()
    reasons = dict(outcome.waiting)
    assert [reasons[uid].code for uid in pods] == [
        "QuotaMax", "QuotaMax", "QuotaExhausted", "QuotaExhausted", "InsufficientGpu",
    ]  # fmt: skip
    assert reasons[pods[0]] is reasons[pods[1]]
    assert reasons[pods[2]] is not reasons[pods[3]]


def reclaiming(**used: int) -> World:
    """Three quotas with a min of 40, 10 and 30 GB, and so many Pods of 10 GB each."""
    world = World(**{name: QuotaSpec([name], min={MEMORY: gb}) for name, gb in [("a", 40), ("b", 10), ("c", 30)]})
    for name, pods in used.items():
        world.pods(name, TEN, pods, node="node-0")
    return world


def victims(world: World, uid: str) -> list[str]:
    on_node = [pod for name in "abc" for pod, _ in world.cluster.quota(name).capacities()]
    return [pod for pod in sorted(on_node) if Scheduler(world.cluster).may_reclaim(uid, pod)]


def test_within_the_share_of_what_is_idle_a_borrower_takes_from_a_greater_one() -> None:
    world = reclaiming(a=4, b=4)
    (pod,) = world.pods("a", TEN)
    # Idle 30: a may have 40 + 40 x 30 / 80 = 55, b 10 + 3. a would have 50, b has 40.
    assert victims(world, pod) == ["b-005", "b-006", "b-007"]
    world.cluster.remove_pod("b-007")
    world.pods("a", TEN, node="node-0")
    (next_one,) = world.pods("a", TEN)
    assert victims(world, next_one) == []  # 60 > 55


def test_within_its_min_it_takes_from_everybody_who_is_beyond_his() -> None:
    world = reclaiming(a=3, b=1, c=4)
    (pod,) = world.pods("a", TEN)
    # a would have 40 of 40; c has 40 of 30, and its share of what is idle (10 + 0 + 0) is 30 x 10 / 80 = 3
    assert victims(world, pod) == ["c-007"]
    (other,) = world.pods("b", TEN)
    # b would have 20 of 10 + 1
    assert victims(world, other) == []
    (without,) = world.pods("elsewhere", TEN)
    assert victims(world, without) == []


def test_a_composite_is_one_quota() -> None:
    """Its namespaces are no rivals: who is over in one of them is not taken for another."""
    world = World(wide=QuotaSpec(["a", "b"], min={MEMORY: 20}), other=QuotaSpec(["c"], min={MEMORY: 20}))
    world.pods("a", TEN, 4, node="node-0")
    (pod,) = world.pods("b", TEN)
    (rival,) = world.pods("c", TEN)
    scheduler = Scheduler(world.cluster)
    assert not any(scheduler.may_reclaim(pod, f"a-00{number}") for number in range(4))
    assert [scheduler.may_reclaim(rival, f"a-00{number}") for number in range(4)] == [False, False, True, True]


def family() -> World:
    """Two organisations of two teams; the second team of the first borrows from everybody."""
    return World(
        org1=QuotaSpec([], min={GPU: 4}),
        a1=QuotaSpec(["a1"], min={GPU: 2}, parent="org1"),
        b1=QuotaSpec(["b1"], min={GPU: 2}, parent="org1"),
        org2=QuotaSpec([], min={GPU: 4}),
        a2=QuotaSpec(["a2"], min={GPU: 2}, parent="org2"),
        b2=QuotaSpec(["b2"], min={GPU: 2}, parent="org2"),
    )


def test_relatives_lend_among_themselves_first() -> None:
    world = family()
    borrowed = world.pods("b1", {GPU: 1}, 4, node="node-0")  # org1 uses 4 of 4: it lends within itself
    (sister,) = world.pods("a1", {GPU: 1})
    (stranger,) = world.pods("a2", {GPU: 1})
    scheduler = Scheduler(world.cluster)
    assert [scheduler.may_reclaim(sister, uid) for uid in borrowed] == [False, False, True, True]
    assert not any(scheduler.may_reclaim(stranger, uid) for uid in borrowed)
    more = world.pods("b1", {GPU: 1}, node="node-0")  # 5 of 4: beyond what org1 is guaranteed
    assert [scheduler.may_reclaim(stranger, uid) for uid in borrowed + more] == [False, False, True, True, True]


def test_who_is_within_his_own_min_is_left_alone_whatever_his_relatives_do() -> None:
    world = family()
    mine = world.pods("a1", {GPU: 1}, 2, node="node-0")
    borrowed = world.pods("b1", {GPU: 1}, 4, node="node-0")
    (stranger,) = world.pods("a2", {GPU: 1})
    scheduler = Scheduler(world.cluster)
    assert [scheduler.may_reclaim(stranger, uid) for uid in mine] == [False, False]
    assert [scheduler.may_reclaim(stranger, uid) for uid in borrowed] == [False, False, True, True]


def test_who_has_no_more_than_min_and_share_keeps_it_from_other_borrowers() -> None:
    world = reclaiming(a=4, b=2)
    (pod,) = world.pods("a", TEN)
    # Idle 30. a would have 50 of 40 + 15; b has 20, its share is 10 x 30 / 80 = 3: beyond 13
    assert victims(world, pod) == ["b-005"]
    world.cluster.upsert_quota("b", QuotaSpec(["b"], min={MEMORY: 15}))
    # b: 15 + 15 x 30 / 85 = 20, and a 40 + 14
    assert victims(world, pod) == []
    world.cluster.remove_pod("a-003")
    # a would have 40 of 40, and b is beyond its min: its second Pod is over
    assert victims(world, pod) == ["b-005"]


def test_only_what_is_beyond_all_the_way_down_is_taken() -> None:
    """team-1 is over for its CPU, and within its min of GPUs: org is beyond its GPUs by team-2 alone."""
    world = World(
        org=QuotaSpec([], min={GPU: 4, "cpu": 10}),
        one=QuotaSpec(["one"], min={GPU: 3, "cpu": 1}, parent="org"),
        two=QuotaSpec(["two"], min={GPU: 1, "cpu": 9}, parent="org"),
        other=QuotaSpec(["other"], min={GPU: 4}),
    )
    first = world.pods("one", {GPU: 1, "cpu": 2}, 2, node="node-0")
    second = world.pods("two", {GPU: 1}, 4, node="node-0")
    (pod,) = world.pods("other", {GPU: 1})
    assert dict(world.cluster.quota("one").capacities()) == dict.fromkeys(first, True)
    scheduler = Scheduler(world.cluster)
    assert [scheduler.may_reclaim(pod, uid) for uid in first] == [False, False]
    assert [scheduler.may_reclaim(pod, uid) for uid in second] == [False, True, True, True]


def test_nothing_is_taken_of_what_the_other_one_is_not_compared_on() -> None:
    world = World(a=QuotaSpec(["a"], min={GPU: 4}), b=QuotaSpec(["b"], min={"cpu": 0}))
    (over,) = world.pods("b", {GPU: 1, "cpu": 5}, node="node-0")
    (pod,) = world.pods("a", {GPU: 1, "cpu": 5})
    assert world.cluster.quota("b").capacities() == [(over, True)]
    # GPUs are not b's affair, CPU is not a's
    assert not Scheduler(world.cluster).may_reclaim(pod, over)
    world.cluster.upsert_quota("a", QuotaSpec(["a"], min={GPU: 4, "cpu": 5}))
    assert Scheduler(world.cluster).may_reclaim(pod, over)


def test_what_others_guarantee_and_the_pod_does_not_ask_for_is_no_obstacle() -> None:
    """a leans on org for its CPU, and uses some: that says nothing about its claim to GPUs."""
    world = World(
        org=QuotaSpec([], min={"cpu": 10}),
        a=QuotaSpec(["a"], min={GPU: 2}, parent="org"),
        b=QuotaSpec(["b"], min={GPU: 1}, parent="org"),
    )
    world.pods("a", {"cpu": 3}, node="node-0")
    lent = world.pods("b", {GPU: 1}, 2, node="node-0")
    (pod,) = world.pods("a", {GPU: 1})
    assert [Scheduler(world.cluster).may_reclaim(pod, uid) for uid in lent] == [False, True]
    (with_cpu,) = world.pods("a", {GPU: 1, "cpu": 1})
    assert not any(Scheduler(world.cluster).may_reclaim(with_cpu, uid) for uid in lent)


def test_why_it_waits_follows_the_quota() -> None:
    world = World(a=QuotaSpec(["a"], max={GPU: 1}))
    (pod,) = world.pods("a", {GPU: 4})
    scheduler = Scheduler(world.cluster)
    for most in (1, 3):
        world.cluster.upsert_quota("a", QuotaSpec(["a"], max={GPU: most}))
        ((uid, reason),) = scheduler.schedule().waiting
        assert uid == pod
        assert f"0 of {most} GPU" in reason.message
