"""JSON to core: affinity to nodes and to Pods."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nos import _core
from nos._core import PodSelector, PodTerm, Requirement, SelectorTerm
from nos.kube import decode
from tests.kube.objects import container, pod

ONE_GPU = {"cpu": 500, "memory": 2**30, "nvidia.com/gpu": 1}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ZONE = "topology.kubernetes.io/zone"
WEB = {"matchLabels": {"app": "web"}}
IS_WEB = [Requirement("app", "In", ["web"])]


def near(**term: Any) -> dict[str, Any]:
    return {"podAffinity": {REQUIRED: [{"topologyKey": ZONE} | term]}}


@pytest.mark.parametrize(
    ("term", "selector"),
    [
        # Neither namespaces nor a selector of them: the Pod's own.
        ({"labelSelector": WEB}, PodSelector(IS_WEB, namespaces=["ml"])),
        ({"labelSelector": WEB, "namespaces": []}, PodSelector(IS_WEB, namespaces=["ml"])),
        ({"labelSelector": WEB, "namespaces": ["a", "b"]}, PodSelector(IS_WEB, namespaces=["a", "b"])),
        # An empty selector of namespaces: all of them.
        ({"labelSelector": WEB, "namespaceSelector": {}}, PodSelector(IS_WEB, namespace_labels=[])),
        (
            {"labelSelector": WEB, "namespaces": ["a"], "namespaceSelector": {"matchLabels": {"team": "x"}}},
            PodSelector(IS_WEB, namespaces=["a"], namespace_labels=[Requirement("team", "In", ["x"])]),
        ),
        # No selector: nobody. An empty one: everybody.
        ({}, PodSelector(None, namespaces=["ml"])),
        ({"labelSelector": {}}, PodSelector([], namespaces=["ml"])),
        (
            {
                "labelSelector": WEB
                | {
                    "matchExpressions": [
                        {"key": "tier", "operator": "NotIn", "values": ["db", "mq"]},
                        {"key": "gpu", "operator": "Exists"},
                        {"key": "old", "operator": "DoesNotExist"},
                    ]
                }
            },
            PodSelector(
                [
                    *IS_WEB,
                    Requirement("tier", "NotIn", ["db", "mq"]),
                    Requirement("gpu", "Exists"),
                    Requirement("old", "DoesNotExist"),
                ],
                namespaces=["ml"],
            ),
        ),
        # The API server has made a requirement of it when the Pod was created; the key says no more.
        (
            {
                "labelSelector": {
                    "matchExpressions": [{"key": "pod-template-hash", "operator": "In", "values": ["5"]}]
                },
                "matchLabelKeys": ["pod-template-hash"],
            },
            PodSelector([Requirement("pod-template-hash", "In", ["5"])], namespaces=["ml"]),
        ),
    ],
)
def test_whom_a_term_selects(term: dict[str, Any], selector: PodSelector) -> None:
    wants = decode.waiting_spec(pod({"affinity": near(**term)}))
    assert wants == _core.PodSpec(ONE_GPU, pod_affinity=[PodTerm(ZONE, selector)])
    others = PodSelector([Requirement("app", "In", ["other"])], namespaces=["ml"])
    assert wants != _core.PodSpec(ONE_GPU, pod_affinity=[PodTerm(ZONE, others)])


def test_each_kind_of_term_has_its_place() -> None:
    def term(app: str) -> dict[str, Any]:
        return {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}

    def core(app: str) -> PodTerm:
        return PodTerm("kubernetes.io/hostname", PodSelector([Requirement("app", "In", [app])], namespaces=["ml"]))

    affinity = {
        "podAffinity": {REQUIRED: [term("a")], PREFERRED: [{"weight": 30, "podAffinityTerm": term("b")}]},
        "podAntiAffinity": {REQUIRED: [term("c"), term("d")], PREFERRED: [{"weight": 7, "podAffinityTerm": term("e")}]},
    }
    terms = {
        "pod_affinity": [core("a")],
        "pod_anti_affinity": [core("c"), core("d")],
        "preferred_pod_affinity": [(30, core("b")), (-7, core("e"))],
    }
    assert decode.waiting_spec(pod({"affinity": affinity})) == _core.PodSpec(ONE_GPU, **terms)
    # On a node they go on to count: its anti-affinity keeps others away, its affinity attracts them.
    assert decode.bound_spec(pod({"affinity": affinity, "nodeName": "n"})) == _core.PodSpec(ONE_GPU, **terms)


def test_preferred_nodes() -> None:
    in_zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    affinity = {
        "nodeAffinity": {
            PREFERRED: [
                {"weight": 10, "preference": in_zone},
                {"weight": 90, "preference": {}},  # matches no node
                {
                    "weight": 1,
                    "preference": {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["8"]}]},
                },
            ]
        }
    }
    assert decode.waiting_spec(pod({"affinity": affinity})) == _core.PodSpec(
        ONE_GPU,
        preferred_affinity=[
            (10, SelectorTerm([Requirement("zone", "In", ["a"])])),
            (1, SelectorTerm([Requirement("cores", "Gt", ["8"])])),
        ],
    )


def test_on_a_node_its_own_choice_of_nodes_is_history() -> None:
    in_zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [in_zone]}}}
    bound = decode.bound_spec(pod({"affinity": affinity, "nodeSelector": {"zone": "a"}, "nodeName": "n"}))
    assert bound is decode.bound_spec(pod({"nodeName": "n"}, namespace="other"))


def test_a_term_means_something_else_in_another_namespace() -> None:
    one, other = (pod({"affinity": near(labelSelector=WEB)}, namespace=name) for name in ("ml", "web"))
    assert decode.waiting_spec(one) != decode.waiting_spec(other)
    assert decode.bound_spec(one) != decode.bound_spec(other)


def test_a_term_that_makes_no_sense() -> None:
    broken = near(labelSelector={"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]})
    waiting = pod({"affinity": broken})
    cluster = _core.Cluster()
    cluster.upsert_pod("u", decode.waiting_spec(waiting))
    assert _core.Scheduler(cluster).schedule().waiting[0][1].code == "Unsupported"
    assert decode.bound_spec(waiting) == _core.PodSpec(ONE_GPU)  # it is there, and counts


@given(st.lists(st.sampled_from(["kube-system", "ml", "web"])), st.text(max_size=5), st.sampled_from(["ml", "web"]))
def test_pods_share_a_spec_where_nothing_tells_them_apart(names: list[str], name: str, namespace: str) -> None:
    """Names, labels and annotations are none of a spec's business, nor is the namespace where no term looks at Pods."""
    labels = dict.fromkeys(names, name)
    body = {"containers": [container("1", image="cuda:12")], "nodeSelector": {"zone": "a"}}
    one = pod(body, name=name, namespace=namespace, labels=labels, annotations=labels)
    assert decode.waiting_spec(one) is decode.waiting_spec(pod(body))
    assert decode.bound_spec(one) is decode.bound_spec(pod(body))
    assert decode.template(one) is decode.template(pod(body))
