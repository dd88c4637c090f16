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

# Pods that look at each other. Few labels and places, so that many match.
PLACES = ("zone", "rack", "host")
namespace_names = st.sampled_from(["one", "two", "three"])
namespace_labels = st.dictionaries(st.just("team"), st.sampled_from(["a", "b"]), max_size=1)
pod_labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b"]), max_size=2)


def _requirements_on(keys: list[str]) -> st.SearchStrategy[Any]:
    key, value = st.sampled_from(keys), st.sampled_from(["a", "b"])
    return st.one_of(
        st.tuples(key, st.sampled_from(["In", "In", "NotIn"]), st.lists(value, min_size=1, max_size=2)),
        st.tuples(key, st.sampled_from(["Exists", "DoesNotExist"]), st.just([])),
    )


_selected_labels = mostly(st.lists(_requirements_on(["app", "tier"]), max_size=2), st.none())
_selectors = st.fixed_dictionaries(
    {
        "labels": _selected_labels,
        "namespaces": mostly(st.just(["one"]), st.lists(namespace_names, max_size=2, unique=True)),
    },
    optional={"namespace_labels": st.lists(_requirements_on(["team"]), max_size=1)},
)
near_terms = st.tuples(st.sampled_from(PLACES), _selectors)
spreads = st.fixed_dictionaries(
    {
        "key": st.sampled_from(PLACES),
        "selector": st.fixed_dictionaries({"labels": _selected_labels}),
        "max_skew": st.sampled_from([1, 1, 2]),
        "min_domains": st.sampled_from([1, 1, 2, 3]),
        "required": mostly(st.just(True), st.just(False)),
        "honor_affinity": st.booleans(),
        "honor_taints": st.booleans(),
    }
)


def _place(draw: Any) -> dict[str, Any]:
    """A node with a place in most topologies; cordoned ones have the taint that the controller manager gives them."""
    labels = {key: draw(st.sampled_from(["p", "q"])) for key in PLACES if draw(st.integers(0, 5))}
    cordoned = draw(mostly(st.just(False), st.just(True)))
    cordon = [("node.kubernetes.io/unschedulable", "", "NoSchedule")] if cordoned else []
    return {
        "allocatable": {"cpu": draw(st.sampled_from([1000, 4000])), "pods": draw(st.sampled_from([3, 10]))},
        "labels": labels,
        "taints": [*draw(mostly(st.just([]), st.lists(taints, max_size=1))), *cordon],
        "unschedulable": cordoned,
    }


def _neighbour(draw: Any) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "requests": {"cpu": draw(st.sampled_from([0, 500]))},
        "namespace": draw(mostly(st.just("one"), namespace_names)),
        "labels": draw(pod_labels),
        "tolerations": draw(mostly(st.just([]), st.lists(tolerations, max_size=1))),
        "selector": draw(mostly(st.just({}), st.dictionaries(st.just("zone"), st.just("p"), max_size=1))),
    }
    for kind in draw(st.lists(st.sampled_from(["near", "apart", "spread", "liked"]), max_size=3)):
        one = {"spread": spreads, "liked": st.tuples(st.sampled_from([-10, 5, 100]), near_terms)}.get(kind, near_terms)
        pod.setdefault(kind, []).append(draw(one))
    return pod


places = st.composite(_place)()
neighbours = st.composite(_neighbour)()
