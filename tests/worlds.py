"""Hypothesis strategies for small worlds in which things collide: few names, few labels, little room."""

from typing import Any

from hypothesis import strategies as st

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


nodes = st.composite(_node)()
pods = st.composite(_pod)()
