"""What a quota counts and guarantees, on examples that can be followed by hand."""

import pytest

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, QuotaSpec
from tests.quota_oracle import COMPUTE, GPU, MEMORY

ROOM = {"cpu": 10**6, "memory": 10**12, "pods": 10**4, GPU: 1000}


def cluster(gpu_memory_gb: int = 0, **quotas: QuotaSpec) -> Cluster:
    made = Cluster()
    made.upsert_node("node", NodeSpec(ROOM, gpu_memory_gb=gpu_memory_gb))
    for name, quota in quotas.items():
        made.upsert_quota(name, quota)
    return made


def run(on: Cluster, namespace: str, *requests: dict[str, int], arrival: int = 0) -> None:
    """Pods on the node; the n-th of a namespace is called <namespace>-<n>."""
    for request in requests:
        number = next(number for number in range(1000) if f"{namespace}-{number}" not in on)
        on.upsert_pod(
            f"{namespace}-{number}", PodSpec(request), labels=PodLabels(namespace), node="node", arrival=arrival
        )


def ten(count: int) -> list[dict[str, int]]:
    return [{"nvidia.com/gpu-10gb": 1}] * count


CHARGES = {
    "a GPU, and an instance: 32 + 10": ({GPU: 1, "nvidia.com/mig-1g.10gb": 1}, 0, 32 + 10, 7 + 1),
    "a GPU of a node that says what it has": ({GPU: 2}, 80, 2 * 80, 2 * 7),
    "instances have the memory of their name wherever they are": ({"nvidia.com/mig-3g.20gb": 2}, 40, 2 * 20, 2 * 3),
    "with media engines": ({"nvidia.com/mig-1g.10gb.me": 1}, 80, 10, 1),
    "a part of an instance's compute": ({"nvidia.com/mig-1c.2g.20gb": 1}, 80, 20, 2),
    "MPS slices: 10 of 40 GB are 1.75 sevenths, rounded up": ({"nvidia.com/gpu-10gb": 3}, 40, 3 * 10, 3 * 2),
    "a tiny slice takes a seventh": ({"nvidia.com/gpu-1gb": 1}, 80, 1, 1),
    "no GPU": ({"cpu": 4000}, 80, 0, 0),
}


@pytest.mark.parametrize(("requests", "gpu_memory_gb", "memory", "sevenths"), CHARGES.values(), ids=CHARGES)
def test_charge(requests: dict[str, int], gpu_memory_gb: int, memory: int, sevenths: int) -> None:
    on = cluster(gpu_memory_gb, team=QuotaSpec(["team"], min={MEMORY: 0, COMPUTE: 0}))
    run(on, "team", requests)
    assert on.quota("team").used == {MEMORY: memory, COMPUTE: sevenths}


def test_a_share_of_a_gpu_counts_the_part_of_it() -> None:
    on = cluster(80, team=QuotaSpec(["team"], min={MEMORY: 0, COMPUTE: 0}))
    on.upsert_pod("half", PodSpec({}, gpu_share_milli=500), labels=PodLabels("team"), node="node")
    # 0.5 x 80 GB; 0.5 x 7 = 3.5 sevenths, rounded up
    assert on.quota("team").used == {MEMORY: 40, COMPUTE: 4}


def test_what_the_siblings_leave_idle_is_shared_by_min() -> None:
    on = cluster(**{name: QuotaSpec([name], min={MEMORY: gb}) for name, gb in [("a", 40), ("b", 10), ("c", 30)]})
    run(on, "a", *ten(4))
    run(on, "b", *ten(4))
    # Idle: 0 + 0 + 30. A: 40 x 30 / 80 = 15; B: 10 x 30 / 80 = 3.75; C: 30 x 30 / 80 = 11.25
    assert {name: on.quota(name).guaranteed[MEMORY] for name in "abc"} == {"a": 15, "b": 3, "c": 11}
    # B is guaranteed 10: its first Pod, by uid among equals, and no other
    assert on.quota("b").capacities() == [("b-0", False), ("b-1", True), ("b-2", True), ("b-3", True)]
    assert not any(over for _, over in on.quota("a").capacities())


def test_a_quota_over_several_namespaces_counts_once() -> None:
    on = cluster(
        wide=QuotaSpec(["a", "b", "c"], min={MEMORY: 60}),
        other=QuotaSpec(["d"], min={MEMORY: 20}),
    )
    run(on, "a", *ten(1))
    run(on, "c", *ten(2))
    assert on.quota("wide").used == {MEMORY: 10 + 20}
    # Idle: (60 - 30) + 20 = 50. Other: 20 x 50 / (60 + 20) = 12.5
    assert on.quota("other").guaranteed == {MEMORY: 12}


def test_resources_that_it_does_not_name_are_not_counted() -> None:
    on = cluster(team=QuotaSpec(["team"], min={GPU: 2}, max={"cpu": 8000}))
    run(on, "team", {GPU: 1, "cpu": 4000, "memory": 10**9})
    state = on.quota("team")
    assert (state.used, state.min, state.max) == ({GPU: 1, "cpu": 4000}, {GPU: 2}, {"cpu": 8000})
    assert state.guaranteed == {GPU: 2 * 1 // 2}


def test_first_come_first_served() -> None:
    on = cluster(team=QuotaSpec(["team"], min={GPU: 3}))
    for uid, arrival, priority, gpus in [
        ("third", 1, 0, 2),
        ("second", 1, 0, 1),
        ("first", 1, 9, 1),  # of those who came together, the important one before the small one
        ("zeroth", 0, 0, 1),
        ("last", 2, 9, 0),  # it takes no GPU, and yet: what came before it has used up all
    ]:
        labels = PodLabels("team")
        on.upsert_pod(uid, PodSpec({GPU: gpus}), labels=labels, node="node", arrival=arrival, priority=priority)
    # zeroth 1, first 2, second 3, third 5 > 3
    over = {uid for uid, is_over in on.quota("team").capacities() if is_over}
    assert over == {"third", "last"}
    on.remove_pod("zeroth")  # first 1, second 2, third 4 > 3
    assert {uid for uid, is_over in on.quota("team").capacities() if is_over} == {"third", "last"}
    on.remove_pod("first")  # second 1, third 3
    assert not any(is_over for _, is_over in on.quota("team").capacities())


def test_a_parent_guarantees_what_its_children_are_guaranteed_together() -> None:
    on = cluster(
        org=QuotaSpec([], min={GPU: 6}),
        a=QuotaSpec(["a"], min={GPU: 3}, parent="org"),
        b=QuotaSpec(["b"], min={GPU: 5}, parent="org"),
        free=QuotaSpec(["free"], max={GPU: 9}, parent="org"),
    )
    run(on, "a", {GPU: 2})
    run(on, "free", {GPU: 1})
    assert on.quota("org").min == {GPU: 3 + 5}
    assert on.quota("org").used == {GPU: 2 + 1}
    # free names no min: it leans on its parent's, of which its siblings are guaranteed all
    assert on.quota("free").capacities() == [("free-0", True)]
    on.upsert_quota("org", QuotaSpec([], min={GPU: 9}))
    assert on.quota("free").capacities() == [("free-0", False)]  # 9 - 3 - 5 = 1
    # Idle among the siblings that name it: (3 - 2) + 5 = 6. a: 3 x 6 / 8 = 2.25, b: 5 x 6 / 8 = 3.75
    assert (on.quota("a").guaranteed, on.quota("b").guaranteed) == ({GPU: 2}, {GPU: 3})


def test_a_parent_may_come_later_and_go_again() -> None:
    on = cluster(a=QuotaSpec(["a"], min={GPU: 3}, parent="org"), b=QuotaSpec(["b"], min={GPU: 1}))
    run(on, "a", {GPU: 1})
    assert on.quota("a").guaranteed == {GPU: 3 * 3 // 4}  # beside b: idle 2 + 1
    on.upsert_quota("org", QuotaSpec(["o"], min={GPU: 3}))
    assert on.quota("org").used == {GPU: 1}
    assert on.quota("a").guaranteed == {GPU: 2}  # alone: idle 2
    on.remove_quota("org")
    assert on.quota("a").guaranteed == {GPU: 3 * 3 // 4}


def test_a_namespace_has_one_quota_and_nobody_is_his_own_ancestor() -> None:
    on = cluster(a=QuotaSpec(["a", "x"], parent="b"))
    with pytest.raises(ValueError, match=r"namespace x has quota a"):
        on.upsert_quota("b", QuotaSpec(["x"]))
    with pytest.raises(ValueError, match=r"quota b would be its own ancestor"):
        on.upsert_quota("b", QuotaSpec(["b"], parent="a"))
    with pytest.raises(ValueError, match=r"its own ancestor"):
        on.upsert_quota("c", QuotaSpec(["c"], parent="c"))
    with pytest.raises(ValueError, match=r"namespace a is named twice"):
        QuotaSpec(["a", "a"])
    with pytest.raises(ValueError, match=r"cpu: -1 is not between"):
        QuotaSpec(["a"], min={"cpu": -1})
    with pytest.raises(KeyError):
        on.quota("b")
    assert not on.remove_quota("b")
    assert QuotaSpec(["a", "b"], min={GPU: 1}) == QuotaSpec(["b", "a"], min={GPU: 1})
    assert QuotaSpec(["a"], min={GPU: 1}) != QuotaSpec(["a"], max={GPU: 1})


def test_a_pod_is_charged_while_it_is_on_a_node() -> None:
    on = cluster(team=QuotaSpec(["team"], min={"cpu": 10}))
    labels = PodLabels("team")
    on.upsert_pod("pod", PodSpec({"cpu": 3}), labels=labels)
    assert on.quota("team").used == {"cpu": 0}
    on.assume("pod", "node")
    assert on.quota("team").used == {"cpu": 3}
    on.forget("pod")
    assert on.quota("team").used == {"cpu": 0}
    on.upsert_pod("pod", PodSpec({"cpu": 3}), labels=labels, node="node")
    on.upsert_pod("pod", PodSpec({"cpu": 3}), labels=labels, node="node", terminating=True)
    assert on.quota("team").used == {"cpu": 3}
    on.upsert_pod("other", PodSpec({"cpu": 5}), labels=labels, node="node", nominated=True)
    assert on.quota("team").used == {"cpu": 3}  # another scheduler's, not there yet
    on.remove_pod("pod")
    assert on.quota("team").used == {"cpu": 0}


def test_who_leans_on_a_parent_is_over_by_what_others_do_who_lean_on_it() -> None:
    on = cluster(
        org=QuotaSpec([], min={GPU: 2}),
        a=QuotaSpec(["a"], parent="org"),
        b=QuotaSpec(["b"], parent="org"),
    )
    run(on, "a", {GPU: 2}, arrival=2)
    assert on.quota("a").capacities() == [("a-0", False)]
    on.changed_quotas()
    run(on, "b", {GPU: 1}, arrival=1)
    assert on.quota("a").capacities() == [("a-0", True)]
    assert on.changed_quotas() == ["a", "b", "org"]
    on.remove_pod("b-0")
    assert on.quota("a").capacities() == [("a-0", False)]
