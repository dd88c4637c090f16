"""Pods on the real API server: what is bound, what waits, what is counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.controller.cluster import NAMESPACE, Cluster, Controller, eventually

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]


def test_a_pod_is_bound_and_the_decision_is_on_it(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller().schedules()
    cluster.pod("assigned", gpus=2)
    pod = cluster.bound("assigned")
    assert pod["metadata"]["annotations"]["nos.nebuly.com/gpus"] == "0,1"
    scheduled = eventually(lambda: [e for e in cluster.events("assigned") if e["reason"] == "Scheduled"])
    assert scheduled[0]["note"].endswith(f"to {pod['spec']['nodeName']}, GPUs 0,1")
    assert scheduled[0]["reportingController"] == "nos-scheduler"


def test_only_pods_that_are_ours_and_ready_are_bound(cluster: Cluster, controller: Start) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    cluster.pod("gated", schedulingGates=[{"name": "example.com/wait"}])
    cluster.pod("elsewhere", schedulerName="another-scheduler")
    cluster.pod(
        "leaving", metadata={"finalizers": ["example.com/hold"]}, schedulingGates=[{"name": "example.com/wait"}]
    )
    cluster.delete("leaving")
    controller().schedules()
    cluster.pod("last")
    cluster.bound("last")  # so the others had their turn
    for name in ("gated", "elsewhere", "leaving"):
        assert "nodeName" not in cluster.get(name)["spec"]
    cluster.testbed.kubectl("patch", "pod", "gated", "--type=merge", '-p={"spec":{"schedulingGates":[]}}')
    assert cluster.bound("gated")["spec"]["nodeName"] == node


def test_pods_of_other_schedulers_count(cluster: Cluster, controller: Start) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    cluster.pod("before", gpus=6, schedulerName="another-scheduler")
    assert cluster.bind("before", node) == 201
    controller().schedules()
    cluster.pod("after", gpus=1, schedulerName="another-scheduler")
    assert cluster.bind("after", node) == 201
    cluster.pod("large", gpus=2)  # 8 - 6 - 1 = 1 is free
    cluster.waits("large", "nvidia.com/gpu")
    cluster.pod("small", gpus=1)
    cluster.bound("small")
    cluster.delete("before")
    cluster.bound("large")
    cluster.assert_sound()


def test_a_waiting_pod_says_why_once(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"2xT4": 1})
    controller().schedules()
    cluster.pod("huge", gpus=4)
    condition = cluster.waits("huge", "0/1 nodes")
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    eventually(lambda: [e for e in cluster.events("huge") if e["reason"] == "FailedScheduling"])
    version = cluster.get("huge")["metadata"]["resourceVersion"]
    for number in range(3):  # three more cycles with the same answer
        cluster.pod(f"small-{number}", gpus=0)
        cluster.bound(f"small-{number}")
    assert cluster.get("huge")["metadata"]["resourceVersion"] == version
    assert len([e for e in cluster.events("huge") if e["reason"] == "FailedScheduling"]) == 1

    cluster.testbed.add_nodes({"8xH100": 1})
    assert cluster.bound("huge")["spec"]["nodeName"]
    assert cluster.condition("huge")["status"] == "True"


def test_a_restarted_controller_repeats_nothing(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"2xT4": 1})
    cluster.pod("huge", gpus=4)
    first = controller().schedules()
    cluster.waits("huge", "0/1 nodes")
    assert first.stop() == 0
    version = cluster.get("huge")["metadata"]["resourceVersion"]
    controller().schedules()
    cluster.pod("small")
    cluster.bound("small")
    assert cluster.get("huge")["metadata"]["resourceVersion"] == version


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"volumes": [{"name": "v", "rbd": {"monitors": ["m"], "image": "i"}}]}, "rbd volume"),
        ({"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "t"}]}, "resource claims"),
    ],
)
def test_what_is_not_handled_waits_and_is_named(
    cluster: Cluster, controller: Start, spec: dict[str, object], named: str
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller().schedules()
    cluster.pod("special", **spec)
    cluster.waits("special", named)
    assert "nodeName" not in cluster.get("special")["spec"]


def test_pods_that_stay_away_from_their_like(cluster: Cluster, controller: Start) -> None:
    away = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}
    spec = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [away]}}}
    cluster.testbed.add_nodes({"8xH100": 2})
    controller().schedules()
    for name in ("db-0", "db-1", "db-2"):
        cluster.pod(name, **spec, metadata={"labels": {"app": "db"}})
    nodes = {cluster.bound(name)["spec"]["nodeName"] for name in ("db-0", "db-1")}
    assert len(nodes) == 2
    cluster.waits("db-2", "anti-affinity")
    cluster.delete("db-0")
    assert cluster.bound("db-2")["spec"]["nodeName"] in nodes


def test_more_than_any_node_has(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 2})
    controller().schedules()
    absurd = {"requests": {"memory": "8000Pi", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    cluster.pod("absurd", containers=[{"name": "main", "image": "busybox", "resources": absurd}])
    cluster.pod("large", gpus=9)
    cluster.waits("large", "nvidia.com/gpu")
    cluster.waits("absurd", "memory")
    cluster.pod("fits", gpus=8)
    cluster.bound("fits")


def test_sidecars_and_init_containers_count_as_kubernetes_counts_them(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})  # 8 GPUs
    controller().schedules()

    def container(name: str, gpus: int, **more: str) -> dict[str, object]:
        return {"name": name, "image": "busybox", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}} | more

    # containers 2 + sidecar 3 = 5; init 4 + the sidecar before it 3 = 7: 7 of 8 are taken
    cluster.pod(
        "mixed",
        containers=[container("main", 2)],
        initContainers=[container("sidecar", 3, restartPolicy="Always"), container("init", 4)],
    )
    cluster.bound("mixed")
    cluster.pod("two", gpus=2)
    cluster.waits("two", "nvidia.com/gpu")
    cluster.pod("one", gpus=1)
    cluster.bound("one")


def test_finished_pods_give_their_gpus_back(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"2xT4": 1})
    controller().schedules()
    cluster.pod("first", gpus=2)
    cluster.bound("first")
    cluster.pod("second", gpus=2)
    cluster.waits("second", "nvidia.com/gpu")
    status = f"/api/v1/namespaces/{NAMESPACE}/pods/first/status"
    eventually(lambda: cluster.get("first")["status"]["phase"] == "Running")
    pod = cluster.get("first")
    pod["status"]["phase"] = "Succeeded"
    assert cluster.api.request("PUT", status, pod)[0] == 200
    cluster.bound("second")


def test_the_life_of_a_pod_that_is_created_again(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    controller().schedules()
    uids = set()
    for _ in range(10):
        cluster.pod("again", gpus=8)
        uids.add(cluster.bound("again")["metadata"]["uid"])
        cluster.delete("again")
        eventually(lambda: cluster.get("again") is None)
    assert len(uids) == 10
