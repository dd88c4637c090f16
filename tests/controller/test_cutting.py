"""GPUs cut to order, on the real API server, with agents that answer, fail, lie or say nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.controller.gpu_agent import Agents, Node

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
LABEL = "nos.nebuly.com/gpu-partitioning"
INSTANCES = "nos.nebuly.com/instances"


@pytest.fixture
def agents(cluster: Cluster) -> Iterator[Agents]:
    """Agents of the nodes that `cut_nodes` makes."""
    with Agents(cluster.testbed).running() as agents:
        yield agents


def cut_nodes(cluster: Cluster, agents: Agents, count: int = 1, gpus: int = 1) -> list[Node]:
    names = cluster.testbed.add_nodes({f"{gpus}xH100": count}, labels={LABEL: "mig"})
    return [agents.add(name, gpus) for name in names]


def mig_pod(cluster: Cluster, name: str, profile: str = "3g.40gb", count: int = 1, **more: Any) -> None:
    amounts = {"cpu": "1", "memory": "1Gi", f"nvidia.com/mig-{profile.replace('+', '.')}": str(count)}
    container = {"name": "main", "image": "busybox", "resources": {"requests": amounts, "limits": amounts}}
    cluster.pod(name, containers=[container], **more)


def held(pod: dict[str, Any]) -> tuple[str, str]:
    """Its node, and its instances there."""
    return pod["spec"]["nodeName"], pod["metadata"].get("annotations", {}).get(INSTANCES, "")


def on(node: Node) -> dict[str, Any]:
    return {"nodeSelector": {"kubernetes.io/hostname": node.name}}


def assert_no_overlap(cluster: Cluster) -> None:
    """No two Pods hold units of one GPU that overlap; a Pod of whole GPUs shares none."""
    size = {"1g.10gb": 1, "1g.20gb": 2, "2g.20gb": 2, "3g.40gb": 4, "4g.40gb": 4, "7g.80gb": 8}
    taken: dict[tuple[str, int, int], str] = {}
    for pod in cluster.pods():
        name, annotations = pod["metadata"]["name"], pod["metadata"].get("annotations", {})
        units = [
            (int(part.split(":")[0]), int(part.split("@")[1]) + unit)
            for part in filter(None, annotations.get(INSTANCES, "").split(","))
            for unit in range(size[part.split(":")[1].split("@")[0]])
        ]
        units += [
            (int(g), u) for g in filter(None, annotations.get("nos.nebuly.com/gpus", "").split(",")) for u in range(8)
        ]
        for gpu, unit in units:
            key = (pod["spec"]["nodeName"], gpu, unit)
            assert key not in taken, f"{key}: {name} and {taken[key]}"
            taken[key] = name


def test_a_whole_gpu_is_cut_and_the_pod_bound_when_it_is_ready(
    cluster: Cluster, controller: Start, agents: Agents
) -> None:
    (node,) = cut_nodes(cluster, agents)
    node.acts = False
    controller().schedules()
    mig_pod(cluster, "a")
    eventually(lambda: agents.spec(node.name))
    cluster.waits("a", f"Needs repartition: GPUs of node {node.name} are being cut")
    condition = cluster.condition("a")
    assert (condition["status"], condition["reason"]) == ("False", "Repartitioning")
    assert not node.gpus[0]["instances"]
    assert "nodeName" not in cluster.get("a")["spec"]
    node.acts = True
    name, instances = held(cluster.bound("a"))
    assert (name, agents.spec(name)[0]) == (node.name, (True, [instances.removeprefix("0:")]))
    assert len(node.gpus[0]["instances"]) == 1
    assert cluster.condition("a")["status"] == "True"
    eventually(lambda: {"Repartitioning", "Scheduled"} <= {event["reason"] for event in cluster.events("a")})
    assert agents.get(node.name)["metadata"]["generation"] == 2  # it was written once


def test_a_pod_of_several_profiles_gets_them_all_or_waits(cluster: Cluster, controller: Start, agents: Agents) -> None:
    cut_nodes(cluster, agents, gpus=2)
    controller().schedules()
    mig_pod(cluster, "three", "3g.40gb", 3)  # 2 + 1
    assert len(held(cluster.bound("three"))[1].split(",")) == 3
    mig_pod(cluster, "two", "3g.40gb", 2)
    cluster.waits("two", "nvidia.com/mig-3g.40gb")
    cluster.delete("three")
    cluster.bound("two")
    assert_no_overlap(cluster)


def test_whole_gpus_come_back_when_they_are_wanted_and_not_before(
    cluster: Cluster, controller: Start, agents: Agents
) -> None:
    (node,) = cut_nodes(cluster, agents, gpus=2)
    controller().schedules()
    for number in range(4):
        mig_pod(cluster, f"mig-{number}")
        cluster.bound(f"mig-{number}")
    generation = agents.get(node.name)["metadata"]["generation"]
    for number in range(4):
        cluster.delete(f"mig-{number}")
    mig_pod(cluster, "again")  # what is free stays, and serves who comes: nothing is written
    cluster.bound("again")
    assert agents.get(node.name)["metadata"]["generation"] == generation
    assert (node.made, node.destroyed) == (4, 0)
    cluster.pod("whole")  # one of the two GPUs is free of Pods
    gpu = int(cluster.bound("whole")["metadata"]["annotations"]["nos.nebuly.com/gpus"])
    assert agents.spec(node.name)[gpu] == (False, [])
    assert (node.made, node.destroyed) == (4, 2)
    cluster.delete("whole")
    eventually(lambda: cluster.get("whole") is None)
    cluster.pod("whole-again")
    cluster.bound("whole-again")
    assert agents.get(node.name)["metadata"]["generation"] == generation + 1
    assert_no_overlap(cluster)


def test_a_silent_node_holds_back_only_itself(cluster: Cluster, controller: Start, agents: Agents) -> None:
    silent, *others = cut_nodes(cluster, agents, 3)
    silent.acts = False
    controller().schedules()
    mig_pod(cluster, "stuck", "7g.80gb", **on(silent))
    eventually(lambda: agents.spec(silent.name))
    for number in range(2):
        mig_pod(cluster, f"p-{number}", "7g.80gb")
        assert held(cluster.bound(f"p-{number}", within=10))[0] in {node.name for node in others}
    cluster.waits("stuck", "are being cut")
    # When patience has ended nos asks no more there: the Pod is Pending, and says what it lacks.
    eventually(lambda: "is not recut now" in cluster.condition("stuck").get("message", ""), within=60)
    silent.acts = True
    cluster.bound("stuck")


def test_what_an_agent_cannot_do_is_done_elsewhere_at_once(cluster: Cluster, controller: Start, agents: Agents) -> None:
    nodes = cut_nodes(cluster, agents, 2)
    controller().schedules()
    tried: list[str] = []
    for node in nodes:

        def fails(_: int, node: Node = node) -> str:
            tried.append(node.name)
            return "NVML: insufficient resources" if len(set(tried)) == 1 else ""

        node.fails = fails
    began = time.monotonic()
    mig_pod(cluster, "a")
    name, _ = held(cluster.bound("a"))
    assert time.monotonic() - began < 15, "it waited for its patience to end"
    assert name != tried[0]
    failed = eventually(lambda: [e for e in cluster.events("a") if e["reason"] == "RepartitionFailed"])
    assert "could not recut GPU 0: NVML: insufficient resources" in failed[0]["note"]


def test_what_fails_again_and_again_is_tried_ever_more_rarely(
    cluster: Cluster, controller: Start, agents: Agents
) -> None:
    (node,) = cut_nodes(cluster, agents)
    node.fails = lambda _: "NVML: unknown error"
    running = controller().schedules()
    mig_pod(cluster, "a")
    eventually(lambda: running.said().count("could not recut") >= 3)  # after 0, 2 and 4 s
    assert running.said().count("could not recut") <= 4
    cluster.pod("whole")  # the GPU as it is serves this one
    cluster.bound("whole")
    cluster.delete("whole")
    node.fails = lambda _: ""
    cluster.bound("a")


def test_a_plan_that_meets_something_unknown_is_made_anew(cluster: Cluster, controller: Start, agents: Agents) -> None:
    """Somebody's instance at 0, which nobody knew of, is in the way of a 7g; a 3g fits beside it."""
    (node,) = cut_nodes(cluster, agents, gpus=2)
    controller().schedules()

    def fails(index: int) -> str:
        node.gpus[index] = {"mig": True, "instances": {("3g.40gb", 0): "MIG-foreign"}}
        node.fails = lambda i: "3g.40gb@0 is in use by process 42" if i == index else ""
        return node.fails(index)

    node.fails = fails
    mig_pod(cluster, "large", "7g.80gb")
    _, instances = held(cluster.bound("large", within=10))
    assert instances.endswith(":7g.80gb@0")
    assert node.gpus[1 - int(instances[0])]["instances"] == {("3g.40gb", 0): "MIG-foreign"}


def test_a_conflict_is_written_again(cluster: Cluster, controller: Start, agents: Agents, proxy: FaultProxy) -> None:
    cut_nodes(cluster, agents)
    controller(proxy.kubeconfig).schedules()
    fault = proxy.fault("PATCH", "/gpunodes/", times=3, status=409)
    mig_pod(cluster, "a")
    cluster.bound("a")
    assert fault.hits == 3


@pytest.mark.parametrize(
    "how", [{"lost": True}, {"lost": True, "carried_out": False}, {"status": 503}, {"status": 429}, {"delay": 6.0}]
)
def test_a_write_that_goes_wrong(
    cluster: Cluster, controller: Start, agents: Agents, proxy: FaultProxy, how: dict[str, Any]
) -> None:
    (node,) = cut_nodes(cluster, agents)
    controller(proxy.kubeconfig).schedules()
    fault = proxy.fault("PATCH", "/gpunodes/", times=1, **how)
    mig_pod(cluster, "a")
    cluster.bound("a")
    assert fault.hits == 1
    assert agents.get(node.name)["metadata"]["generation"] == 2


def test_a_spec_that_is_refused_for_good(
    cluster: Cluster, controller: Start, agents: Agents, proxy: FaultProxy
) -> None:
    refusing, other = cut_nodes(cluster, agents, 2)
    running = controller(proxy.kubeconfig).schedules()
    proxy.fault("PATCH", f"/gpunodes/{refusing.name}", times=10_000, status=422)
    for name in ("a", "b"):
        mig_pod(cluster, name)
        assert held(cluster.bound(name))[0] == other.name  # two of 3g on one GPU
    mig_pod(cluster, "c")
    cluster.waits("c", "3g.40gb")
    assert "the API server refuses its spec" in running.said()


def test_a_restart_in_the_middle_goes_on_where_it_was(cluster: Cluster, controller: Start, agents: Agents) -> None:
    nodes = cut_nodes(cluster, agents, 4)
    for node in nodes:
        node.acts = False
    first = controller().schedules()
    mig_pod(cluster, "a", **on(nodes[2]))  # not where nos would begin by itself
    eventually(lambda: agents.spec(nodes[2].name))
    assert first.stop() == 0
    cluster.delete("a")
    mig_pod(cluster, "b")
    uid = cluster.get("b")["metadata"]["uid"]  # another of that name may have been told of something
    controller().schedules()
    eventually(lambda: [event for event in cluster.events("b") if event["regarding"].get("uid") == uid])
    for node in nodes:
        node.acts = True
    assert held(cluster.bound("b"))[0] == nodes[2].name
    assert [agents.get(node.name)["metadata"]["generation"] for node in nodes] == [1, 1, 2, 1]
    assert sum(node.made for node in nodes) == 1


def test_a_bound_pod_that_no_agent_has_seen_keeps_its_instance(
    cluster: Cluster, controller: Start, agents: Agents
) -> None:
    (node,) = cut_nodes(cluster, agents)
    first = controller().schedules()
    starts = {}
    for name in ("a", "b", "c"):
        mig_pod(cluster, name, "1g.10gb")
        starts[int(held(cluster.bound(name))[1].partition("@")[2])] = name
    stays = starts.pop(max(starts))  # a Pod of no history would be counted on the first free instance
    for name in starts.values():
        cluster.delete(name)
        eventually(lambda name=name: cluster.get(name) is None)
    node.distorts = lambda status: [i.pop("pod", None) for gpu in status["gpus"] for i in gpu["instances"]]
    eventually(lambda: not any("pod" in i for i in agents.get(node.name)["status"]["gpus"][0]["instances"]))
    assert first.stop() == 0
    controller().schedules()
    for number in range(6):  # 7 of this profile fit
        mig_pod(cluster, f"more-{number}", "1g.10gb")
        cluster.bound(f"more-{number}")
    assert cluster.get(stays)
    assert_no_overlap(cluster)


def test_a_pod_that_leaves_while_its_gpu_is_cut(cluster: Cluster, controller: Start, agents: Agents) -> None:
    (node,) = cut_nodes(cluster, agents)
    node.acts = False
    controller().schedules()
    mig_pod(cluster, "gone", "7g.80gb")
    eventually(lambda: agents.spec(node.name))
    cluster.delete("gone")
    mig_pod(cluster, "a")
    eventually(lambda: agents.spec(node.name)[0][1][0].startswith("3g.40gb"))
    node.acts = True
    cluster.bound("a")
    assert node.made == 1


def test_an_instance_that_a_spec_on_its_way_destroys_is_given_to_nobody(
    cluster: Cluster, controller: Start, agents: Agents
) -> None:
    """`large` wants the room of a free 3g; it leaves before the agent has acted, and a Pod for the 3g comes."""
    (node,) = cut_nodes(cluster, agents)
    controller().schedules()
    mig_pod(cluster, "first")
    cluster.bound("first")
    eventually(lambda: "default/first" in str(agents.get(node.name)), why="its agent has seen it")
    cluster.delete("first")
    eventually(lambda: "default/first" not in str(agents.get(node.name)), why="and that it is gone")
    node.acts = False
    mig_pod(cluster, "large", "7g.80gb")
    eventually(lambda: agents.spec(node.name)[0] == (True, ["7g.80gb@0"]))
    cluster.delete("large")
    mig_pod(cluster, "small")
    # The report still shows the 3g as ready, but only after another spec, and an answer to it, may it be given out.
    eventually(lambda: agents.spec(node.name)[0][1][0].startswith("3g.40gb"))
    assert "nodeName" not in cluster.get("small")["spec"]
    node.acts = True
    cluster.bound("small")


def test_a_node_that_goes_takes_no_pod_with_it(cluster: Cluster, controller: Start, agents: Agents) -> None:
    nodes = cut_nodes(cluster, agents, 2)
    for node in nodes:
        node.acts = False
    controller().schedules()
    mig_pod(cluster, "a")
    (asked,) = eventually(lambda: [node for node in nodes if agents.spec(node.name)])
    (other,) = [node for node in nodes if node is not asked]
    other.acts = True
    cluster.api.request("DELETE", f"/api/v1/nodes/{asked.name}")
    assert held(cluster.bound("a", within=10))[0] == other.name


def test_a_node_that_nos_may_not_cut_any_more(cluster: Cluster, controller: Start, agents: Agents) -> None:
    nodes = cut_nodes(cluster, agents, 2)
    for node in nodes:
        node.acts = False
    controller().schedules()
    mig_pod(cluster, "a")
    (asked,) = eventually(lambda: [node for node in nodes if agents.spec(node.name)])
    (other,) = [node for node in nodes if node is not asked]
    other.acts = True
    cluster.testbed.kubectl("label", "node", asked.name, f"{LABEL}-")
    assert held(cluster.bound("a", within=10))[0] == other.name


def test_a_node_without_an_agent_gets_no_gpu_pod(cluster: Cluster, controller: Start, agents: Agents) -> None:
    (name,) = cluster.testbed.add_nodes({"1xH100": 1}, labels={LABEL: "mig"})
    controller().schedules()
    mig_pod(cluster, "mig")
    cluster.pod("whole")
    cluster.pod("cpu", gpus=0)
    assert cluster.bound("cpu")["spec"]["nodeName"] == name
    cluster.waits("mig", "nvidia.com/mig-3g.40gb")
    cluster.waits("whole", "nvidia.com/gpu")
    agents.add(name)
    eventually(lambda: sum("nodeName" in cluster.get(pod)["spec"] for pod in ("mig", "whole")) == 1)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda gpu: gpu.update(product="NVIDIA H100 PCIe"), id="of no known product"),
        pytest.param(lambda gpu: gpu.update(ready=False, unhealthy="XID 79"), id="unhealthy"),
        pytest.param(
            lambda gpu: gpu.update(
                mig=True,
                ready=False,
                instances=[
                    {"uuid": "a", "profile": "3g.40gb", "start": 0, "ready": True},
                    {"uuid": "b", "profile": "1g.10gb", "start": 1, "ready": True},
                ],
            ),
            id="instances that overlap",
        ),
        pytest.param(
            lambda gpu: gpu.update(
                mig=True, ready=False, instances=[{"uuid": "a", "profile": "9g.90gb", "start": 0, "ready": True}]
            ),
            id="a profile that there is not",
        ),
    ],
)
def test_a_gpu_whose_report_cannot_be_used_is_left_alone(
    cluster: Cluster, controller: Start, agents: Agents, lie: Callable[[dict[str, Any]], None]
) -> None:
    liar, other = cut_nodes(cluster, agents, 1, gpus=2)[0], cut_nodes(cluster, agents)[0]
    before = agents.get(liar.name)["metadata"]["resourceVersion"]
    liar.distorts = lambda status: lie(status["gpus"][0])
    eventually(lambda: agents.get(liar.name)["metadata"]["resourceVersion"] != before)
    running = controller().schedules()
    for number in range(2):  # of 3 GPUs two can be used
        mig_pod(cluster, f"p-{number}", "7g.80gb")
    places = {held(cluster.bound(f"p-{number}", within=15)) for number in range(2)}
    assert places == {(liar.name, "1:7g.80gb@0"), (other.name, "0:7g.80gb@0")}
    mig_pod(cluster, "third", "7g.80gb")
    cluster.waits("third", "7g.80gb")
    assert 0 not in agents.spec(liar.name)
    assert running.process.poll() is None


def test_an_agent_that_says_it_is_done_and_is_not(cluster: Cluster, controller: Start, agents: Agents) -> None:
    liar, other = cut_nodes(cluster, agents, 2)
    controller().schedules()
    liar.act = lambda *_: None  # type: ignore[method-assign]
    mig_pod(cluster, "a", **on(other))
    cluster.bound("a")
    mig_pod(cluster, "b", **on(liar))
    eventually(lambda: agents.get(liar.name)["status"].get("observedGeneration") == 2)
    eventually(lambda: "was not recut in time" in str(cluster.events("b")), within=60)
    assert "nodeName" not in cluster.get("b")["spec"]


def test_the_lease_is_lost_while_a_gpu_is_cut(
    cluster: Cluster, controller: Start, agents: Agents, proxy: FaultProxy
) -> None:
    (node,) = cut_nodes(cluster, agents)
    quick = {"leaseDurationSeconds": 8, "renewDeadlineSeconds": 6, "retryPeriodSeconds": 1}
    node.acts = False
    first = controller(proxy.kubeconfig, leaderElection=quick).schedules()
    mig_pod(cluster, "a")
    eventually(lambda: agents.spec(node.name))
    for method in ("PUT", "GET"):
        proxy.fault(method, "/leases/", times=10_000, status=503)
    assert first.process.wait(15) == 1
    written = len([r for r in proxy.requests if r.startswith("PATCH") and "/gpunodes/" in r])
    node.acts = True
    controller(leaderElection=quick).schedules()
    cluster.bound("a")
    assert len([r for r in proxy.requests if r.startswith("PATCH") and "/gpunodes/" in r]) == written == 1
    assert agents.get(node.name)["metadata"]["generation"] == 2


def test_the_api_server_is_away_while_a_gpu_is_to_be_cut(
    cluster: Cluster, controller: Start, agents: Agents, proxy: FaultProxy
) -> None:
    cut_nodes(cluster, agents)
    running = controller(proxy.kubeconfig, leaderElection={"enabled": False}).schedules()
    fault = proxy.fault("PATCH", "/gpunodes/", times=10_000, lost=True, carried_out=False)
    mig_pod(cluster, "a")
    eventually(lambda: fault.hits >= 2)
    proxy.refuse()
    eventually(lambda: "watch interrupted" in running.said())
    proxy.heal()
    proxy.accept()
    cluster.bound("a")


def test_without_the_kind_nothing_is_cut(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"1xH100": 1})
    proxy.fault("GET", "/gpunodes?", times=10_000, status=404)
    running = controller(proxy.kubeconfig).schedules()
    assert "has no GPUNodes" in running.said()
    cluster.pod("whole")
    cluster.bound("whole")


def test_fifty_nodes_at_once(cluster: Cluster, controller: Start, agents: Agents) -> None:
    nodes = cut_nodes(cluster, agents, 50, gpus=2)
    silent = nodes[:5]
    for node in silent:
        node.acts = False
    running = controller(verbose=True).schedules()
    profiles = ["3g.40gb", "2g.20gb", "1g.10gb", "4g.40gb"]
    for number in range(150):
        mig_pod(cluster, f"p-{number}", profiles[number % 4])
    for number in range(10):
        cluster.pod(f"whole-{number}")

    def waiting() -> int:
        return sum("nodeName" not in pod["spec"] for pod in cluster.pods())

    # 160 Pods need about 150 * 2.75 / 8 + 10 = 62 of the 90 GPUs that answer.
    eventually(lambda: waiting() == 0, within=90, why="all have a place")
    assert_no_overlap(cluster)
    silent_names = {node.name for node in silent}
    assert not [pod for pod in cluster.pods() if pod["spec"]["nodeName"] in silent_names and INSTANCES in str(pod)]
    assert sum(node.destroyed for node in nodes) <= 20
    assert " recuts for " in running.said()
