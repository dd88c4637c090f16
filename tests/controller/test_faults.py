"""What goes wrong between the controller and the API server, and that nothing comes of it.

In no case is a Pod bound twice, a GPU overcommitted, a Pod forgotten, or a traceback shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.controller.cluster import NAMESPACE, Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
# Pods, nodes and the like; quotas and budgets; gangs; what selects Pods; storage; devices by DRA
WATCHES = 4 + 3 + 1 + 4 + 7 + 2
GONE = (
    json.dumps(
        {
            "type": "ERROR",
            "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"},
        }
    ).encode()
    + b"\n"
)


def scheduling(controller: Start, proxy: FaultProxy, **settings: object) -> Controller:
    running = controller(proxy.kubeconfig, **settings).schedules()
    eventually(lambda: proxy.watches == WATCHES, why="all watches run")
    return running


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}])
def test_a_bind_that_is_put_off(
    cluster: Cluster, controller: Start, proxy: FaultProxy, status: int, headers: dict[str, str]
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    scheduling(controller, proxy)
    fault = proxy.fault("POST", "/binding", times=2, status=status, headers=headers)
    cluster.pod("train")
    cluster.bound("train")
    assert fault.hits == 2
    cluster.assert_sound()


def test_a_bind_that_never_gets_through_gives_the_gpu_back(
    cluster: Cluster, controller: Start, proxy: FaultProxy
) -> None:
    cluster.testbed.add_nodes({"2xT4": 1})
    scheduling(controller, proxy)
    fault = proxy.fault("POST", "/pods/stuck/binding", times=10_000, status=403)
    cluster.pod("stuck", gpus=2)
    eventually(lambda: fault.hits)
    cluster.pod("next", gpus=2)
    cluster.bound("next")
    proxy.heal()
    cluster.delete("next")
    cluster.bound("stuck")  # not forgotten
    cluster.assert_sound()


def test_a_bind_whose_answer_is_lost_is_not_made_twice(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 2})
    running = scheduling(controller, proxy)
    proxy.fault("POST", "/pods/train/binding", times=1, lost=True)
    cluster.pod("train", gpus=8)
    pod = cluster.bound("train")
    # The GPUs stay taken: only one more Pod of this size fits.
    cluster.pod("second", gpus=8)
    cluster.bound("second")
    cluster.pod("third", gpus=8)
    cluster.waits("third", "nvidia.com/gpu")
    assert cluster.get("train")["spec"]["nodeName"] == pod["spec"]["nodeName"]
    cluster.assert_sound()
    assert "was not bound" not in running.said()


def test_answers_lost_for_good_keep_the_room_until_it_is_known(
    cluster: Cluster, controller: Start, proxy: FaultProxy
) -> None:
    """Each Binding is carried out and its answer lost, and no read tells what became of it: the watch alone does."""
    cluster.testbed.add_nodes({"8xH100": 1})
    scheduling(controller, proxy)
    proxy.fault("GET", "/pods/train", times=10_000, status=503)
    cut = proxy.fault("POST", "/pods/train/binding", times=10_000, lost=True)
    cluster.pod("train", gpus=8)
    pod = cluster.bound("train")
    eventually(lambda: cut.hits >= 1)
    cluster.pod("other", gpus=8)
    cluster.waits("other", "nvidia.com/gpu")
    assert cluster.get("train")["spec"]["nodeName"] == pod["spec"]["nodeName"]
    cluster.assert_sound()


def test_a_refusal_after_a_lost_answer_is_not_believed(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    """The Binding is carried out, its answer lost, no watch tells, and the second try is refused, as by an API server
    that has just started and knows no roles yet. The room is not given to the next one before a read has settled it."""
    cluster.testbed.add_nodes({"8xH100": 1})
    scheduling(controller, proxy)
    lost = proxy.fault("POST", "/pods/train/binding", lost=True, held=True)
    refused = proxy.fault("POST", "/pods/train/binding", status=403)
    cluster.pod("train", gpus=8)
    eventually(lambda: lost.hits == 1)
    cluster.pod("next", gpus=8, priorityClassName="system-cluster-critical")  # comes first where there is room
    cluster.waits("next", "nvidia.com/gpu")
    for kind in ("pods", "nodes"):
        proxy.fault("GET", f"/api/v1/{kind}?", times=10_000, lost=True, carried_out=False)
    proxy.end_watches(b'{"type":"MODI')
    lost.held = False
    eventually(lambda: refused.hits == 1)
    eventually(lambda: any(r.startswith("GET /api/v1/namespaces/default/pods/train") for r in proxy.requests))
    proxy.heal()
    assert "nodeName" in cluster.get("train")["spec"]
    assert "nodeName" not in cluster.get("next")["spec"]
    cluster.assert_sound()


def test_a_bind_that_is_lost_on_the_way_is_made(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    scheduling(controller, proxy)
    proxy.fault("POST", "/pods/train/binding", times=3, lost=True, carried_out=False)
    cluster.pod("train", gpus=8)
    cluster.bound("train")
    cluster.assert_sound()


def test_a_pod_that_is_deleted_and_created_again_while_it_is_bound(
    cluster: Cluster, controller: Start, proxy: FaultProxy
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    scheduling(controller, proxy)
    fault = proxy.fault("POST", "/pods/train/binding", times=1, delay=1.5)
    cluster.pod("train", gpus=8)
    eventually(lambda: fault.hits)
    cluster.delete("train")
    eventually(lambda: cluster.get("train") is None)
    second = cluster.pod("train", gpus=4)  # the same name, another uid, half the size
    assert cluster.bound("train")["metadata"]["uid"] == second["metadata"]["uid"]
    cluster.pod("other", gpus=4)
    cluster.bound("other")
    cluster.assert_sound()


def test_a_pod_that_someone_else_binds_first(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    nodes = cluster.testbed.add_nodes({"8xH100": 2})
    running = scheduling(controller, proxy)
    fault = proxy.fault("POST", "/pods/train/binding", times=1, delay=1.5)
    cluster.pod("train", gpus=8, nodeSelector={"kubernetes.io/hostname": nodes[0]})
    eventually(lambda: fault.hits)
    assert cluster.bind("train", nodes[1]) == 201
    cluster.pod("other", gpus=8, nodeSelector={"kubernetes.io/hostname": nodes[0]})
    cluster.bound("other")  # the room that was meant for `train`
    cluster.pod("third", gpus=1)
    cluster.waits("third", "nvidia.com/gpu")  # it is counted where it is
    cluster.assert_sound()
    assert cluster.get("train")["spec"]["nodeName"] == nodes[1]
    assert "ERROR" not in running.said()


def test_a_node_that_vanishes_with_pods_assumed_on_it(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    nodes = cluster.testbed.add_nodes({"8xH100": 2})
    scheduling(controller, proxy)
    fault = proxy.fault("POST", "/binding", times=2, status=503, headers={"Retry-After": "2"})
    cluster.pod("a", gpus=8, nodeSelector={"kubernetes.io/hostname": nodes[0]})
    cluster.pod("b", gpus=8)
    eventually(lambda: fault.hits == 2)
    cluster.api.request("DELETE", f"/api/v1/nodes/{nodes[0]}")
    assert cluster.bound("b")["spec"]["nodeName"] == nodes[1]
    cluster.waits("a", "node")
    assert "nodeName" not in cluster.get("a")["spec"]
    cluster.assert_sound()


@pytest.mark.parametrize(
    "last_words",
    [
        pytest.param(b'{"type":"ADDED","object":{"metadata":{"name":"ha', id="a line cut in the middle"),
        pytest.param(b"<html>502 Bad Gateway</html>\n", id="no JSON"),
        pytest.param(b'{"type":"ADDED","object":{"metadata":{"name":7}}}\n', id="no Pod"),
        pytest.param(b'{"type":"WHATEVER"}\n[]\n\n\xff\n', id="no event"),
        pytest.param(GONE, id="410"),
        pytest.param(GONE.replace(b"410", b"500").replace(b"Expired", b"InternalError"), id="an error"),
    ],
)
def test_a_watch_that_ends_badly(cluster: Cluster, controller: Start, proxy: FaultProxy, last_words: bytes) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    scheduling(controller, proxy)
    cluster.pod("stays", gpus=3)
    cluster.pod("goes", gpus=5)
    cluster.bound("stays")
    cluster.bound("goes")
    assert proxy.end_watches(last_words) == WATCHES
    cluster.delete("goes")  # while nobody looks
    cluster.pod("new", gpus=5)
    cluster.bound("new")
    cluster.pod("more", gpus=1)
    cluster.waits("more", "nvidia.com/gpu")
    cluster.assert_sound()


def test_a_relist_finds_what_vanished(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    """The watches cannot go on from where they were: 410 on the connection, after Pods and a node have gone unseen."""
    nodes = cluster.testbed.add_nodes({"8xH100": 2})
    scheduling(controller, proxy)
    for name, node in zip("ab", nodes, strict=True):
        cluster.pod(name, gpus=8, nodeSelector={"kubernetes.io/hostname": node})
        cluster.bound(name)
    refusals = [proxy.fault("GET", f"/api/v1/{kind}?", times=1, status=410) for kind in ("pods", "nodes")]
    blocks = [proxy.fault("GET", f"/api/v1/{kind}?", times=3, status=503) for kind in ("pods", "nodes")]
    proxy.end_watches(b"")
    cluster.delete("a")
    cluster.delete("b")
    cluster.api.request("DELETE", f"/api/v1/nodes/{nodes[0]}")
    eventually(lambda: all(f.hits for f in refusals) and all(f.hits == 3 for f in blocks))
    (new,) = cluster.testbed.add_nodes({"2xT4": 1})
    cluster.pod("probe", gpus=2, nodeSelector={"kubernetes.io/hostname": new})
    cluster.bound("probe")  # so both lists are over
    cluster.pod("c", gpus=8)
    assert cluster.bound("c")["spec"]["nodeName"] == nodes[1]
    cluster.assert_sound()


def test_a_server_that_streams_no_lists(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    cluster.pod("first", gpus=3)
    fault = proxy.fault("GET", "sendInitialEvents", times=10_000, status=422)
    running = scheduling(controller, proxy)
    assert "asking for pages" in running.said()
    assert fault.hits == WATCHES
    cluster.bound("first")
    cluster.pod("second", gpus=5)
    cluster.bound("second")
    proxy.end_watches(GONE)
    cluster.delete("first")
    cluster.pod("third", gpus=3)
    cluster.bound("third")
    cluster.assert_sound()


@pytest.mark.refused  # an API server that has just begun does not know the roles yet
def test_an_api_server_that_restarts_under_load(cluster: Cluster, controller: Start) -> None:
    cluster.testbed.add_nodes({"8xH100": 20})
    patient = {"leaseDurationSeconds": 60, "renewDeadlineSeconds": 50}  # however long the restart takes here
    running = controller(leaderElection=patient).schedules()
    for number in range(100):
        cluster.pod(f"a-{number}")
    cluster.testbed.restart_apiserver(kill=True)
    for number in range(60):
        cluster.pod(f"b-{number}")
    eventually(lambda: all(pod["spec"].get("nodeName") for pod in cluster.pods()), within=60, why="160 Pods, 160 GPUs")
    cluster.pod("more")
    cluster.waits("more", "nvidia.com/gpu")
    cluster.assert_sound()
    assert running.process.poll() is None


def test_an_api_server_that_is_away_for_a_while(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    running = scheduling(controller, proxy, leaderElection={"enabled": False})
    proxy.refuse()
    cluster.pod("meanwhile", gpus=8)
    eventually(lambda: "watch interrupted" in running.said())
    proxy.accept()
    cluster.bound("meanwhile")
    assert running.probe("/readyz") == (200, "ok")


def test_conditions_that_fail_are_written_in_the_end(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"2xT4": 1})
    scheduling(controller, proxy)
    proxy.fault("PATCH", "/pods/huge/status", times=3, status=409)
    cluster.pod("huge", gpus=4)
    cluster.waits("huge", "nvidia.com/gpu")


def test_a_condition_that_comes_late_does_not_deny_a_binding(
    cluster: Cluster, controller: Start, proxy: FaultProxy
) -> None:
    cluster.testbed.add_nodes({"2xT4": 1})
    scheduling(controller, proxy)
    fault = proxy.fault("PATCH", "/pods/huge/status", times=1, delay=3)
    cluster.pod("huge", gpus=4)
    eventually(lambda: fault.hits)
    cluster.testbed.add_nodes({"8xH100": 1})
    cluster.bound("huge")
    patches = [r for r in proxy.requests if r.startswith("PATCH")]
    cluster.pod("later", gpus=64)
    cluster.waits("later", "nvidia.com/gpu")
    assert patches
    assert cluster.condition("huge")["status"] == "True"


def test_nothing_is_listed_twice_in_quiet_times(cluster: Cluster, controller: Start, proxy: FaultProxy) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    scheduling(controller, proxy)
    for number in range(8):
        cluster.pod(f"p-{number}")
    for number in range(8):
        cluster.bound(f"p-{number}")
    lists = [r for r in proxy.requests if r.startswith("GET /api/v1/pods?")]
    assert len(lists) == 1
    binds = [r for r in proxy.requests if "/binding" in r]
    assert len(binds) == 8
    assert NAMESPACE in binds[0]
