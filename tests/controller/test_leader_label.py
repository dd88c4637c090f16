"""The Service of the dashboard, as the chart makes it, and the Pods of two controllers that run beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nos.controller.leader_label import LABEL
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.test_life import QUICK
from tests.deploy.helm import NAMESPACE, objects

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
CHART = {"dashboard": {"enabled": True, "tlsSecretName": "tls"}}


@pytest.fixture
def served(cluster: Cluster) -> Iterator[Cluster]:
    """The Service, and the Pods `one` and `two`, of which kwok says that they are ready."""
    api, found = cluster.api, objects(CHART)
    (service,) = [each for each in found if each["kind"] == "Service"]
    (deployment,) = [each for each in found if each["kind"] == "Deployment"]
    container = {
        "name": "controller",
        "image": "nos",
        "ports": deployment["spec"]["template"]["spec"]["containers"][0]["ports"],
    }
    (node,) = cluster.testbed.add_nodes({"1xT4": 1}, taint=False)
    api.create(SERVICES, service)
    for name in ("one", "two"):
        metadata = {"name": name, "labels": deployment["spec"]["template"]["metadata"]["labels"]}
        api.create(PODS, {"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}})
    eventually(lambda: all(pod["status"].get("podIP") for pod in api.get(PODS)["items"]), why="both run")
    yield cluster
    at_once = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    api.request("DELETE", f"{SERVICES}/{service['metadata']['name']}", at_once)
    api.request("DELETE", PODS, at_once)
    eventually(lambda: not api.get(PODS)["items"], why="the Pods are gone")


def labelled(cluster: Cluster) -> dict[str, str]:
    """What the label says on the Pods that have it."""
    pods = cluster.api.get(PODS)["items"]
    found = {pod["metadata"]["name"]: pod["metadata"]["labels"].get(LABEL) for pod in pods}
    return {name: value for name, value in found.items() if value is not None}


def reached(cluster: Cluster) -> set[str]:
    """The Pods that the Service sends one to."""
    slices = cluster.api.get(f"{SLICES}?labelSelector=kubernetes.io/service-name=nos-dashboard")["items"]
    ends = [end for each in slices for end in each.get("endpoints") or [] if end["conditions"]["ready"]]
    return {end["targetRef"]["name"] for end in ends}


def put_label(cluster: Cluster, name: str) -> None:
    """As one would who led, and whose write came late."""
    cluster.testbed.kubectl("label", "pod", name, "--namespace", NAMESPACE, f"{LABEL}=true")


def leading(controller: Start, name: str) -> Controller:
    return controller(leaderElection=QUICK | {"pod": f"{NAMESPACE}/{name}"})


def test_the_service_follows_the_leader(served: Cluster, controller: Start) -> None:
    assert reached(served) == set()
    first = leading(controller, "one").schedules()
    eventually(lambda: reached(served) == {"one"}, why="the Service reaches the first")
    second = leading(controller, "two")
    eventually(lambda: "leads" in second.said())
    assert labelled(served) == {"one": "true"}

    first.process.kill()
    second.schedules()
    eventually(lambda: reached(served) == {"two"}, why="the Service reaches the second")
    assert labelled(served) == {"two": "true"}

    put_label(served, "one")
    eventually(lambda: labelled(served) == {"two": "true"}, why="the late label is gone")
    eventually(lambda: reached(served) == {"two"}, why="the Service reaches the second alone")

    assert second.stop() == 0
    assert labelled(served) == {}
    eventually(lambda: reached(served) == set(), why="the Service reaches nobody")
    assert "WARNING" not in second.said()


def test_a_standby_that_ends_leaves_the_label_to_the_leader(served: Cluster, controller: Start) -> None:
    leading(controller, "one").schedules()
    eventually(lambda: labelled(served) == {"one": "true"})
    standby = leading(controller, "one")  # in the same Pod, as after a restart of its container
    eventually(lambda: "leads" in standby.said())
    assert standby.stop() == 0
    assert labelled(served) == {"one": "true"}


def test_a_pod_that_is_not_there_is_told_of_once(served: Cluster, controller: Start) -> None:
    put_label(served, "one")
    running = leading(controller, "three").schedules()
    eventually(lambda: 'pods "three" not found' in running.said())
    assert labelled(served) == {}  # whoever else has it does not lead
    served.pod("any")
    served.bound("any")
    assert running.stop() == 0
    assert running.said().count("WARNING") == 1


def test_the_chart_tells_the_controller_its_pod() -> None:
    def told(values: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
        (deployment,) = [each for each in objects(values) if each["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return container["args"], container.get("env", [])

    name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    arguments = ["controller", "--config=/etc/nos/config.yaml"]
    assert told({}) == (arguments, [])
    assert told(CHART) == ([*arguments, f"--pod={NAMESPACE}/$(POD_NAME)"], [name])
