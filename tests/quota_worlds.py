"""Hypothesis strategies for small worlds in which quotas matter: few names, tight bounds, room for everybody."""

from hypothesis import strategies as st

from nos._core import Cluster, NodeSpec, PodLabels
from tests.oracle import core_pod
from tests.quota_oracle import COMPUTE, GPU, MEMORY, Pod, Quota, Quotas

names = st.sampled_from(["a", "b", "c", "d", "e"])
namespaces = st.sampled_from(["n0", "n1", "n2", "n3", "n4", "n5"])
nodes = st.sampled_from(["m0", "m1", "m2"])
memories = st.sampled_from([0, 24, 40, 80])
uids = st.sampled_from([f"u{number}" for number in range(12)])
resources = st.sampled_from(["cpu", "pods", GPU, MEMORY, COMPUTE, "nvidia.com/mig-1g.10gb"])
amounts = st.dictionaries(resources, st.sampled_from([0, 1, 2, 7, 20, 64, 100]), max_size=3)
asks = st.one_of(
    st.builds(lambda count: {GPU: count}, st.sampled_from([1, 1, 2])),
    st.builds(lambda count: {"nvidia.com/mig-1g.10gb": count}, st.sampled_from([1, 3])),
    st.just({"nvidia.com/mig-2g.20gb.me": 1}),
    st.just({"nvidia.com/mig-1c.3g.40gb": 1, GPU: 1}),
    st.builds(lambda count: {"nvidia.com/gpu-10gb": count}, st.sampled_from([0, 1, 2])),
    st.just({"example.com/thing": 5}),
)
pods = st.builds(
    lambda requests, cpu, share: (
        {"requests": {"cpu": cpu, **requests}}
        if GPU in requests or not share
        else {"requests": requests, "share": share}
    ),
    asks,
    st.sampled_from([0, 1, 30]),
    st.sampled_from([0, 0, 300, 999]),
)
quotas = st.builds(
    Quota,
    namespaces=st.lists(namespaces, max_size=3, unique=True),
    min=amounts,
    max=amounts,
    parent=st.just("") | names | st.just("absent"),
)


# Of few resources, so that one quota often has what another one lacks.
lending = st.builds(
    Quota,
    namespaces=st.lists(namespaces, min_size=1, max_size=2, unique=True),
    min=st.fixed_dictionaries(
        {GPU: st.integers(0, 6)}, optional={MEMORY: st.sampled_from([0, 80, 400]), "cpu": st.sampled_from([0, 100])}
    ),
    max=st.just({}),
)


def offer(memory: int) -> NodeSpec:
    sliced = ["nvidia.com/mig-1g.10gb", "nvidia.com/mig-2g.20gb.me", "nvidia.com/mig-1c.3g.40gb", "nvidia.com/gpu-10gb"]
    room = {"cpu": 10**6, "pods": 1000, GPU: 100, "example.com/thing": 1000} | dict.fromkeys(sliced, 1000)
    return NodeSpec(room, gpu_memory_gb=memory)


def build(world: Quotas) -> Cluster:
    cluster = Cluster()
    for name, memory in world.nodes.items():
        cluster.upsert_node(name, offer(memory))
    for name, quota in world.quotas.items():
        cluster.upsert_quota(name, quota.core())
    for uid, pod in world.pods.items():
        cluster.upsert_pod(
            uid,
            core_pod(pod.asks),
            labels=PodLabels(pod.namespace),
            node=pod.node,
            priority=pod.priority,
            arrival=pod.arrival,
            preempts=False,
        )
    return cluster


@st.composite
def worlds(draw: st.DrawFn, kind: st.SearchStrategy[Quota] = quotas) -> Quotas:
    """Up to 12 Pods on nodes, and a few that wait."""
    world = Quotas(nodes={f"m{number}": draw(memories) for number in range(3)})
    tree = draw(st.dictionaries(names, kind, min_size=2))
    taken: set[str] = set()
    for name, quota in tree.items():
        quota.namespaces = [space for space in quota.namespaces if space not in taken]
        quota.parent = draw(st.sampled_from(["", "", *world.quotas]))  # those before it: no circle
        taken.update(quota.namespaces)
        world.quotas[name] = quota
    spaces = st.sampled_from(sorted(taken) * 5 + ["n5"])
    for number in range(draw(st.integers(0, 12))):
        asks, node = draw(pods), draw(nodes)
        world.pods[f"u{number}"] = Pod(
            draw(spaces), asks, draw(st.sampled_from([0, 0, 5])), draw(st.sampled_from([1, 2, 3])), node
        )
    for number in range(draw(st.integers(1, 3))):
        world.pods[f"w{number}"] = Pod(
            draw(spaces), draw(pods), draw(st.sampled_from([0, 0, 5])), draw(st.sampled_from([1, 2, 3]))
        )
    return world
