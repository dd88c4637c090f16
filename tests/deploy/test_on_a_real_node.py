"""The image on a real kubelet: what Helm and Kustomize install there are real containers under their real accounts, the
controller's in a namespace that is `restricted`. They place Pods and cut GPUs for them; the driver alone is simulated.

What a Pod got is read from its environment, what is on the GPUs from the driver's own books, how often a Pod was bound
from the API server's audit log, what a process may from the kernel: none of it by way of nos.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import nos
from nos.testbed import Testbed, binaries
from nos.testbed.nvml_sim import NvmlSim, installed_library
from nos.testbed.progress import Progress
from tests.controller.test_secure_metrics import get
from tests.deploy.buildah import IMAGE, Buildah
from tests.deploy.helm import CHART, DEPLOY, NAMESPACE
from tests.deploy.test_install import Release, read_metrics
from tests.e2e.mig_node import GPU_NODES, GpuNode, eventually
from tests.real_node import require_real_node

pytestmark = pytest.mark.cluster
AGENTS = "nos-agents"
PUBLISHED = f"ghcr.io/nebuly-ai/nos:{nos.__version__}"  # by which chart and Kustomize ask for it
GPUS = 6  # of seven slices of 1g.5gb each
ARRIVALS = 14  # Pods that come during one of Helm's commands: two times, and two more, are fewer than 6 * 7
PAUSE_S = 0.7  # between them
PATIENTLY = ("--wait", "--timeout=120s")  # until all Pods are ready
Told = Callable[[], list[Any]]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the API server says who asked for what."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def cluster(buildah: Buildah, audit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuNode]:
    """A control plane without anything of nos, and a node that has the image, a driver, and the label for the agent."""
    require_real_node()
    archive = tmp_path_factory.mktemp("image") / "nos.tar"
    buildah("push", "--quiet", IMAGE, f"docker-archive:{archive}:{PUBLISHED}")
    with Testbed(kwok=False, audit_log=audit, progress=Progress(quiet=True)) as testbed:
        node = testbed.add_real_node(labels={"nos.nebuly.com/gpu-partitioning": "mig"})
        node.import_image(archive)
        archive.unlink()
        folder = node.directory / "driver"
        folder.mkdir()
        shutil.copy(installed_library(), folder)
        yield GpuNode(testbed, NvmlSim(folder / "machine", ["a100-40gb"] * GPUS))


@pytest.fixture
def node(cluster: GpuNode) -> Iterator[GpuNode]:
    """Without Pods, before and after."""
    yield cluster
    cluster.testbed.kubectl("delete", "pods", "--all", "--timeout=60s")


@pytest.fixture
def release(node: GpuNode) -> Iterator[Release]:
    """The controller's namespace, restricted; nothing of nos afterwards but the kinds."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    node.testbed.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
    release = Release(node.testbed)
    yield release
    print(said(node))  # which shows where the test failed
    if json.loads(release.helm("list", "--output", "json")):
        release.uninstall()
    node.testbed.kubectl("delete", "namespace", NAMESPACE, "--wait")


@pytest.fixture
def told(audit: Path) -> Told:
    """Of what the API server was asked since the test began."""
    begin = audit.stat().st_size

    def read() -> list[Any]:
        with audit.open() as file:
            file.seek(begin)
            return [json.loads(line) for line in file]

    return read


def driver(node: GpuNode) -> dict[str, Any]:
    """What the agent's container needs, as no runtime of NVIDIA's brings it: by the names of the chart's values."""
    folder = str(node.sim.path.parent)
    return {
        "env": [{"name": "LD_LIBRARY_PATH", "value": "/driver"}, {"name": "NOS_NVML_SIM", "value": "/driver/machine"}],
        "volumes": [{"name": "driver", "hostPath": {"path": folder, "type": "Directory"}}],
        "volumeMounts": [{"name": "driver", "mountPath": "/driver"}],
    }


def said(node: GpuNode) -> str:
    """By the containers of nos."""
    return "\n".join(
        f"{pod['metadata']['name']}, {container['name']}:\n"
        + node.node.logs(pod["metadata"]["name"], container["name"], pod["metadata"]["namespace"])[-4000:]
        for pod in of_nos(node)
        for container in pod["spec"]["containers"]
    )


def of_nos(node: GpuNode) -> list[Any]:
    """Its Pods."""
    api = node.testbed.api
    return [pod for name in (NAMESPACE, AGENTS) for pod in api.get(f"/api/v1/namespaces/{name}/pods")["items"]]


def of_component(node: GpuNode, component: str) -> list[Any]:
    return [pod for pod in of_nos(node) if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component]


def runs_of(pods: list[Any]) -> dict[tuple[str, str], tuple[str, int]]:
    """Which run of each container it is, and the how many-th."""
    return {
        (pod["metadata"]["name"], status["name"]): (status["containerID"], status["restartCount"])
        for pod in pods
        for status in pod["status"]["containerStatuses"]
    }


def container_id(pod: Any, name: str) -> str:
    (found,) = (each["containerID"] for each in pod["status"]["containerStatuses"] if each["name"] == name)
    return str(found.removeprefix("containerd://"))


def kernel_says(container: str) -> dict[str, str]:
    """Of the process that a container has, by what /proc calls it."""
    (process,) = (path.parent for path in Path("/proc").glob("[0-9]*/cgroup") if container in text_of(path))
    return dict(re.findall(r"^(\w+):\s*(.*)$", text_of(process / "status"), re.MULTILINE))


def text_of(file: Path) -> str:
    """Of a process; empty where it has ended."""
    try:
        return file.read_text()
    except OSError:
        return ""


def slice_of(profile: str) -> dict[str, int]:
    return {f"nvidia.com/mig-{profile}": 1}


def has_what_was_planned(node: GpuNode, *names: str) -> None:
    """Each Pod runs, was bound once, has one slice that no other Pod has, and the driver has it where nos said."""
    node.runs(*names, within=60)
    devices = {name: node.devices(name) for name in names}
    assert all(len(given) == 1 for given in devices.values()), devices
    assert len({given[0] for given in devices.values()}) == len(names), devices
    # Of Pods that come together it is the kubelet who gives each one of several equal slices.
    planned = sorted(place for name in names for place in node.planned(name))
    assert sorted(node.place_of(given[0]) for given in devices.values()) == planned
    eventually(lambda: node.holders() == {given[0]: name for name, given in devices.items()}, "the report has all")


def arriving(node: GpuNode, names: Iterator[str], work: Callable[[], object]) -> list[str]:
    """Works while Pods come, one after another; those that came."""
    came: list[str] = []
    with futures.ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        while not working.done() and len(came) < ARRIVALS:
            came.append(next(names))
            node.create(came[-1], limits=slice_of("1g.5gb"))
            futures.wait([working], PAUSE_S)
        working.result()
    return came


def test_a_release_from_its_installation_to_its_end(
    node: GpuNode, release: Release, told: Told, tmp_path: Path
) -> None:
    api = node.testbed.api
    before = api.get(f"/api/v1/nodes/{node.node.name}")
    values: dict[str, Any] = {"gpuPartitioner": {"migAgent": {"namespace": AGENTS, **driver(node)}}}
    release.helm("install", "nos", CHART, *PATIENTLY, values=values)
    assert len(of_component(node, "controller")) == 2
    assert len(of_component(node, "agent")) == 1

    node.create("first", limits=slice_of("3g.20gb"))
    has_what_was_planned(node, "first")
    assert "Phase:          Succeeded" in release.helm("test", "nos", "--timeout=120s")
    they_may_little(node)
    they_tell_who_may_ask(node)

    # Everything is replaced, twice, while Pods come.
    old = {pod["metadata"]["uid"] for pod in of_nos(node)}
    certificate = signed(node, tmp_path)
    values |= {"scheduler": {"config": {"score": "fgd"}}, "metrics": {"tlsSecretName": "metrics-tls"}}
    values["gpuPartitioner"]["migAgent"]["podAnnotations"] = {"changed": "yes"}
    names = (f"pod-{number}" for number in itertools.count())
    came = arriving(node, names, partial(release.helm, "upgrade", "nos", CHART, *PATIENTLY, values=values))
    eventually(lambda: not old & {pod["metadata"]["uid"] for pod in of_nos(node)}, "the old Pods are gone")
    assert {ssl.get_server_certificate(address) for address in metrics_of(node)} == {certificate}
    came += arriving(node, names, partial(release.helm, "rollback", "nos", "1", *PATIENTLY))
    has_what_was_planned(node, "first", *came)
    assert {count for _, count in runs_of(of_nos(node)).values()} == {0}

    entries = told()
    nothing_was_refused(entries)
    bound = Counter(name for entry in entries if (name := bound_by(entry)))
    assert bound == dict.fromkeys(["first", "nos-test", *came], 1)

    settled = runs_of(node.pods())
    assert {count for _, count in settled.values()} == {0}
    assert len(settled) == 1 + len(came)
    report = api.get(f"{GPU_NODES}/{node.node.name}")
    release.uninstall()
    eventually(lambda: not of_nos(node), "its Pods are gone")
    after = api.get(f"/api/v1/nodes/{node.node.name}")
    for part in ("labels", "finalizers", "annotations"):
        assert after["metadata"].get(part) == before["metadata"].get(part), part
    assert after["spec"] == before["spec"]
    assert runs_of(node.pods()) == settled
    assert {pod["status"]["phase"] for pod in node.pods()} == {"Running"}
    kept = api.get(f"{GPU_NODES}/{node.node.name}")  # with its kind
    assert kept["metadata"]["uid"] == report["metadata"]["uid"]
    for each in (kept, *node.pods()):
        assert "finalizers" not in each["metadata"], each["metadata"]["name"]


def nothing_was_refused(entries: list[Any]) -> None:
    """To the accounts that chart and Kustomize make, and they did ask."""
    accounts = {f"system:serviceaccount:{NAMESPACE}:nos-scheduler", f"system:serviceaccount:{AGENTS}:nos-agent"}
    asked = [entry for entry in entries if entry["user"]["username"] in accounts]
    assert {entry["user"]["username"] for entry in asked} == accounts
    assert [entry["requestURI"] for entry in asked if entry["responseStatus"]["code"] in (401, 403)] == []


def bound_by(entry: dict[str, Any]) -> str:
    """The Pod that nos has bound in this entry of the audit log; empty where it is about something else."""
    what = entry.get("objectRef", {})
    is_binding = (what.get("resource"), what.get("subresource"), entry["verb"]) == ("pods", "binding", "create")
    by_nos = entry["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:nos-scheduler"
    return str(what["name"]) if is_binding and by_nos and entry["responseStatus"]["code"] == 201 else ""


def they_may_little(node: GpuNode) -> None:
    """The controller and the agent's front are nobody, and may nothing that root may."""
    (agent,) = of_component(node, "agent")
    fronts = [container_id(agent, "front")]
    for container in [*fronts, *(container_id(pod, "controller") for pod in of_component(node, "controller"))]:
        status = kernel_says(container)
        assert status["Uid"].split() == ["65532"] * 4
        assert status["Gid"].split() == ["65532"] * 4
        sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        assert {name: int(status[name], 16) for name in sets} == dict.fromkeys(sets, 0)
        assert status["NoNewPrivs"] == "1"
    assert kernel_says(container_id(agent, "agent"))["Uid"].split() == ["0"] * 4


def metrics_of(node: GpuNode) -> list[tuple[str, int]]:
    """Where they are: of two controllers, and one agent's front."""
    ports = {"controller": 10259, "agent": 10271}
    found = [(pod["status"]["podIP"], ports[name]) for name in ports for pod in of_component(node, name)]
    assert len(found) == 3
    return found


def they_tell_who_may_ask(node: GpuNode) -> None:
    """Metrics, over TLS, of each container that has them."""
    for host, port in metrics_of(node):
        read_metrics(node.testbed, f"https://{host}:{port}/metrics")
    (agent,) = of_component(node, "agent")
    assert get(f"http://{agent['status']['podIP']}:10270/metrics")[0] == 404


def signed(node: GpuNode, folder: Path) -> str:
    """A certificate, in the Secret metrics-tls of both namespaces."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    make += ["-subj", "/CN=metrics", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    files = f"--cert={certificate}", f"--key={key}"
    for namespace in (NAMESPACE, AGENTS):
        node.testbed.kubectl("create", "secret", "tls", "metrics-tls", *files, "--namespace", namespace)
    return certificate.read_text()


def test_make_deploy(node: GpuNode, told: Told, tmp_path: Path) -> None:
    """Kustomize's way, with an overlay for the driver over ours."""
    here = os.path.relpath(DEPLOY / "kustomize" / "overlays" / "agents-apart", tmp_path)
    parts = driver(node)
    container = "/spec/template/spec/containers/0"
    patch = [{"op": "add", "path": f"{container}/env/-", "value": each} for each in parts["env"]]
    patch += [{"op": "add", "path": f"{container}/volumeMounts/-", "value": each} for each in parts["volumeMounts"]]
    patch += [{"op": "add", "path": "/spec/template/spec/volumes/-", "value": each} for each in parts["volumes"]]
    target = {"kind": "DaemonSet", "name": "nos-agent"}
    overlay = {"resources": [here], "patches": [{"target": target, "patch": yaml.safe_dump(patch)}]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    testbed = node.testbed
    kubectl = f"{binaries.ensure(('kubectl',))['kubectl']} --kubeconfig={testbed.kubeconfig}"
    where = os.path.relpath(tmp_path, DEPLOY / "kustomize")
    command = ["make", "deploy", f"KUBECTL={kubectl}", f"OVERLAY={where}"]
    done = subprocess.run(command, cwd=DEPLOY.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    try:
        for what, namespace in (("deployment/nos-scheduler", NAMESPACE), ("daemonset/nos-agent", AGENTS)):
            testbed.kubectl("rollout", "status", what, "--namespace", namespace, "--timeout=120s")
        node.create("first", limits=slice_of("2g.10gb"))
        has_what_was_planned(node, "first")
        assert {count for _, count in runs_of(of_nos(node)).values()} == {0}
        nothing_was_refused(told())
    finally:
        print(said(node))
        testbed.kubectl("delete", "--wait", "-k", str(tmp_path))
