"""ProvisioningRequests on a real API server: of the real Kueue, with Karpenter's nodes, and made by hand."""

from __future__ import annotations

import copy
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nos.testbed import Testbed
from nos.testbed.karpenter import Karpenter
from nos.testbed.kueue import request_crd
from tests.autoscaler.karpenter_rig import BINDING, ROLE, SETTINGS, Rig, machines
from tests.cli.test_main import nos
from tests.controller.cluster import NAMESPACE, Cluster, Controller, eventually
from tests.controller.exposed import Exposed
from tests.controller.gpu_agent import Agents

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
Object = dict[str, Any]

DOC = Path(__file__).parents[3] / "docs" / "autoscaling" / "provisioning-requests.md"
BLOCKS = [list(yaml.safe_load_all(b)) for b in re.findall(r"```yaml\n(.*?)```", DOC.read_text(), re.DOTALL)]
(ANSWERS,), (*QUEUE, JOB), BY_HAND = BLOCKS
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_REQUESTS = f"/apis/autoscaling.x-k8s.io/v1/namespaces/{NAMESPACE}/provisioningrequests"
_JOBS, _TEMPLATES = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", f"/api/v1/namespaces/{NAMESPACE}/podtemplates"
_WORKLOADS = f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{NAMESPACE}/workloads"
_CONFIG = "/apis/kueue.x-k8s.io/v1beta1/provisioningrequestconfigs/nos"
_QUICK = {"settleSeconds": 0.2, "longestSettleSeconds": 2, "surveySeconds": 0.5, "scaleDown": {"enabled": False}}


def answering(**more: Any) -> Object:
    """Settings of a controller that answers, and orders from Karpenter."""
    karpenter = SETTINGS["scaling"]["karpenter"]
    return {"scaling": ANSWERS["scaling"] | {"mode": "order", "karpenter": karpenter} | _QUICK | more}


@pytest.fixture(scope="module")
def served(role: Testbed, answering_role: None) -> Testbed:  # noqa: ARG001
    """The kind is."""
    kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    role.api.create(kinds, request_crd())
    eventually(lambda: role.api.answers(_REQUESTS), why="the kind is served")
    for kind, body in (("clusterroles", ROLE), ("clusterrolebindings", BINDING)):
        role.api.create(f"{_RBAC}/{kind}", body)
    return role


@pytest.fixture(scope="module")
def karpenter(role: Testbed) -> Iterator[Karpenter]:
    process = role.add_karpenter(machines())
    yield process
    process.stop()


@pytest.fixture(scope="module")
def kueue(served: Testbed) -> Iterator[None]:
    """Kueue, with the queue of the documentation."""
    process = served.add_kueue()
    for item in QUEUE:
        served.kubectl("apply", "-f", "-", stdin=json.dumps(item))
    yield
    process.stop()


@pytest.fixture
def room(cluster: Cluster, served: Testbed, karpenter: Karpenter) -> Iterator[Rig]:
    """Where it may come from. Nothing is asked for."""
    rig = Rig(served, karpenter)
    rig.prepare()
    yield rig
    for path in (_JOBS, _REQUESTS, _TEMPLATES):
        cluster.api.request("DELETE", path, {"propagationPolicy": "Background"})
    rig.clear()


@pytest.fixture
def agents(cluster: Cluster) -> Iterator[Agents]:
    with Agents(cluster.testbed).running() as agents:
        yield agents


def the_request(cluster: Cluster, name: str = "") -> Object:
    """The only request there is."""
    found = eventually(lambda: cluster.api.get(_REQUESTS)["items"], why="there is a request")
    return next(one for one in found if name in ("", one["metadata"]["name"]))


def says(cluster: Cluster, kind: str, status: str = "True", name: str = "") -> Object:
    """Its condition of that type, once it has that status."""

    def said() -> Object | None:
        conditions = the_request(cluster, name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if (c["type"], c["status"]) == (kind, status)), None)

    return eventually(said, why=f"{kind} is {status} of {the_request(cluster, name)}")


def pods(cluster: Cluster) -> list[Object]:
    return [pod for pod in cluster.pods() if pod["spec"].get("nodeName")]


@pytest.mark.usefixtures("kueue")
def test_a_job_starts_when_its_nodes_are_there_and_cut(
    cluster: Cluster, room: Rig, agents: Agents, controller: Start
) -> None:
    controller(**answering()).schedules()
    cluster.api.create(_JOBS, JOB)
    says(cluster, "Accepted")
    ordered = says(cluster, "Provisioned", "False")
    eventually(lambda: says(cluster, "Provisioned", "False")["reason"] == "NodeOrdered", why="a node is ordered")
    assert cluster.api.get(f"{_JOBS}/train")["spec"]["suspend"] is True, ordered
    assert cluster.pods() == []
    (claim,) = eventually(room.claims, why="one node is ordered")
    # Two 3g.40gb on each GPU: two GPUs are cut.
    layout = "0:3g.40gb@0,0:3g.40gb@4,1:3g.40gb@0,1:3g.40gb@4"
    assert claim["metadata"]["annotations"]["nos.nebuly.com/layout"] == layout
    node = eventually(lambda: room.api.get("/api/v1/nodes")["items"], why="it registers")[0]["metadata"]["name"]
    agents.add(node, gpus=8)
    says(cluster, "Provisioned")
    bound = eventually(lambda: found if len(found := pods(cluster)) == 4 else None, why="its Pods run")
    assert {pod["metadata"]["annotations"]["nos.nebuly.com/instances"] for pod in bound} == set(layout.split(","))
    consumed = {pod["metadata"]["annotations"]["autoscaling.x-k8s.io/consume-provisioning-request"] for pod in bound}
    details = the_request(cluster)["status"]["provisioningClassDetails"]
    assert consumed == {the_request(cluster)["metadata"]["name"]}
    assert details["nodes-0"] == f"{node}*4"
    assert details["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert len(room.claims()) == 1


@pytest.mark.usefixtures("kueue")
def test_a_job_for_which_there_cannot_be_room_is_put_back_by_kueue(
    cluster: Cluster, room: Rig, controller: Start
) -> None:
    controller(**answering()).schedules()
    job = copy.deepcopy(JOB)
    container = job["spec"]["template"]["spec"]["containers"][0]  # no machine has so many GPUs
    container["resources"]["limits"] = {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "63"}
    job["spec"] |= {"parallelism": 1, "completions": 1}
    cluster.api.merge(_CONFIG, {"spec": {"parameters": {"ValidUntilSeconds": "10"}}})
    cluster.api.create(_JOBS, job)

    failed = says(cluster, "Failed")
    assert failed["reason"] == "Expired"
    assert failed["message"].startswith("No room within 10 s. ")
    assert "No new node would help" in failed["message"]

    def put_back() -> Object | None:
        statuses = [workload.get("status", {}) for workload in cluster.api.get(_WORKLOADS)["items"]]
        return next((status["requeueState"] for status in statuses if "requeueState" in status), None)

    assert eventually(put_back, why="Kueue tries it again later")["count"] == 1
    assert cluster.pods() == []
    assert room.claims() == []


def by_hand(cluster: Cluster, **spec: Any) -> Object:
    """Asks as in the documentation; the Pod that is to come."""
    made, request, pod = copy.deepcopy(BY_HAND)
    cluster.api.create(_TEMPLATES, made)
    request["spec"] |= spec
    cluster.api.create(_REQUESTS, request)
    return pod


@pytest.mark.usefixtures("room")
def test_room_is_kept_by_whoever_leads(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    first = controller(**answering(mode="none")).schedules()
    pod = by_hand(cluster)
    found = says(cluster, "Provisioned")
    assert found["reason"] == "CapacityIsFound"
    cluster.pod("other", 1)
    cluster.waits("other", "Insufficient nvidia.com/gpu")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    cluster.api.request("DELETE", "/apis/coordination.k8s.io/v1/namespaces/nebuly-nos/leases/nos-scheduler")
    controller(**answering(mode="none")).schedules()
    for i in range(2):  # it asks for four of the eight GPUs, twice
        pod["metadata"]["name"] = f"worker-{i}"
        cluster.api.create(f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
        cluster.bound(f"worker-{i}")
    assert cluster.get("other")["spec"].get("nodeName") is None  # type: ignore[index]
    cluster.assert_sound()


@pytest.mark.usefixtures("room")
def test_who_only_looks_counts_what_is_booked(cluster: Cluster, controller: Start, tmp_path: Path) -> None:
    """All eight GPUs are booked, four for each of two Pods. One of these comes, and changes nothing of that."""
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    settings = answering(mode="none")
    running = controller(**settings).schedules()
    pod = by_hand(cluster)
    says(cluster, "Provisioned")
    cluster.pod("other", 1)
    cluster.waits("other", "Insufficient nvidia.com/gpu")
    (tmp_path / "nos.json").write_text(json.dumps(settings))
    kubeconfig = ["--kubeconfig", str(cluster.testbed.kubeconfig)]

    def look() -> Object:
        why = nos("why", "other", *kubeconfig)
        words = f"  if the room were free that is booked for ProvisioningRequest {NAMESPACE}/workers, on {node}"
        assert words in why.stdout.splitlines(), why
        plan = json.loads(
            nos("scale", "plan", "--config", str(tmp_path / "nos.json"), "-o", "json", *kubeconfig).stdout
        )
        assert [order["pods"] for order in plan["orders"]] == [[f"{NAMESPACE}/other"]]  # there is no room as it is
        top: Object = json.loads(nos("top", "-o", "json", *kubeconfig).stdout)
        assert top["totals"]["used"] == 8000
        return {held["pod"]: len(held["gpus"]) for held in top["nodes"][node]["pods"]}

    assert look() == {f"{NAMESPACE}/workers-0-{n} (booked)": 4 for n in (0, 1)}
    cluster.api.create(f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
    cluster.bound("worker-0")
    assert look() == {f"{NAMESPACE}/worker-0": 4, f"{NAMESPACE}/workers-0-0 (booked)": 4}
    assert Exposed(running)("nos_watch_lists_total", resource="provisioningrequests") == 1
    cluster.assert_sound()


@pytest.mark.usefixtures("room")
def test_what_is_asked_for_may_end_at_any_time(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    answers = ANSWERS["scaling"]["provisioningRequests"] | {"bookingSeconds": 3}
    controller(**answering(mode="none", provisioningRequests=answers)).schedules()
    by_hand(cluster)
    says(cluster, "Provisioned")
    cluster.pod("other", 8)
    says(cluster, "BookingExpired")
    cluster.bound("other")
    cluster.api.request("DELETE", f"{_REQUESTS}/workers")
    by_hand(cluster)
    says(cluster, "Provisioned", "False")
    cluster.api.request("DELETE", f"{_REQUESTS}/workers")
    cluster.delete("other")
    cluster.pod("last", 8)
    cluster.bound("last")
