"""New nodes, which are cut as they were ordered before anybody uses them, on the real API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nos.controller.scaling.startup import is_as_wanted
from nos.kube.gpunode import (
    LAYOUT_ANNOTATION,
    PARTITIONING_LABEL,
    STARTUP_TAINT,
    Condition,
    Gpu,
    GPUNode,
    Instance,
    Spec,
    Status,
    WantedGpu,
    WantedInstance,
)
from nos.kube.new_node import layout_of, layout_text, untainted
from nos.kube.node import Metadata, Taint
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.gpu_agent import Agents
from tests.controller.test_cutting import mig_pod

Start = Callable[..., Controller]
_TAINT = {"key": STARTUP_TAINT, "effect": "NoSchedule"}


@pytest.fixture
def agents(cluster: Cluster) -> Iterator[Agents]:
    with Agents(cluster.testbed).running() as agents:
        yield agents


def new_node(cluster: Cluster, layout: str) -> str:
    """A node that was ordered with this layout, and whose agent is not there yet."""
    (name,) = cluster.testbed.add_nodes({"2xH100": 1}, labels={PARTITIONING_LABEL: "mig"})
    annotations = {LAYOUT_ANNOTATION: layout} if layout else {}
    patch = {"metadata": {"annotations": annotations}, "spec": {"taints": [_TAINT]}}
    cluster.testbed.kubectl("patch", "node", name, "--type=merge", f"-p={json.dumps(patch)}")
    return name


def taints(cluster: Cluster, name: str) -> list[str]:
    return [taint["key"] for taint in cluster.api.get(f"/api/v1/nodes/{name}")["spec"].get("taints", [])]


def foreign(cluster: Cluster, name: str) -> None:
    """A Pod of another scheduler."""
    cluster.pod(name, 1, schedulerName="default-scheduler", tolerations=[])


@pytest.mark.cluster
def test_a_new_node_is_cut_as_it_was_ordered_before_others_may_use_it(
    cluster: Cluster, agents: Agents, controller: Start
) -> None:
    name = new_node(cluster, "0:3g.40gb@0,0:3g.40gb@4")
    controller().schedules()
    foreign(cluster, "other")
    node = agents.add(name, gpus=2)
    node.acts = False
    eventually(lambda: agents.spec(name) == {0: (True, ["3g.40gb@0", "3g.40gb@4"])}, why="its layout is asked for")
    assert taints(cluster, name) == [STARTUP_TAINT]
    node.acts = True
    eventually(lambda: STARTUP_TAINT not in taints(cluster, name), why="its taint goes")
    status = agents.get(name)["status"]["gpus"]
    assert [i["profile"] for i in status[0]["instances"]] == ["3g.40gb", "3g.40gb"]
    cluster.bound("other")  # it takes the GPU that was not to be cut


@pytest.mark.cluster
def test_a_pod_of_ours_has_its_place_there_as_soon_as_it_is_cut(
    cluster: Cluster, agents: Agents, controller: Start
) -> None:
    name = new_node(cluster, "0:1g.10gb@6")
    controller().schedules()
    mig_pod(cluster, "ours", "1g.10gb")
    cluster.waits("ours", "nvidia.com/mig-1g.10gb")
    agents.add(name, gpus=2)
    pod = cluster.bound("ours")
    assert pod["metadata"]["annotations"]["nos.nebuly.com/instances"] == "0:1g.10gb@6"
    assert agents.spec(name) == {0: (True, ["1g.10gb@6"])}
    eventually(lambda: STARTUP_TAINT not in taints(cluster, name), why="its taint goes")


@pytest.mark.cluster
def test_one_that_cannot_be_cut_keeps_its_taint(cluster: Cluster, agents: Agents, controller: Start) -> None:
    name = new_node(cluster, "0:3g.40gb@0")
    controller().schedules()
    node = agents.add(name, gpus=2, fails=lambda gpu: "the driver says no" if gpu == 0 else "")
    eventually(lambda: node.messages == {0: "the driver says no"}, why="it was tried")
    mig_pod(cluster, "ours", "7g.80gb")
    cluster.bound("ours")  # on the GPU that can be cut
    other = new_node(cluster, "0:3g.40gb@0")
    agents.add(other, gpus=2)
    eventually(lambda: STARTUP_TAINT not in taints(cluster, other), why="another one serves")
    assert taints(cluster, name) == [STARTUP_TAINT]


@pytest.mark.cluster
def test_one_without_a_layout_serves_when_its_agent_does(cluster: Cluster, agents: Agents, controller: Start) -> None:
    name = new_node(cluster, "")
    controller().schedules()
    agents.add(name, gpus=2)
    eventually(lambda: STARTUP_TAINT not in taints(cluster, name), why="its taint goes")
    assert agents.spec(name) == {}


@pytest.mark.cluster
def test_nonsense_in_the_annotation_cuts_nothing(cluster: Cluster, agents: Agents, controller: Start) -> None:
    name = new_node(cluster, "0:3g.40gb@0,rm -rf /")
    controller().schedules()
    agents.add(name, gpus=2)
    eventually(lambda: STARTUP_TAINT not in taints(cluster, name), why="its taint goes")
    assert agents.spec(name) == {}


def report(**changes: Any) -> GPUNode:
    """Of a node that is as it is wanted: GPU 0 cut, GPU 1 whole."""
    wanted = WantedGpu(0, True, (WantedInstance("3g.40gb", 0), WantedInstance("1g.10gb", 4)))
    there = Gpu(
        0, "G0", "H100", True, instances=(Instance("M0", "3g.40gb", 0, True), Instance("M1", "1g.10gb", 4, True))
    )
    whole = Gpu(1, "G1", "H100", False, ready=True)
    facts: dict[str, Any] = {
        "generation": 2,
        "observed": 2,
        "wanted": (wanted, WantedGpu(1, False)),
        "gpus": (there, whole),
        "conditions": (),
    } | changes
    return GPUNode(
        Metadata(name="n", generation=facts["generation"]),
        Spec(facts["wanted"]),
        Status(observed_generation=facts["observed"], gpus=facts["gpus"], conditions=facts["conditions"]),
    )


def test_what_is_as_wanted() -> None:
    assert is_as_wanted(report())
    assert is_as_wanted(report(wanted=()))
    there = report().status.gpus
    unready = Instance("M0", "3g.40gb", 0), there[0].instances[1]
    for wrong in (
        {"observed": 1},
        {"gpus": ()},
        {"gpus": there[:1]},
        {"gpus": (Gpu(0, "G0", "H100", False, ready=True), there[1])},
        {"gpus": (Gpu(0, "G0", "H100", True, instances=there[0].instances[:1]), there[1])},
        {
            "gpus": (
                Gpu(0, "G0", "H100", True, instances=unready),
                there[1],
            )
        },
        {"gpus": (Gpu(0, "G0", "H100", True, message="busy", instances=there[0].instances), there[1])},
        {"gpus": (there[0], Gpu(1, "G1", "H100", False))},
        {"conditions": (Condition("Ready", "False", "DriverError", "gone"),)},
    ):
        assert not is_as_wanted(report(**wrong)), wrong


def test_a_layout_comes_back_as_it_was_written() -> None:
    layout = [(True, [("3g.40gb", 4), ("1g.10gb+me", 0)]), (False, []), (True, [("7g.80gb", 0)])]
    text = layout_text(layout)
    assert text == "0:1g.10gb+me@0,0:3g.40gb@4,2:7g.80gb@0"
    assert layout_of(text) == {0: [("1g.10gb+me", 0), ("3g.40gb", 4)], 2: [("7g.80gb", 0)]}
    assert layout_of("") == layout_of("0:3g.40gb") == layout_of("x") == {}


def test_only_the_startup_taint_goes() -> None:
    taints = [Taint("a", "1", "NoExecute", "2026-01-01T00:00:00Z"), Taint(STARTUP_TAINT, effect="NoSchedule")]
    patch = json.loads(untainted(taints, "7"))
    kept = {"key": "a", "value": "1", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    assert patch == {"metadata": {"resourceVersion": "7"}, "spec": {"taints": [kept]}}
    assert json.loads(untainted(taints[1:], "7"))["spec"] == {"taints": None}
