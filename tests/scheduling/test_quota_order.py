"""Who goes first where there is not room for all: who is within his min before who borrows, and those fairly."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import Cluster, NodeSpec, PodLabels, PodSpec, QuotaSpec, Scheduler
from tests.quota_oracle import GPU, Pod, Quotas
from tests.quota_worlds import build, lending, quotas, worlds


@st.composite
def crowds(draw: st.DrawFn) -> tuple[Quotas, int]:
    """Many Pods wait, and there are few free GPUs."""
    world = draw(worlds(draw(st.sampled_from([quotas, lending]))))
    world.nodes = {"m0": draw(st.sampled_from([0, 24, 80]))}
    world.pods = {uid: pod for uid, pod in world.pods.items() if pod.node and "share" not in pod.asks}
    for pod in world.pods.values():
        pod.node = "m0"
    spaces = sorted({space for quota in world.quotas.values() for space in quota.namespaces})
    for number in range(draw(st.integers(5, 15))):
        space = draw(st.sampled_from([*spaces, "n5"]))
        requests = {GPU: draw(st.sampled_from([1, 1, 2])), "cpu": draw(st.sampled_from([0, 0, 30]))}
        world.pods[f"x{number}"] = Pod(
            space, {"requests": requests}, draw(st.sampled_from([0, 0, 5])), draw(st.sampled_from([1, 2, 3]))
        )
    return world, draw(st.integers(0, 8))


@given(crowds())
@settings(max_examples=300)
def test_order(crowd: tuple[Quotas, int]) -> None:
    world, free = crowd
    taken = sum(pod.asks["requests"].get(GPU, 0) for pod in world.pods.values() if pod.node)
    cluster = build(world)
    room = {"cpu": 10**6, "pods": 1000, GPU: taken + free, "example.com/thing": 1000, "nvidia.com/gpu-10gb": 1000}
    cluster.upsert_node("m0", NodeSpec(room, gpu_memory_gb=world.nodes["m0"]))
    outcome = Scheduler(cluster).schedule()
    cluster.check()

    placed: list[str] = []

    def place(uid: str) -> None:
        nonlocal free
        gpus = world.pods[uid].asks["requests"].get(GPU, 0)
        if gpus <= free and not world.refusal(uid, world.nodes["m0"]):
            world.pods[uid].node = "m0"
            free -= gpus
            placed.append(uid)

    world.take_turns(place)
    assert [bind.uid for bind in outcome.binds] == placed


def world_of(gpus: int, *pods: tuple[str, str, int, int], **least: int) -> Cluster:
    """Pods as uid, namespace, GPUs, priority, in the order of their arrival."""
    cluster = Cluster()
    cluster.upsert_node("node", NodeSpec({"pods": 1000, GPU: gpus}))
    for name, amount in least.items():
        cluster.upsert_quota(name, QuotaSpec([name], min={GPU: amount}))
    for arrival, (uid, namespace, wanted, priority) in enumerate(pods):
        labels = PodLabels(namespace)
        cluster.upsert_pod(
            uid, PodSpec({GPU: wanted}), labels=labels, priority=priority, arrival=arrival, preempts=False
        )
    return cluster


def order(cluster: Cluster) -> list[str]:
    return [bind.uid for bind in Scheduler(cluster).schedule().binds]


def test_who_is_entitled_comes_before_who_borrows_whatever_their_priorities() -> None:
    pods = [("a1", "a", 1, 9), ("a2", "a", 1, 9), ("free", "elsewhere", 1, 0), ("b1", "b", 1, 0), ("a3", "a", 1, 9)]
    # a is guaranteed 1; of 3 GPUs the second is for whom no quota bounds, the third for b, who is guaranteed 9
    assert order(world_of(3, *pods, a=1, b=9)) == ["a1", "free", "b1"]
    assert order(world_of(5, *pods, a=1, b=9)) == ["a1", "free", "b1", "a2", "a3"]


def test_borrowers_take_turns_by_how_far_they_are_beyond_their_min() -> None:
    pods = [(f"{name}{number}", name, 1, 0) for name in "ab" for number in range(8)]
    # a: 2, b: 4. Then a 2/2 and b 4/4 tie: a0 came first. a 3/2 > b 5/4, b 6/4 = a 3/2: a first, who came first.
    assert order(world_of(10, *pods, a=2, b=4, idle=99)) == [
        "a0", "a1", "b0", "b1", "b2", "b3",
        "a2", "b4", "b5", "a3",
    ]  # fmt: skip


def test_nobody_overtakes_by_asking_for_less_than_his_quota_s_more_important_pods() -> None:
    pods = [("small", "a", 1, 0), ("large", "a", 3, 9), ("other", "b", 1, 0)]
    # large borrows; small would be within the min, but not before it
    assert order(world_of(9, *pods, a=2, b=9)) == ["other", "large", "small"]
    equals = [("large", "a", 3, 0), ("small", "a", 1, 0), ("other", "b", 1, 0)]
    assert order(world_of(9, *equals, a=2, b=9)) == ["small", "other", "large"]


def test_a_gang_is_asked_about_as_a_whole() -> None:
    cluster = world_of(4, ("b1", "b", 1, 0), ("b2", "b", 1, 0), ("b3", "b", 1, 0), a=2, b=3)
    cluster.upsert_gang("gang", min_members=3)
    for number in range(3):
        cluster.upsert_pod(
            f"g{number}", PodSpec({GPU: 1}), labels=PodLabels("a"), priority=9, gang="gang", preempts=False
        )
    # One of it would be within a's min; three are not, so that b's come first and leave it one GPU
    assert order(cluster) == ["b1", "b2", "b3"]
    cluster.upsert_quota("a", QuotaSpec(["a"], min={GPU: 3}))
    again = cluster.copy()
    for number in (1, 2, 3):
        again.forget(f"b{number}")
    assert order(again) == ["g0", "g1", "g2", "b1"]


def test_a_gang_borrows_as_a_whole_though_no_quota_bounds_one_of_it() -> None:
    cluster = world_of(4, ("b1", "b", 1, 0), ("b2", "b", 1, 0), a=1, b=9)
    cluster.upsert_gang("gang", min_members=3)
    for number, space in enumerate(["a", "a", "elsewhere"]):
        cluster.upsert_pod(
            f"g{number}", PodSpec({GPU: 1}), labels=PodLabels(space), priority=9, gang="gang", preempts=False
        )
    # a has 1 and the gang asks it for 2: all of it comes after b's, who leave it 2 GPUs of the 3 that it needs
    assert order(cluster) == ["b1", "b2"]


def test_organisations_come_before_their_teams() -> None:
    cluster = Cluster()
    cluster.upsert_node("node", NodeSpec({"pods": 1000, GPU: 3}))
    for name, parent, namespaces, least in [
        ("org1", "", [], 2), ("a1", "org1", ["a1"], 1), ("b1", "org1", ["b1"], 1),
        ("org2", "", [], 2), ("a2", "org2", ["a2"], 1), ("idle", "", ["i"], 9),
    ]:  # fmt: skip
        cluster.upsert_quota(name, QuotaSpec(namespaces, min={GPU: least}, parent=parent))
    for arrival, (uid, namespace, node) in enumerate(
        [("a", "a1", "node"), ("b", "b1", "node"), ("c", "b1", ""), ("d", "a2", ""), ("e", "a2", "")]
    ):
        cluster.upsert_pod(uid, PodSpec({GPU: 1}), labels=PodLabels(namespace), node=node, arrival=arrival)
    # d is within a2's min. Had e and c a choice: org1 is at 2/2, org2 at 1/2.
    assert order(cluster) == ["d"]
    cluster.upsert_node("more", NodeSpec({"pods": 1000, GPU: 1}))
    assert order(cluster) == ["e"]
