"""The backend against the real API server and the real Karpenter, whose static NodePools have a scale.

The pool, the settings and the role are those of docs/autoscaling/scale-subresource.md, but for the NodeClass, which is
kwok's. Most tests need no more than the kind; then its nodes are made by hand, as a platform would.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import yaml

from nos.autoscaler.backend import BackendError, Group, Instance, Order, OrderRefusedError, State, Survey
from nos.autoscaler.scale import Scaled, ScaleSettings
from nos.controller.settings import Settings
from nos.kube.access import Access
from nos.testbed import Testbed
from nos.testbed.karpenter import InstanceType, crds
from nos.testbed.nodes import make_node
from tests.autoscaler.raced import Raced
from tests.controller.cluster import eventually

pytestmark = pytest.mark.cluster
Object = dict[str, Any]
Result = TypeVar("Result")

DOC = (Path(__file__).parents[2] / "docs" / "autoscaling" / "scale-subresource.md").read_text()
POOL, SETTINGS, ROLE = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL))
POOLS, CLAIMS, NODES = "/apis/karpenter.sh/v1/nodepools", "/apis/karpenter.sh/v1/nodeclaims", "/api/v1/nodes"
CLASSES = "/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
_SUBJECTS = [{"kind": "ServiceAccount", "name": "nos-scheduler", "namespace": "nos-system"}]
_READ_NODES = {
    "metadata": {"name": "nos-reads-nodes"},
    "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}],
}


class Rig:
    """Static pools, and the backend in the role of the controller."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed, self.api = testbed, testbed.api
        self.kubeconfig = testbed.kubeconfig_of()
        self.targets: list[Object] = copy.deepcopy(SETTINGS["scaling"]["scale"]["targets"])
        self.races: dict[str, Callable[[], None]] = {}

    def call(self, work: Callable[[Scaled], Awaitable[Result]]) -> Result:
        """A backend that has just started, which remembers nothing."""

        async def run() -> Result:
            access = await asyncio.to_thread(Access.load, str(self.kubeconfig))
            async with Raced(access, self.races) as client:
                return await work(Scaled(client, msgspec.convert({"targets": self.targets}, ScaleSettings)))

        return asyncio.run(run())

    def survey(self) -> Survey:
        survey = self.call(lambda backend: backend.survey())
        assert len({one.id for one in survey.instances}) == len(survey.instances)
        return survey

    def group(self) -> Group:
        return self.survey().groups[0]

    def order(self, count: int, group: Group | None = None) -> None:
        wanted = group or self.group()
        self.call(lambda backend: backend.increase(wanted, [Order(f"r-{n}") for n in range(count)]))

    def states(self) -> list[tuple[str, State]]:
        return sorted((one.id, one.state) for one in self.survey().instances)

    def pool(self, name: str = "training", **spec: Any) -> None:
        pool = copy.deepcopy(POOL)
        pool["metadata"]["name"] = name
        pool["spec"] |= spec
        pool["spec"]["template"]["spec"]["nodeClassRef"] |= {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass"}
        self.api.create(POOLS, pool)

    def replicas(self) -> int:
        return int(self.api.get(f"{POOLS}/training")["spec"]["replicas"])

    def resize(self, replicas: int) -> None:
        self.testbed.kubectl("scale", "nodepool", "training", f"--replicas={replicas}")

    def node(self, number: int, *, ready: bool = True, shape: str = "8xH100", **labels: str) -> str:
        node = make_node(shape, number, labels={"karpenter.sh/nodepool": "training"} | labels)
        node["status"]["conditions"][0]["status"] = "True" if ready else "False"
        if not ready:
            node["metadata"]["annotations"] = {}  # not kwok's
            # As a real API server does at once; the testbed's leaves it to the controller manager.
            node["spec"]["taints"].append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
        self.api.create(NODES, node)
        name = str(node["metadata"]["name"])
        if ready:
            eventually(lambda: (name, State.UP) in self.states(), why=f"{name} is up")
        return name


@pytest.fixture(scope="module")
def served(testbed: Testbed) -> Iterator[Testbed]:
    """The kinds, and what the documentation lets nos do with them beside its own role, of which it needs one rule."""
    testbed._serve(crds())
    for role in (ROLE, _READ_NODES):
        name = role["metadata"]["name"]
        testbed.api.create(f"{_RBAC}/clusterroles", role)
        bound = {"metadata": {"name": name}, "subjects": _SUBJECTS, "roleRef": _ROLE_REF | {"name": name}}
        testbed.api.create(f"{_RBAC}/clusterrolebindings", bound)
    yield testbed
    for role in (ROLE, _READ_NODES):
        for kind in ("clusterrolebindings", "clusterroles"):
            testbed.api.request("DELETE", f"{_RBAC}/{kind}/{role['metadata']['name']}")


@pytest.fixture
def rig(served: Testbed) -> Iterator[Rig]:
    rig = Rig(served)
    rig.pool()
    yield rig
    for path in (POOLS, CLAIMS, CLASSES, NODES):

        def is_emptied(path: str = path) -> bool:
            rig.api.request("DELETE", path)
            found = rig.api.get(path)["items"]
            for one in found:
                rig.testbed.api.request(
                    "PATCH",
                    f"{path}/{one['metadata']['name']}",
                    {"metadata": {"finalizers": None}},
                    "application/merge-patch+json",
                )
            return not found

        eventually(is_emptied, why=f"{path} are gone")


def test_the_documentation_is_valid() -> None:
    chosen = msgspec.convert(SETTINGS, Settings).scaling.scale
    assert chosen
    assert [target.id for target in chosen.targets] == ["NodePool/training"]


def test_a_static_pool_of_karpenter_makes_what_is_ordered(rig: Rig) -> None:
    kind = InstanceType(
        "p5.48xlarge",
        {"cpu": "192", "memory": "2Ti", "nvidia.com/gpu": "8", "pods": "110"},
        {("us-east-1a", "on-demand"): 55.04},
    )
    karpenter = rig.testbed.add_karpenter([kind], feature_gates={"StaticCapacity": True})
    try:
        made = {"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass", "metadata": {"name": "default"}}
        rig.api.create(CLASSES, made)
        group = rig.group()
        assert (group.target, group.max, group.price, group.names_victims, group.problem) == (
            0,
            10,
            55_040_000,
            False,
            "",
        )
        rig.order(2, group)
        eventually(lambda: [s for _, s in rig.states()] == [State.UP, State.UP], why="Karpenter makes two nodes")
        assert rig.group().target == 2
        (node, _) = rig.api.get(NODES)["items"]
        template = group.template
        assert template.status.allocatable == {k: node["status"]["allocatable"][k] for k in template.status.allocatable}
        assert template.metadata.labels["karpenter.sh/nodepool"] == "training"
        assert {one.node for one in rig.survey().instances} == {
            n["metadata"]["name"] for n in rig.api.get(NODES)["items"]
        }
    finally:
        karpenter.stop()


def test_what_was_ordered_comes_until_there_are_nodes(rig: Rig) -> None:
    rig.order(3)
    coming = [(f"NodePool/training#{n}", State.COMING) for n in (1, 2, 3)]
    assert rig.states() == coming
    up = rig.node(0)
    assert rig.states() == [("8xh100-0", State.UP), *coming[:2]]
    late = rig.node(1, ready=False)
    assert rig.states() == [(up, State.UP), (late, State.COMING), coming[0]]
    uncut = rig.node(2)
    rig.testbed.kubectl("taint", "node", uncut, "nos.nebuly.com/not-cut=:NoSchedule")
    assert rig.states() == [(up, State.UP), (late, State.COMING), (uncut, State.COMING)]
    rig.api.merge(f"{NODES}/{up}", {"metadata": {"finalizers": ["example.com/stays"]}})
    rig.testbed.kubectl("delete", "node", up, "--wait=false")
    # One of three goes: another is to come in its place.
    assert rig.states() == [(up, State.GOING), (late, State.COMING), (uncut, State.COMING), coming[0]]
    assert rig.group().target == rig.replicas() == 3


def test_more_nodes_than_ordered_and_strangers_are_no_trouble(rig: Rig) -> None:
    rig.node(0)
    rig.api.create(NODES, make_node("8xH100", 7))  # without the label
    assert rig.states() == [("8xh100-0", State.UP)]
    rig.order(1)  # it sets 1, and there is one already
    assert rig.states() == [("8xh100-0", State.UP)]


def test_an_order_made_twice_is_made_once(rig: Rig) -> None:
    group = rig.group()
    rig.order(2, group)
    with pytest.raises(BackendError, match="NodePool training has 2 replicas, not 0: somebody else"):
        rig.order(2, group)
    assert rig.replicas() == 2


def test_of_two_writers_at_once_one_wins_and_the_other_is_told(rig: Rig) -> None:
    rig.order(1)
    group = rig.group()
    rig.races = {"PUT": lambda: rig.resize(5)}  # between our read and our write
    with pytest.raises(BackendError, match="NodePool training has 5 replicas, not 1: somebody else") as caught:
        rig.order(1, group)
    assert not isinstance(caught.value, OrderRefusedError)
    assert not rig.races
    assert rig.replicas() == 5


def test_the_number_is_never_lowered(rig: Rig) -> None:
    rig.order(2)
    node = rig.node(0)
    group = rig.group()
    for name in (node, "NodePool/training#1"):
        one = Instance(name, group.id, State.UP)
        for give_up in (Scaled.cancel, Scaled.delete):
            with pytest.raises(OrderRefusedError, match=f"cannot be told that {name} is to go, and no other"):
                rig.call(lambda backend, give_up=give_up, one=one: give_up(backend, group, [one]))
    assert rig.replicas() == 2


def test_it_is_noted_who_scales_it(rig: Rig) -> None:
    assert not noted(rig)
    group = rig.group()
    rig.order(1, group)
    assert noted(rig)["nos.nebuly.com/actuator"] == "nos"
    rig.testbed.kubectl("annotate", "--overwrite", "nodepool", "training", "nos.nebuly.com/actuator=others")
    assert rig.group().problem == (
        "others makes its nodes, says its annotation nos.nebuly.com/actuator; if that is over, remove it"
    )
    with pytest.raises(OrderRefusedError, match="NodePool training: others makes its nodes"):
        rig.order(1)
    assert rig.replicas() == 1


def test_of_two_who_take_it_at_once_one_gets_it(rig: Rig) -> None:
    group = rig.group()
    rig.races = {"PATCH": lambda: rig.testbed.kubectl("annotate", "nodepool", "training", "nos.nebuly.com/actuator=x")}
    with pytest.raises(OrderRefusedError, match="NodePool training: x makes its nodes"):
        rig.order(1, group)
    assert rig.replicas() == 0


@pytest.mark.parametrize("method", ["PATCH", "PUT"])  # of the annotation, of the number
def test_who_writes_something_else_at_once_is_no_trouble(rig: Rig, method: str) -> None:
    """As Karpenter does, which writes the conditions of its NodePools."""
    group = rig.group()
    rig.races = {method: lambda: rig.testbed.kubectl("label", "nodepool", "training", "example.com/of=somebody")}
    rig.order(2, group)
    assert not rig.races
    assert rig.replicas() == 2
    assert noted(rig)["nos.nebuly.com/actuator"] == "nos"


def test_what_cluster_autoscaler_scales_is_left_alone(rig: Rig) -> None:
    theirs = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"
    rig.testbed.kubectl("annotate", "nodepool", "training", f"{theirs}=3")
    assert rig.group().problem.startswith(f"Cluster Autoscaler makes its nodes, says its annotation {theirs};")
    with pytest.raises(OrderRefusedError, match="Cluster Autoscaler makes its nodes"):
        rig.order(1)
    assert rig.replicas() == 0


def noted(rig: Rig) -> Object:
    annotations: Object = rig.api.get(f"{POOLS}/training")["metadata"].get("annotations", {})
    return annotations


def test_a_node_of_two_targets_stops_both_and_is_counted_once(rig: Rig) -> None:
    rig.pool("inference")
    other = copy.deepcopy(rig.targets[0]) | {"name": "inference", "nodeSelector": {"example.com/gpu": "yes"}}
    rig.targets.append(other)
    assert [group.problem for group in rig.survey().groups] == ["", ""]
    rig.node(0, **{"example.com/gpu": "yes"})
    survey = rig.survey()
    why = "node 8xh100-0 has the labels of NodePool/training and NodePool/inference; correct their nodeSelectors"
    assert [group.problem for group in survey.groups] == [why, why]
    assert len(survey.instances) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "absent"}, "NodePool absent: 404 NotFound"),
        ({"kind": "Pool"}, "no kind Pool in karpenter.sh/v1; correct kind or apiVersion"),
        ({"kind": "NodeClaim"}, "karpenter.sh/v1 NodeClaim has no scale subresource"),
        ({"apiVersion": "example.com/v1"}, "example.com/v1 is not served; correct apiVersion"),
        ({"namespace": "default"}, "name no namespace, it is in none"),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "name its namespace"),
        pytest.param(
            {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "default"},
            "403 Forbidden",
            marks=pytest.mark.refused,
        ),
        ({"nodeSelector": {"a b": "c"}}, "400 BadRequest"),
    ],
)
def test_a_target_that_cannot_be_read_says_why_and_the_others_work(rig: Rig, wrong: Object, says: str) -> None:
    rig.pool("second")
    rig.targets.insert(0, rig.targets[0] | {"name": "second"} | wrong)
    broken, sound = rig.survey().groups
    assert says in broken.problem
    assert (sound.problem, sound.target) == ("", 0)


def test_what_is_gone_when_it_is_to_be_scaled_is_an_error_in_words(rig: Rig) -> None:
    group = rig.group()
    rig.testbed.kubectl("delete", "nodepool", "training")
    with pytest.raises(BackendError, match=r"NodePool training: 404 NotFound: .*nodepools.* not found"):
        rig.order(1, group)
