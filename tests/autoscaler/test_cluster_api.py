"""The backend against the real API server with Cluster API's real kinds, in both versions. Their controllers are a
double."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nos.autoscaler.backend import BackendError, Instance, OrderRefusedError, State
from nos.controller.settings import Settings
from nos.testbed import Testbed
from nos.testbed.progress import Progress
from tests.autoscaler.cluster_api_rig import NAMESPACE, SETTINGS, Rig, serve, withdraw
from tests.autoscaler.machine_controller import NODES
from tests.controller.cluster import eventually
from tests.deploy.rights import in_force

pytestmark = pytest.mark.cluster
Object = dict[str, Any]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ROLE = Path(__file__).parents[2] / "deploy" / "kustomize" / "autoscaling" / "cluster-api.yaml"
_READS_NODES = {  # of the controller's own role
    "metadata": {"name": "nos-reads-nodes"},
    "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}],
}
UP, COMING, GOING, FAILED = State.UP, State.COMING, State.GOING, State.FAILED


class CrashError(Exception):
    """The process has ended."""


@pytest.fixture(scope="module", params=["v1beta2", "v1beta1"])
def served(request: pytest.FixtureRequest, testbed: Testbed) -> Iterator[Rig]:
    """The kinds in one version, and what nos may do with them."""
    serve(testbed, request.param)
    role, binding = yaml.safe_load_all(_ROLE.read_text())
    binding["subjects"][0]["namespace"] = "nos-system"
    made: list[Object] = []
    for one in (role, _READS_NODES):
        name = one["metadata"]["name"]
        testbed.api.create(f"{_RBAC}/clusterroles", one)
        bound = binding | {"metadata": {"name": name}, "roleRef": binding["roleRef"] | {"name": name}}
        testbed.api.create(f"{_RBAC}/clusterrolebindings", bound)
        made += [one | {"kind": "ClusterRole"}, bound]
    eventually(lambda: in_force(testbed.api, made), why="the roles are in force")
    yield Rig(testbed, request.param)
    for one in (role, _READS_NODES):
        for kind in ("clusterrolebindings", "clusterroles"):
            testbed.api.request("DELETE", f"{_RBAC}/{kind}/{one['metadata']['name']}")
    withdraw(testbed)


@pytest.fixture
def rig(served: Rig) -> Iterator[Rig]:
    rig = Rig(served.testbed, served.version)
    yield rig
    rig.clear()


# ---- what is offered


def test_what_the_documentation_shows_is_offered(rig: Rig) -> None:
    rig.deploy()
    group = rig.group()
    assert (group.id, group.object, group.price, group.min, group.max, group.target, group.problem) == (
        "fleet/h100",
        "MachineDeployment fleet/h100",
        55_040_000,
        0,
        10,
        0,
        "",
    )
    assert group.names_victims
    assert not group.drains
    template = group.template
    assert template.status.allocatable == {
        "cpu": "191900m",
        "memory": "2097142Mi",
        "pods": "110",
        "nvidia.com/gpu": "8",
    }
    assert template.metadata.labels == {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "nos.nebuly.com/gpu-partitioning": "mig",
    }
    assert [(t.key, t.value, t.effect) for t in template.spec.taints] == [("nvidia.com/gpu", "present", "NoSchedule")]
    chosen = msgspec.convert(SETTINGS, Settings).scaling.cluster_api
    assert chosen
    assert chosen.boot_seconds == 1800


def without_capacity(**more: str | None) -> dict[str, str | None]:
    names = ("cpu", "memory", "maxPods", "gpu-type", "gpu-count", "labels", "taints")
    return {f"capacity.cluster-autoscaler.kubernetes.io/{name}": None for name in names} | more


def test_those_without_our_annotations_are_not(rig: Rig) -> None:
    rig.deploy("others", **{f"nos.nebuly.com/{name}": None for name in ("max-nodes", "min-nodes", "price")})
    assert rig.survey().groups == ()


def test_a_template_of_the_settings_serves_where_the_annotations_say_nothing(rig: Rig) -> None:
    rig.deploy("a100", **without_capacity())
    rig.deploy("h100")
    rig.settings = SETTINGS["scaling"]["clusterApi"]
    group = rig.group("a100")
    assert (group.template.status.allocatable["memory"], group.problem, group.boot_seconds) == ("1100Gi", "", 1800)
    rig.settings = {"templates": {"fleet/h100": rig.settings["templates"]["fleet/a100"]}}
    assert rig.group("h100").template.status.allocatable["memory"] == "2097142Mi"  # annotations come first


def test_a_template_of_nothing_is_said(rig: Rig) -> None:
    rig.settings = SETTINGS["scaling"]["clusterApi"]
    assert "there is none with the annotation nos.nebuly.com/max-nodes" in rig.group("a100").problem


def test_nodes_that_are_up_show_what_others_will_be_like(rig: Rig) -> None:
    rig.deploy(**without_capacity())
    assert "nobody says what its nodes are like" in rig.group().problem
    rig.resize(2)
    rig.double.settle()
    first, second = (machine["metadata"]["name"] for machine in rig.double.there())
    template = rig.group().template
    node = rig.api.get(f"{NODES}/{first}")
    labels = node["metadata"]["labels"]
    del labels["kubernetes.io/hostname"]
    assert template.metadata.labels == labels
    assert template.status.allocatable == node["status"]["allocatable"]
    assert [t.key for t in template.spec.taints] == ["nvidia.com/gpu"]
    # As nos has cut them: each has MIG devices in place of its 8 GPUs. And one has less memory, and another zone.
    for name, left in ((first, "5"), (second, "0")):
        cut = {"nvidia.com/gpu": left, "nvidia.com/mig-3g.40gb": "4", "memory": f"{1000 + int(left)}Gi"}
        rig.api.merge(f"{NODES}/{name}/status", {"status": {"allocatable": cut}})
        more = {"nos.nebuly.com/gpu-partitioning": "mig", "topology.kubernetes.io/zone": f"zone-{left}"}
        rig.api.merge(f"{NODES}/{name}", {"metadata": {"labels": more}})
    group = rig.group()
    assert group.problem == ""
    assert group.template.status.allocatable == node["status"]["allocatable"] | {"memory": "1000Gi"}
    assert "topology.kubernetes.io/zone" not in group.template.metadata.labels


@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        ("nos.nebuly.com/max-nodes", None, "its annotation nos.nebuly.com/max-nodes is ''; let it say how many nodes"),
        ("nos.nebuly.com/max-nodes", "-1", "is '-1'"),
        ("nos.nebuly.com/min-nodes", "few", "its annotation nos.nebuly.com/min-nodes is 'few'"),
        ("nos.nebuly.com/price", None, "its annotation nos.nebuly.com/price is ''; let it say dollars per hour"),
        ("nos.nebuly.com/price", "nan", "is 'nan'"),
        ("nos.nebuly.com/price", "9999999", "is '9999999'"),
        ("capacity.cluster-autoscaler.kubernetes.io/cpu", None, "allocatable: cpu is missing"),
        ("capacity.cluster-autoscaler.kubernetes.io/memory", "much", "allocatable: memory: "),
        ("capacity.cluster-autoscaler.kubernetes.io/gpu-count", "1.5", "1.5 is no whole number of GPUs"),
        ("capacity.cluster-autoscaler.kubernetes.io/labels", "a", "labels: 'a' is no key=value"),
        ("capacity.cluster-autoscaler.kubernetes.io/taints", "a=b", "a taint needs a key, and an effect of NoSchedule"),
        ("capacity.cluster-autoscaler.kubernetes.io/labels", "nos.nebuly.com/gpu-partitioning=mig", "no label nvidia"),
        ("nos.nebuly.com/actuator", "others", "others makes its nodes, says its annotation nos.nebuly.com/actuator"),
        ("cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size", "0", "Cluster Autoscaler makes its nodes"),
        ("cluster.x-k8s.io/paused", "", "it is paused"),
    ],
)
def test_what_is_wrong_with_one_is_said_and_the_others_work(
    rig: Rig, annotation: str, value: str | None, says: str
) -> None:
    rig.deploy(**{annotation: value})
    rig.deploy("sound")
    assert says in rig.group().problem
    assert rig.group("sound").problem == ""


def test_it_is_left_alone_while_it_is_paused_or_deleted(rig: Rig) -> None:
    (node,) = rig.running(1)
    path = f"{rig.double.deployments}/h100"
    since = {"message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    conditions: Object = {"conditions": [{"type": "Paused", "status": "True", "reason": "Paused"} | since]}
    said = conditions if rig.version == "v1beta2" else {"v1beta2": conditions}
    rig.api.merge(f"{path}/status", {"status": said})  # its cluster is
    assert "it is paused, or its cluster is" in rig.group().problem
    conditions["conditions"][0]["status"] = "False"
    rig.api.merge(f"{path}/status", {"status": said})
    assert rig.group().problem == ""
    rig.edit(spec={"paused": True})
    assert "it is paused, or its cluster is" in rig.group().problem
    with pytest.raises(OrderRefusedError, match="it is paused"):
        rig.delete(node)
    rig.edit(spec={"paused": False}, metadata={"finalizers": ["example.com/stays"]})
    rig.api.request("DELETE", path)
    assert rig.group().problem == "it is being deleted"
    assert (rig.marked(), rig.replicas()) == (set(), 1)


# ---- more


def test_from_the_order_to_the_node(rig: Rig) -> None:
    rig.deploy()
    rig.order(2)
    assert rig.deployment()["metadata"]["annotations"]["nos.nebuly.com/actuator"] == "nos"
    assert (rig.replicas(), rig.group().target) == (2, 2)
    assert rig.states() == [("h100#1", "", COMING), ("h100#2", "", COMING)]
    rig.double.count(most=1)  # Cluster API makes fewer than asked
    assert rig.states() == [("h100#1", "", COMING), ("h100-000", "", COMING)]
    rig.double.count()
    assert rig.states() == [("h100-000", "", COMING), ("h100-001", "", COMING)]
    rig.double.boot(ready=False)
    nodes = [("h100-000", "h100-000", COMING), ("h100-001", "h100-001", COMING)]
    assert rig.states() == nodes  # known by providerID
    rig.double.register()
    assert rig.states() == nodes
    for _, node, _ in nodes:
        rig.api.merge(f"{NODES}/{node}/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    rig.double.settle()
    assert rig.states() == [("h100-000", "h100-000", UP), ("h100-001", "h100-001", UP)]
    rig.testbed.kubectl("taint", "node", "h100-001", "nos.nebuly.com/not-cut=:NoSchedule")
    assert rig.states() == [("h100-000", "h100-000", UP), ("h100-001", "h100-001", COMING)]
    assert all(one.since > 0 for one in rig.survey().instances)


def test_a_node_is_known_by_what_it_says_of_its_machine(rig: Rig) -> None:
    rig.deploy()
    rig.resize(1)
    rig.double.count()
    rig.double.boot()
    rig.api.merge(f"{rig.double.machines}/h100-000", {"spec": {"providerID": "metal://other"}})
    assert rig.states() == [("h100-000", "", COMING)]
    rig.double.annotate_node("h100-000")
    (instance,) = rig.survey().instances
    assert instance.node == "h100-000"


def test_an_order_made_twice_is_made_once(rig: Rig) -> None:
    rig.deploy()
    group = rig.group()
    rig.order(2, group)
    with pytest.raises(BackendError, match="MachineDeployment fleet/h100 has 2 replicas, not 0"):
        rig.order(2, group)
    assert rig.replicas() == 2


def test_of_two_writers_of_the_number_one_wins(rig: Rig) -> None:
    rig.deploy()
    rig.order(1)
    rig.races = {"PUT": lambda: rig.resize(4)}
    with pytest.raises(BackendError, match="MachineDeployment fleet/h100 has 4 replicas, not 1"):
        rig.order(1)
    assert not rig.races
    assert rig.replicas() == 4


def test_two_actuators(rig: Rig) -> None:
    rig.deploy()
    group = rig.group()
    rig.annotate(**{"cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size": "5"})
    with pytest.raises(OrderRefusedError, match="Cluster Autoscaler makes its nodes"):
        rig.order(1, group)
    assert rig.replicas() == 0


def test_a_node_of_another_kind_is_still_its_node(rig: Rig) -> None:
    rig.deploy()
    rig.order(1)
    rig.double.count()
    rig.double.boot("2xT4")
    rig.double.settle()
    assert rig.states() == [("h100-000", "h100-000", UP)]
    assert rig.group().template.status.allocatable["nvidia.com/gpu"] == "8"  # the annotations hold


# ---- fewer


def test_the_one_that_is_named_goes_and_no_other(rig: Rig) -> None:
    first, second, third = rig.running(3)
    rig.delete(third)
    assert (rig.marked(), rig.replicas(), rig.group().target) == ({third}, 2, 2)
    left = [(first, first, UP), (second, second, UP)]
    assert rig.states() == [*left, (third, third, GOING)]
    rig.delete(third)  # once more, before anybody has acted
    assert rig.replicas() == 2
    rig.double.count()
    assert rig.states() == [*left, (third, third, GOING)]
    rig.delete(third)  # while it is being deleted
    rig.double.finish()
    assert rig.states() == left
    gone = Instance(f"{NAMESPACE}/{third}", f"{NAMESPACE}/h100", UP, third)
    group = rig.group()
    rig.call(lambda backend: backend.delete(group, [gone]))
    assert rig.replicas() == 2


def test_several_go_at_once(rig: Rig) -> None:
    first, second, third = rig.running(3)
    rig.delete(second, third)
    assert (rig.marked(), rig.replicas()) == ({second, third}, 1)
    rig.double.settle()
    assert rig.states() == [(first, first, UP)]


def test_what_was_left_between_mark_and_number_is_gone_on_with(rig: Rig) -> None:
    first, second, third = rig.running(3)
    crash_at_write(rig, 2)
    with pytest.raises(CrashError):
        rig.delete(third)
    assert (rig.marked(), rig.replicas()) == ({third}, 3)
    assert rig.states()[2] == (third, third, UP)
    rig.delete(third)  # by the next process
    rig.double.settle()
    assert rig.states() == [(first, first, UP), (second, second, UP)]


def test_a_mark_that_was_left_does_not_misdirect_the_next(rig: Rig) -> None:
    first, second, third = rig.running(3)
    crash_at_write(rig, 2)
    with pytest.raises(CrashError):
        rig.delete(second)  # and then its drain is given up
    rig.delete(third)
    assert rig.marked() == {third}
    rig.double.settle()
    assert rig.states() == [(first, first, UP), (second, second, UP)]


def crash_at_write(rig: Rig, number: int) -> None:
    """The process ends right before its PATCH of this number."""

    def count() -> None:
        nonlocal number
        number -= 1
        if not number:
            raise CrashError
        rig.races["PATCH"] = count

    rig.races["PATCH"] = count


def test_a_mark_of_somebody_else_is_respected(rig: Rig) -> None:
    first, second = rig.running(2)
    mark = {"metadata": {"annotations": {"cluster.x-k8s.io/delete-machine": "yes"}}}
    rig.api.merge(f"{rig.double.machines}/{first}", mark)
    with pytest.raises(BackendError, match=f"Machine fleet/{first} is marked .* would go in its place; remove"):
        rig.delete(second)
    assert (rig.marked(), rig.replicas()) == ({first}, 2)
    rig.delete(first)  # that one may go
    rig.double.settle()
    assert rig.states() == [(second, second, UP)]


def test_somebody_else_lowers_the_number_at_the_same_time(rig: Rig) -> None:
    first, second, third = rig.running(3)
    rig.races["PATCH"] = lambda: rig.resize(2)  # between our read and our writes
    with pytest.raises(BackendError, match="it has 1 Machines more than it is to have"):
        rig.delete(third)
    assert rig.replicas() == 2  # not 1: one goes for the other, and it is the one that is marked
    rig.double.settle()
    assert rig.states() == [(first, first, UP), (second, second, UP)]


def test_somebody_else_raises_the_number_at_the_same_time(rig: Rig) -> None:
    _, second = rig.running(2)
    rig.races["PATCH"] = lambda: rig.resize(3)
    with pytest.raises(BackendError, match="1 of its Machines are still to be made"):
        rig.delete(second)
    assert rig.replicas() == 3
    rig.double.settle()
    rig.delete(second)
    rig.double.settle()
    assert [name for name, _, _ in rig.states()] == ["h100-000", "h100-002"]


def test_an_edit_of_something_else_at_the_same_time_is_no_trouble(rig: Rig) -> None:
    (node,) = rig.running(1)
    rig.races["PATCH"] = lambda: rig.annotate(**{"example.com/seen": "yes"})
    rig.delete(node)
    assert rig.replicas() == 0


def test_a_removal_that_was_overtaken_is_none_any_more(rig: Rig) -> None:
    first, second = rig.running(2)
    rig.delete(second)
    with pytest.raises(BackendError, match=f"{second} is to go first"):
        rig.order(1)
    rig.resize(2)  # by somebody else, before Cluster API has acted: it stays
    rig.double.settle()
    assert rig.states() == [(first, first, UP), (second, second, UP)]
    rig.delete(second)
    rig.double.settle()
    assert (rig.states(), rig.replicas()) == ([(first, first, UP)], 1)


def test_none_goes_in_a_rollout(rig: Rig) -> None:
    _, second = rig.running(2)
    rig.resize(3)
    rig.double.set_name = "set-2"
    rig.double.settle()
    with pytest.raises(BackendError, match="it is being rolled out"):
        rig.delete(second)
    assert (rig.marked(), rig.replicas()) == (set(), 3)


# ---- what fails


def test_a_machine_that_fails_is_taken_away(rig: Rig) -> None:
    first, second = rig.running(2)
    message = {"failureMessage": "no such flavour"}
    rig.double.say(
        first, phase="Failed", **(message if rig.version == "v1beta1" else {"deprecated": {"v1beta1": message}})
    )
    assert {state for *_, state in rig.states()} == {UP}  # while its node is ready, it serves
    rig.testbed.kubectl("taint", "node", first, "nos.nebuly.com/not-cut=:NoSchedule")
    assert [one.message for one in rig.survey().instances if one.state is FAILED] == ["no such flavour"]
    rig.cancel(first)
    rig.double.settle()
    assert rig.states() == [(second, second, UP)]


def test_a_machine_whose_node_is_gone_has_failed(rig: Rig) -> None:
    (node,) = rig.running(1)
    rig.testbed.kubectl("delete", "node", node)
    (instance,) = rig.survey().instances
    assert (instance.state, instance.node, instance.message) == (FAILED, "", f"its node {node} is gone")
    rig.cancel(node)
    assert rig.replicas() == 0


def test_what_is_coming_is_cancelled_and_what_came_meanwhile_stays(rig: Rig) -> None:
    rig.deploy()
    rig.order(2)
    with pytest.raises(OrderRefusedError, match="fleet/h100#1 is no Machine yet"):
        rig.cancel("h100#1")
    rig.double.count()
    survey = rig.survey()
    rig.cancel("h100-001")
    rig.double.count()
    rig.double.finish()
    assert (rig.states(), rig.replicas()) == ([("h100-000", "", COMING)], 1)
    rig.double.settle()
    rig.call(lambda backend: backend.cancel(survey.groups[0], survey.instances))  # as they were
    assert (rig.states(), rig.replicas()) == ([("h100-000", "h100-000", UP)], 1)


def test_a_deployment_that_is_gone_is_an_error_in_words(rig: Rig) -> None:
    (node,) = rig.running(1)
    survey = rig.survey()
    rig.api.request("DELETE", f"{rig.double.deployments}/h100")
    with pytest.raises(BackendError, match=r'404 NotFound: machinedeployments.*"h100" not found'):
        rig.order(1, survey.groups[0])
    with pytest.raises(BackendError, match=f"Machine fleet/{node}: 404 NotFound"):
        rig.call(lambda backend: backend.delete(survey.groups[0], survey.instances))
    assert rig.survey().groups == ()


def test_without_cluster_api_it_says_so() -> None:
    with Testbed(scheduler=False, kwok=False, progress=Progress(quiet=True)) as bare:
        rig = Rig(bare, "v1beta2")
        with pytest.raises(BackendError, match="is not served; is Cluster API installed in this cluster"):
            rig.survey()
        bare.stop_apiserver()
        with pytest.raises(BackendError, match="Cluster API: the API server does not answer"):
            rig.survey()


# ---- whatever happens


STEP = st.one_of(
    st.tuples(st.just("order"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 5), st.integers(0, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 5), st.integers(0, 4)),
    st.tuples(st.just("act"), st.just(0), st.just(0)),
)


@settings(max_examples=25)
@given(steps=st.lists(STEP, min_size=4, max_size=12))
def test_whom_nos_names_goes_and_nobody_else(served: Rig, steps: list[tuple[str, int, int]]) -> None:
    """The process may end before any write; then the next one names somebody else, or the same. At the end all that
    were named are named again until they are gone. There are then as many as were ordered, less those."""
    rig = Rig(served.testbed, served.version)
    rig.deploy()
    ordered, named = 0, set[str]()
    try:
        for step, number, crash in [("order", 3, 0), ("act", 0, 0), *steps]:
            there = [one["metadata"]["name"] for one in rig.double.there()]
            if step == "act":
                act(rig)
            elif step == "order":
                ordered += number if attempt(lambda number=number: rig.order(number)) else 0
            elif there:
                victim = there[number % len(there)]
                if crash:
                    crash_at_write(rig, crash)
                work = rig.delete if step == "delete" else rig.cancel
                if attempt(lambda work=work, victim=victim: work(victim)) is not None:
                    named.add(victim)
                rig.races.clear()
            gone = set(rig.double.made) - {one["metadata"]["name"] for one in rig.double.there()}
            assert gone <= named, steps
        for victim in sorted(named):
            act(rig)
            if victim in {one["metadata"]["name"] for one in rig.double.there()}:
                rig.delete(victim)
        act(rig)
        left = {one["metadata"]["name"] for one in rig.double.there()}
        assert left == set(rig.double.made) - named
        assert len(left) == rig.replicas() == ordered - len(named)
    finally:
        rig.clear()


def act(rig: Rig) -> None:
    """Cluster API does all that is to be done; no nodes come of it."""
    rig.double.count()
    rig.double.finish()


def attempt(work: Any) -> bool | None:
    """Whether it was done; None where it was refused, and False where the process has ended in it."""
    try:
        work()
    except BackendError:
        return None
    except CrashError:
        return False
    return True
