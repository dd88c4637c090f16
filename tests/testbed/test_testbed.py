"""A real control plane: that it is one, and that nothing of it is left, whatever ends it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nos.testbed import Testbed, state
from nos.testbed.api import Api
from nos.testbed.controlplane import Layout
from nos.testbed.progress import Progress
from nos.testbed.testbed import NOS_USER

from .processes import eventually, listens, processes_of

pytestmark = pytest.mark.cluster
QUIET = Progress(quiet=True)
COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}


def pod(name: str, gpus: int, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "tolerations": tolerations, **spec},
    }


def phase(testbed: Testbed, name: str) -> str:
    return str(testbed.api.get(f"/api/v1/namespaces/default/pods/{name}")["status"]["phase"])


def create(testbed: Testbed, *objects: dict[str, Any]) -> None:
    testbed.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@pytest.fixture(scope="module")
def node(testbed: Testbed) -> str:
    """A node that no other test uses."""
    (name,) = testbed.add_nodes({"4xA30": 1}, labels={"test": "testbed"})
    return name


def test_a_pod_runs_and_is_deleted_on_a_simulated_node(testbed: Testbed, node: str) -> None:
    create(testbed, pod("runs", 1, nodeSelector={"test": "testbed"}))
    eventually(lambda: phase(testbed, "runs") == "Running", "the Pod runs")
    found = testbed.api.get("/api/v1/namespaces/default/pods/runs")
    assert found["spec"]["nodeName"] == node
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions == dict.fromkeys(("PodScheduled", "Initialized", "ContainersReady", "Ready"), "True")
    assert found["status"]["podIP"].startswith("10.244.")
    testbed.kubectl("delete", "pod", "runs", "--timeout=60s")


def test_the_end_of_a_pod_takes_no_other_of_its_name_with_it(testbed: Testbed, node: str) -> None:
    pods = "/api/v1/namespaces/default/pods"
    at_once = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    for _ in range(300):  # kwok's mistake would be seen in 1 of 100
        testbed.api.create(pods, pod("again", 1, nodeName=node))
        eventually(lambda: phase(testbed, "again") == "Running", "it runs")
        assert testbed.api.request("DELETE", f"{pods}/again", at_once)[0] == 200


def test_a_job_completes(testbed: Testbed, node: str) -> None:
    template = pod("unused", 1, nodeSelector={"kubernetes.io/hostname": node}, restartPolicy="Never")["spec"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "done"},
        "spec": {"template": {"spec": template}},
    }
    create(testbed, job)
    testbed.kubectl("wait", "job/done", "--for=condition=Complete", "--timeout=60s")
    testbed.kubectl("delete", "job", "done", "--timeout=60s")


def test_capacity_is_enforced(testbed: Testbed, node: str) -> None:
    create(testbed, pod("too-big", 5, nodeSelector={"kubernetes.io/hostname": node}))  # of 4

    def unschedulable() -> bool:
        found = testbed.api.get("/api/v1/namespaces/default/pods/too-big")["status"].get("conditions", [])
        return any(condition.get("reason") == "Unschedulable" for condition in found)

    eventually(unschedulable, "kube-scheduler says that it does not fit")
    testbed.kubectl("delete", "pod", "too-big", "--timeout=60s")


def test_nodes_keep_a_lease(testbed: Testbed, node: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"
    eventually(lambda: testbed.api.answers(path), "kwok renews the node's lease")


def test_tokens_certificates_and_roles_are_real(testbed: Testbed) -> None:
    strict = ssl.create_default_context(cafile=str(testbed.ca_file))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13's default
    connection = http.client.HTTPSConnection(testbed.server.removeprefix("https://"), context=strict, timeout=60)

    def status(path: str, token: str) -> int:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        response.read()
        return response.status

    assert status("/api/v1/nodes", testbed.token) == 200
    assert status("/api/v1/nodes", "wrong") == 401
    assert status("/api/v1/secrets", testbed.tokens[NOS_USER]) == 403  # a service account, which no role gives these
    connection.close()
    who = subprocess.run(
        [testbed._binaries["kubectl"], f"--kubeconfig={testbed.kubeconfig_of()}", "auth", "whoami", "-o", "json"],
        capture_output=True,
        check=True,
    )
    user = json.loads(who.stdout)["status"]["userInfo"]
    assert user["username"] == NOS_USER
    assert "system:serviceaccounts:nos-system" in user["groups"]


def test_the_api_server_restarts_in_place(testbed: Testbed, node: str) -> None:
    server = testbed.server
    testbed.stop_apiserver(kill=True)
    assert not testbed.api.answers("/readyz")
    testbed.start_apiserver()
    assert testbed.server == server
    assert node in testbed.kubectl("get", "nodes", "-o", "name")
    # and its clients find back
    create(testbed, pod("after", 1, nodeSelector={"kubernetes.io/hostname": node}))
    eventually(lambda: phase(testbed, "after") == "Running", "a Pod runs after the restart")
    testbed.kubectl("delete", "pod", "after", "--timeout=60s")


def test_kube_scheduler_runs_with_a_configuration_of_the_callers(testbed: Testbed, node: str) -> None:
    testbed.stop_scheduler()
    create(testbed, pod("special", 1, nodeSelector={"kubernetes.io/hostname": node}, schedulerName="packing"))
    testbed.start_scheduler(
        """
        clientConnection: {qps: 5000, burst: 10000}
        profiles:
        - schedulerName: packing
          pluginConfig:
          - name: NodeResourcesFit
            args:
              scoringStrategy: {type: MostAllocated, resources: [{name: nvidia.com/gpu, weight: 1}]}
        """
    )
    eventually(lambda: phase(testbed, "special") == "Running", "the profile's Pod runs")
    testbed.kubectl("delete", "pod", "special", "--timeout=60s")
    testbed.stop_scheduler()
    testbed.start_scheduler()


def test_two_run_side_by_side_and_leave_nothing() -> None:
    async def both() -> list[Testbed]:
        first = Testbed(scheduler=False, kwok=False, progress=QUIET, feature_gates={"GenericWorkload": True})
        second = Testbed(scheduler=False, kwok=False, progress=QUIET)
        async with first, second:
            assert first.server != second.server
            first.add_nodes({"2xT4": 1})
            assert second.kubectl("get", "nodes", "-o", "name") == ""
        return [first, second]

    for ended in asyncio.run(both()):
        assert processes_of(ended.state_dir) == []
        assert not ended.state_dir.exists()
        assert not any(listens(port) for port in ended.ports.values())


def test_the_audit_log_says_who_wrote_what(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with Testbed(scheduler=False, kwok=False, progress=QUIET, audit_log=log) as testbed:
        testbed.add_nodes({"2xT4": 1})
        creations = [
            event["objectRef"]["name"]
            for event in map(json.loads, log.read_text().splitlines())
            if event["verb"] == "create"
            and event["objectRef"].get("resource") == "nodes"
            and event["user"]["username"] == "admin"
        ]
    assert creations == ["2xt4-0"]


def test_the_audit_log_is_of_the_users_that_are_named(tmp_path: Path) -> None:
    """And of who has no valid token, of whom it cannot be told."""
    log = tmp_path / "audit.jsonl"
    with Testbed(
        scheduler=False, kwok=False, progress=QUIET, audit_log=log, audited_users=[NOS_USER], users={"other": ()}
    ) as testbed:
        port, ca_file = testbed.ports["kube-apiserver"], testbed.ca_file
        for token in (testbed.tokens[NOS_USER], testbed.tokens["other"], testbed.token, "wrong"):
            api = Api(port, token, ca_file)
            api.request("GET", "/api/v1/secrets")
            api.close()
        found = [
            (event["user"].get("username"), event["requestURI"], event["responseStatus"]["code"])
            for event in map(json.loads, log.read_text().splitlines())
        ]
    assert found == [(NOS_USER, "/api/v1/secrets", 403), (None, "/api/v1/secrets", 401)]


def written(layout: Layout) -> state.State:
    return state.read(layout) or state.State(state.Process(0, 0, ""))


# What is on disk, or in state.json, when a start has come that far.
MOMENTS: dict[str, Callable[[Layout], bool]] = {
    "supervisor": lambda layout: layout.lock.exists(),
    "tokens": lambda layout: layout.tokens.exists(),
    "etcd": lambda layout: layout.etcd.exists(),
    "certificate": lambda layout: layout.apiserver_certificate.exists(),
    "kubeconfig": lambda layout: layout.kubeconfig.exists(),
    "components": lambda layout: "kube-scheduler" in written(layout).processes,
    "ready": lambda layout: written(layout).ready,
}
IN_PROCESS = "import sys, signal, pathlib, nos.testbed as t; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
IN_PROCESS += "with t.Testbed(pathlib.Path(sys.argv[1])): signal.pause()"


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_no_process_and_no_port(tmp_path: Path, moment: str) -> None:
    check_interrupted(tmp_path / "t", [sys.executable, "-c", IN_PROCESS, str(tmp_path / "t")], moment, signal.SIGINT)


IN_EVENT_LOOP = """
import asyncio, pathlib, sys, nos.testbed as t
async def main():
    async with t.Testbed(pathlib.Path(sys.argv[1])):
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["supervisor", "certificate", "ready"])
def test_ctrl_c_in_an_event_loop(tmp_path: Path, moment: str) -> None:
    check_interrupted(tmp_path / "t", [sys.executable, "-c", IN_EVENT_LOOP, str(tmp_path / "t")], moment, signal.SIGINT)


@pytest.mark.parametrize("moment", ["etcd", "components"])
def test_ctrl_c_in_nos_testbed_up(tmp_path: Path, moment: str) -> None:
    command = [
        sys.executable,
        "-m",
        "nos.cli.testbed",
        "up",
        "--state-dir",
        str(tmp_path / "t"),
        "--nodes",
        "8xH100=99",
    ]
    assert check_interrupted(tmp_path / "t", command, moment, signal.SIGINT) == 130


@pytest.mark.parametrize("moment", ["certificate", "ready"])
def test_kill_9_leaves_no_process_and_no_port(tmp_path: Path, moment: str) -> None:
    check_interrupted(tmp_path / "t", [sys.executable, "-c", IN_PROCESS, str(tmp_path / "t")], moment, signal.SIGKILL)


def check_interrupted(directory: Path, command: list[str], moment: str, number: int) -> int:
    layout = Layout(directory)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        eventually(lambda: MOMENTS[moment](layout), f"the start comes to {moment}")
        found = state.read(layout)
        assert found is None or processes_of(directory)
        process.send_signal(number)
        code = process.wait(60)
    if number == signal.SIGKILL:
        eventually(lambda: not directory.exists(), "the supervisor cleaned up")
    assert not directory.exists()
    eventually(lambda: not processes_of(directory), "no process is left")
    assert not any(listens(port) for port in (found.ports.values() if found else ()))
    return code


def test_up_status_down(tmp_path: Path) -> None:
    directory = tmp_path / "t"

    def nos(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nos.cli.testbed", *arguments, "--state-dir", str(directory)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert nos("status").returncode == 1
    up = nos("up", "--nodes", "8xH100=2,cpu=1")
    assert up.returncode == 0, up.stderr
    assert f"export KUBECONFIG={directory}/kubeconfig" in up.stdout
    first = state.read(Layout(directory))

    again = nos("up", "--nodes", "8xH100=3")  # one more
    assert (again.returncode, "was up already" in again.stdout) == (0, True)
    assert state.read(Layout(directory)) == first

    status = nos("status", "-o", "json")
    assert status.returncode == 0, status.stdout
    shown = json.loads(status.stdout)
    assert (shown["healthy"], shown["nodes"], shown["nodes_ready"]) == (True, 4, 4)
    assert {component["name"] for component in shown["components"]} == COMPONENTS

    # One that died is seen, and makes the status an error.
    (kwok,) = [component["pid"] for component in shown["components"] if component["name"] == "kwok"]
    os.kill(kwok, signal.SIGKILL)
    eventually(lambda: nos("status").returncode == 1, "the status is an error")

    assert nos("down").returncode == 0
    assert not directory.exists()
    assert processes_of(directory) == []
    assert nos("down").returncode == 0


def test_up_after_a_crash_of_everything(tmp_path: Path) -> None:
    """As after a power cut: the files are there, the processes are not."""
    directory = tmp_path / "t"
    with Testbed(directory, scheduler=False, kwok=False, progress=QUIET) as crashed:
        found = state.read(crashed.layout)
        assert found
        found.supervisor.signal(signal.SIGKILL)
        eventually(lambda: not processes_of(directory), "the kernel killed the rest")
    assert directory.exists()
    assert not state.running(crashed.layout)
    with Testbed(directory, scheduler=False, kwok=False, progress=QUIET) as testbed:
        assert isinstance(testbed.api, Api)
        assert testbed.kubectl("get", "nodes", "-o", "name") == ""
    assert not directory.exists()
