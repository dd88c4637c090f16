"""Hypothesis strategies for small worlds in which things collide: few names, few labels, little room."""

from typing import Any

from hypothesis import strategies as st

from tests.cut_gpus import MODELS, fits_with

GPU = "nvidia.com/gpu"
keys = st.sampled_from(["zone", "model", "size"])
values = st.sampled_from(["a", "b", "1", "2", "10", "+2", "-1"])
effects = st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"])
taints = st.tuples(st.sampled_from(["gpu", "spot"]), st.sampled_from(["", "x"]), effects)
tolerations = st.tuples(
    st.sampled_from(["", "gpu", "spot", "node.kubernetes.io/unschedulable"]),
    st.sampled_from(["Exists", "Equal"]),
    st.sampled_from(["", "x"]),
    st.sampled_from(["", "NoSchedule", "NoExecute"]),
).filter(lambda t: not (t[0] == "" and t[1] == "Equal"))  # the API server refuses that one
node_names = st.sampled_from(["n0", "n1", "n2", "n3"])
uids = st.sampled_from([f"u{i}" for i in range(8)])

label_requirements = st.one_of(
    st.tuples(keys, st.sampled_from(["In", "NotIn"]), st.lists(values, min_size=1, max_size=2)),
    st.tuples(keys, st.sampled_from(["Exists", "DoesNotExist"]), st.just([])),
    st.tuples(keys, st.sampled_from(["Gt", "Lt"]), st.lists(st.sampled_from(["1", "2", "5"]), min_size=1, max_size=1)),
)
field_requirements = st.tuples(
    st.just("metadata.name"), st.sampled_from(["In", "NotIn"]), st.lists(node_names, min_size=1, max_size=1)
)
terms = st.fixed_dictionaries(
    {"labels": st.lists(label_requirements, max_size=2), "fields": st.lists(field_requirements, max_size=1)}
)
ports = st.tuples(
    st.sampled_from([80, 81]), st.sampled_from(["TCP", "UDP"]), st.sampled_from(["0.0.0.0", "10.0.0.1", "10.0.0.2"])
)


def _node(draw: Any) -> dict[str, Any]:
    return {
        "allocatable": {
            "cpu": draw(st.sampled_from([0, 2000, 4000])),
            "memory": draw(st.sampled_from([0, 8, 16])),
            "ephemeral-storage": 10,
            "pods": draw(st.sampled_from([1, 3, 10])),
            GPU: draw(st.sampled_from([0, 1, 2, 8])),
            "nvidia.com/mig-1g.10gb": draw(st.sampled_from([0, 2])),
        },
        "labels": draw(st.dictionaries(keys, values, max_size=3)),
        "taints": draw(st.lists(taints, max_size=1)),
        "unschedulable": draw(st.sampled_from([False, False, False, True])),
    }


def _pod(draw: Any) -> dict[str, Any]:
    requests = {
        "cpu": draw(st.sampled_from([0, 500, 1000, 3000])),
        "memory": draw(st.sampled_from([0, 1, 8])),
    }
    pod: dict[str, Any] = {"requests": requests}
    kind = draw(st.sampled_from(["cpu", "share", "whole", "whole", "mig", "storage"]))
    if kind == "share":
        pod["share"] = draw(st.sampled_from([1, 300, 500, 700, 999]))
    elif kind == "whole":
        requests[GPU] = draw(st.sampled_from([1, 1, 2, 8]))
    elif kind == "mig":
        requests["nvidia.com/mig-1g.10gb"] = draw(st.sampled_from([0, 1, 2]))
    elif kind == "storage":
        requests["ephemeral-storage"] = 6
    if draw(st.booleans()):
        pod["selector"] = draw(st.dictionaries(keys, values, max_size=1))
        pod["affinity"] = draw(st.none() | st.lists(terms, max_size=2))
        pod["ports"] = draw(st.lists(ports, max_size=1))
    pod["tolerations"] = draw(st.lists(tolerations, max_size=2))
    return pod


def mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The other one in one case of six."""
    return st.integers(0, 5).flatmap(lambda number: usual if number else other)


PROFILES = {
    "a100-40gb": ["1g.5gb", "1g.5gb+me", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"],
    "a30-24gb": ["1g.6gb", "2g.12gb", "4g.24gb"],
    "rtxpro6000-96gb": ["1g.24gb", "1g.24gb+me.all", "2g.48gb"],
}
holders = st.sampled_from(["", "", "", "", "", "", "u0", "u1", "u2", "gpus/stranger"])
models = st.sampled_from(["a100-40gb"] * 5 + ["a30-24gb", "rtxpro6000-96gb"])


def _gpu(draw: Any) -> dict[str, Any]:
    """One that nos cuts: whole, cut or ill, some of it in hands that may be on record here, elsewhere or nowhere."""
    model, healthy = draw(mostly(models, st.none())), draw(st.sampled_from([True] * 9 + [False]))
    gpu: dict[str, Any] = {"model": model, "healthy": healthy, "mig": False, "ready": False, "pod": "", "instances": []}
    if model is None or draw(st.booleans()):
        return gpu | {"ready": draw(st.booleans()), "pod": draw(holders)}
    there: list[tuple[str, int]] = []
    usual = [placement for placement in MODELS[model].placements if placement[0] in PROFILES[model]]
    for placement in draw(st.lists(st.sampled_from(usual), max_size=5)):
        if fits_with(model, there, placement):
            there.append(placement)
    return gpu | {"mig": True, "instances": [(*placement, draw(st.booleans()), draw(holders)) for placement in there]}


def _cut_node(draw: Any) -> dict[str, Any]:
    gpus = draw(st.lists(st.composite(_gpu)(), min_size=2, max_size=3))
    allocatable = {"cpu": 4000, "memory": 16, "ephemeral-storage": 10, "pods": 10, GPU: len(gpus)}
    return {"allocatable": allocatable | {"nvidia.com/mig-1g.10gb": 0}, "gpus": gpus}


def _profile_pod(draw: Any) -> dict[str, Any]:
    """Slices of one or two profiles, and sometimes a whole GPU too."""
    profiles = st.sampled_from(PROFILES[draw(models)])
    wanted = draw(st.dictionaries(profiles, st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=2))
    requests = {f"nvidia.com/mig-{name.replace('+', '.')}": count for name, count in wanted.items()}
    return {"requests": requests | {GPU: draw(st.sampled_from([0, 0, 0, 1]))}}


nodes = st.composite(_node)()
pods = st.composite(_pod)()
cut_nodes = st.composite(_cut_node)()
profile_pods = st.composite(_profile_pod)()
