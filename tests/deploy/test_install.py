"""The chart on a real API server: installed, upgraded, taken back, taken away. kwok runs its Pods, which means that it
says so; the controller runs beside, as the account that the chart makes."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from nos.agent import front
from nos.kube.gpunode import GPU_NODES
from nos.observe import health
from nos.testbed import Testbed, binaries
from nos.testbed.api import Api
from nos.testbed.credentials import write_kubeconfig
from nos.testbed.progress import Progress
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.test_secure_metrics import get, metrics_of
from tests.deploy import rights, written
from tests.deploy.helm import CHART, DEPLOY, NAMESPACE, HelmError, helm, objects

pytestmark = pytest.mark.cluster
APART = {"gpuPartitioner": {"migAgent": {"namespace": "nos-agents"}}}
EVERYTHING: dict[str, Any] = {
    "dashboard": {"enabled": True, "tlsSecretName": "tls"},
    "monitoring": {"serviceMonitors": True, "rules": True, "dashboards": True},
    "networkPolicy": {"enabled": True},
}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GPUNODE_KIND = f"{CRDS}/gpunodes.nos.nebuly.com"
QUOTAS = "/apis/nos.nebuly.com/v1alpha1/namespaces/default/elasticquotas"
KIND = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "ElasticQuota"}
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd"


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the API server says who asked for what."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def bare(audit: Path) -> Iterator[Testbed]:
    """A control plane without anything of nos: a node for the controller, and two with GPUs, of which nos cuts one."""
    with Testbed(audit_log=audit, progress=Progress(quiet=True)) as testbed:
        testbed.add_nodes({"1xT4": 1}, taint=False)
        testbed.add_nodes({"8xH100": 1}, labels={"nos.nebuly.com/gpu-partitioning": "mig"})
        testbed.add_nodes({"8xH100": 1})
        for kind in ("servicemonitors", "prometheusrules"):
            (folder,) = binaries.ensure_folders(OPERATOR[0], [OPERATOR[1]])
            file = folder / f"monitoring.coreos.com_{kind}.yaml"
            testbed.kubectl("create", "-f", str(file))
        yield testbed


class Release:
    """Helm, with the cluster and the namespace as administrators have them."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self._where = ("--kubeconfig", testbed.kubeconfig, "--namespace", NAMESPACE)

    def helm(self, *arguments: str | Path, values: dict[str, Any] | None = None) -> str:
        return helm(*arguments, *self._where, values=values)

    def install(self, values: dict[str, Any], *more: str) -> None:
        self.helm("install", "nos", CHART, "--wait", "--timeout=60s", *more, values=values)

    def uninstall(self) -> str:
        return self.helm("uninstall", "nos", "--wait", "--timeout=60s")

    def fields(self) -> set[str]:
        """Of a GPUNode's status, as the API server knows them."""
        (version,) = self.testbed.api.get(GPUNODE_KIND)["spec"]["versions"]
        return set(version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"])


@pytest.fixture
def release(bare: Testbed) -> Iterator[Release]:
    """The controller's namespace, restricted; nothing of nos before, and nothing after."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    bare.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
    release = Release(bare)
    yield release
    if json.loads(release.helm("list", "--output", "json")):
        release.uninstall()
    kinds = [f"{CRDS}/{kind}.nos.nebuly.com" for kind in written_kinds()]
    for kind in kinds:
        bare.api.request("DELETE", kind)
    for kind in kinds:
        eventually(lambda kind=kind: bare.api.request("GET", kind)[0] == 404, why=f"{kind} is gone")


def changed_chart(folder: Path) -> Path:
    """A later version, whose GPUNodes have one field more."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart)  # what is linked is copied
    file = chart / "kinds" / "gpunodes.yaml"
    kind = yaml.safe_load(file.read_text())
    status = kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    status["properties"]["later"] = {"type": "string"}
    file.write_text(yaml.safe_dump(kind))
    return chart


def gone(testbed: Testbed, manifest: str) -> list[str]:
    """Objects of a manifest that are still there."""
    found = testbed.kubectl("get", "--ignore-not-found", "--output=name", "-f", "-", stdin=manifest)
    return found.split()


def test_a_release_from_its_installation_to_its_end(release: Release, tmp_path: Path) -> None:
    """Each of Helm's commands waits until all Pods are there: so `restricted` takes the controller's."""
    testbed, api = release.testbed, release.testbed.api
    release.install(APART)
    pods = api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    assert len(pods) == 2
    agents = api.get("/api/v1/namespaces/nos-agents/pods")["items"]
    (cut,) = [
        node["metadata"]["name"]
        for node in api.get("/api/v1/nodes")["items"]
        if "nos.nebuly.com/gpu-partitioning" in node["metadata"]["labels"]
    ]
    assert [agent["spec"]["nodeName"] for agent in agents] == [cut]

    api.create(QUOTAS, KIND | {"metadata": {"name": "team"}, "spec": {"min": {"cpu": 1}}})
    api.create(GPU_NODES, KIND | {"kind": "GPUNode", "metadata": {"name": cut}})
    users = [f"{QUOTAS}/team", f"{GPU_NODES}/{cut}"]
    written_by_users = [api.get(path)["metadata"]["uid"] for path in users]
    before = release.fields()

    settings = {"scheduler": {"config": {"score": "fgd"}}}
    release.helm("upgrade", "nos", changed_chart(tmp_path), "--wait", "--timeout=60s", values=APART | settings)
    assert release.fields() == before | {"later"}
    config = api.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/nos-scheduler")["data"]["config.yaml"]
    assert yaml.safe_load(config)["score"] == "fgd"
    there = [pod["metadata"] for pod in api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]]
    newer = {metadata["uid"] for metadata in there if "deletionTimestamp" not in metadata}
    assert not newer & {pod["metadata"]["uid"] for pod in pods}  # they read the settings when they start

    release.helm("rollback", "nos", "1", "--wait", "--timeout=60s")
    assert release.fields() == before

    manifest = release.helm("get", "manifest", "nos")
    kinds = sorted(f"customresourcedefinition.apiextensions.k8s.io/{kind}.nos.nebuly.com" for kind in written_kinds())
    nodes = [(node["metadata"]["labels"], node["spec"].get("taints")) for node in api.get("/api/v1/nodes")["items"]]
    release.uninstall()
    eventually(lambda: sorted(gone(testbed, manifest)) == kinds, why="only the kinds are left")
    assert [api.get(path)["metadata"]["uid"] for path in users] == written_by_users
    assert not any("finalizers" in api.get(path)["metadata"] for path in users)
    after = [(node["metadata"]["labels"], node["spec"].get("taints")) for node in api.get("/api/v1/nodes")["items"]]
    assert after == nodes

    release.install(APART)  # again, over the kinds that were kept
    assert [api.get(path)["metadata"]["uid"] for path in users] == written_by_users


def written_kinds() -> list[str]:
    return [file.stem for file in DEPLOY.glob("crds/*.yaml")]


def test_kinds_that_are_there_are_taken_over_when_helm_is_told_to(release: Release) -> None:
    """From the old nos, whose chart had them in crds/, or from kubectl."""
    testbed = release.testbed
    testbed.kubectl("apply", "-f", str(DEPLOY / "crds"))
    testbed.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(DEPLOY / "crds"))
    testbed.api.create(QUOTAS, KIND | {"metadata": {"name": "team"}, "spec": {"min": {"cpu": 1}}})
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        release.install({})
    release.install({"gpuPartitioner": {"enabled": False}}, "--take-ownership")
    assert testbed.api.get(f"{QUOTAS}/team")["spec"] == {"min": {"cpu": 1}}


def test_restricted_takes_who_leaves_the_user_to_the_platform(release: Release) -> None:
    """As it is installed on OpenShift, and upgraded."""

    def asked() -> list[dict[str, Any]]:
        pods = release.testbed.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
        return [pod["spec"]["securityContext"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    release.install(APART, "--set", "runAsUser=null")
    given = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert asked() == [given, given]
    release.helm(
        "upgrade", "nos", CHART, "--wait", "--timeout=60s", "--reuse-values", "--set", "scheduler.replicaCount=3"
    )
    assert asked() == [given, given, given]


def test_the_api_server_knows_every_field(release: Release) -> None:
    strictly = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    for values in (EVERYTHING, *written.RENDERINGS):
        found = objects(values)
        told = release.testbed.kubectl(*strictly, stdin=yaml.safe_dump_all(found)).splitlines()
        assert len(told) == len(found)


def test_the_account_of_the_chart_is_enough_for_the_controller(release: Release, audit: Path, tmp_path: Path) -> None:
    """It leads, and finds the Pod of `helm test` a node; the API server refused it nothing."""
    testbed = release.testbed
    release.install(APART)
    kubeconfig, token = tmp_path / "kubeconfig", token_of(testbed, NAMESPACE, "nos-scheduler")
    write_kubeconfig(kubeconfig, server=testbed.server, ca_file=testbed.ca_file, user="controller", token=token)
    (config,) = [each for each in objects(APART) if each["kind"] == "ConfigMap"]
    settings = yaml.safe_load(config["data"]["config.yaml"])
    assert settings["metrics"] == {"address": "0.0.0.0:10259"}
    settings |= {"healthAddress": "127.0.0.1:0", "metrics": {"address": "127.0.0.1:0"}}
    with Controller(kubeconfig, tmp_path, **settings) as controller, ThreadPoolExecutor(1) as pool:
        eventually(lambda: '"scheduling: ' in controller.said(), why="it schedules")
        read_metrics(testbed, metrics_of(controller))
        tested = pool.submit(release.helm, "test", "nos", "--timeout=60s")
        pod = f"/api/v1/namespaces/{NAMESPACE}/pods/nos-test"
        eventually(lambda: tested.done() or runs(testbed, pod), why="the Pod of the test has a node, and runs there")
        if not tested.done():
            end(testbed, pod)
        assert "Phase:          Succeeded" in tested.result()
        cluster = Cluster(testbed)
        cluster.pod("gpus", 8)
        decided = cluster.bound("gpus")["metadata"]["annotations"]["nos.nebuly.com/gpus"]
        assert sorted(decided.split(",")) == [str(gpu) for gpu in range(8)]
        cluster.delete("gpus")
    asked = [entry for entry in map(json.loads, audit.read_text().splitlines()) if is_of(entry, "nos-scheduler")]
    assert {"pods", "leases", "events"} <= {entry["objectRef"]["resource"] for entry in asked if "objectRef" in entry}
    assert [entry["requestURI"] for entry in asked if entry["responseStatus"]["code"] in (401, 403)] == []


def test_the_account_of_the_chart_is_enough_for_the_fronts(release: Release, tmp_path: Path) -> None:
    testbed = release.testbed
    release.install(APART)
    kubeconfig, token = tmp_path / "kubeconfig", token_of(testbed, "nos-agents", "nos-agent")
    write_kubeconfig(kubeconfig, server=testbed.server, ca_file=testbed.ca_file, user="front", token=token)
    agent = f"unix:{tmp_path / 'agent.sock'}"

    async def scrape(_: str) -> tuple[bytes, str]:
        return b"nos_lease_held 1.0\n", "text/plain"

    async def play() -> None:
        settings = front.Settings(agent, "127.0.0.1:0", "127.0.0.1:0", kubeconfig=str(kubeconfig))
        async with health.serve(agent, lambda: "", scrape), front.serving(settings) as served:
            await asyncio.to_thread(read_metrics, testbed, f"https://{served.metrics}/metrics")
            assert (await asyncio.to_thread(get, f"http://{served.health}/metrics"))[0] == 404

    asyncio.run(play())


def read_metrics(testbed: Testbed, url: str) -> None:
    """As Prometheus does, with an account of its own before and after it is bound to the chart's role."""
    assert get(url)[0] == 401
    user = "system:serviceaccount:default:prometheus"
    testbed.kubectl("create", "serviceaccount", "prometheus")
    for name, status in (("before", 403), ("after", 200)):
        if name == "after":
            whose = ("--clusterrole=nos-metrics-reader", "--serviceaccount=default:prometheus")
            testbed.kubectl("create", "clusterrolebinding", "prometheus", *whose)
            eventually(lambda: rights.may_get(testbed.api, user, "/metrics"), why="the binding is in force")
        token = token_of(testbed, "default", "prometheus")  # another each time: what was said of one holds
        assert get(url, token)[0] == status, name
    testbed.kubectl("delete", "clusterrolebinding/prometheus", "serviceaccount/prometheus")
    eventually(lambda: not rights.may_get(testbed.api, user, "/metrics"), why="the binding is not in force any more")


def is_of(entry: dict[str, Any], account: str) -> bool:
    return bool(entry["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:{account}")


def runs(testbed: Testbed, path: str) -> bool:
    """Whether kwok has said so, as it does once, a moment after the Pod got a node."""
    status, answer = testbed.api.request("GET", path)
    return status == 200 and json.loads(answer)["status"].get("phase") == "Running"


def end(testbed: Testbed, path: str) -> None:
    """As the kubelet does when the container has ended with 0."""
    testbed.api.merge(f"{path}/status", {"status": {"phase": "Succeeded"}})


def token_of(testbed: Testbed, namespace: str, account: str) -> str:
    """A token of an account of the chart, that no Pod has."""
    status, answer = testbed.api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", {})
    assert status == 201, answer
    token: str = json.loads(answer)["status"]["token"]
    return token


def served_by(testbed: Testbed, token: str, path: str) -> str:
    """The FlowSchema by which the API server serves a request."""
    request = urllib.request.Request(testbed.server + path, headers={"Authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=str(testbed.ca_file))
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            uid = answer.headers["X-Kubernetes-PF-FlowSchema-UID"]
    except urllib.error.HTTPError as error:  # of what is not there
        with error:
            uid = error.headers["X-Kubernetes-PF-FlowSchema-UID"]
    schemas = testbed.api.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas")["items"]
    (name,) = [schema["metadata"]["name"] for schema in schemas if schema["metadata"]["uid"] == uid]
    return str(name)


def test_the_policies_and_flow_schemas_mean_the_accounts_of_the_release(release: Release) -> None:
    testbed = release.testbed
    release.install(APART)
    controller, agent = token_of(testbed, NAMESPACE, "nos-scheduler"), token_of(testbed, "nos-agents", "nos-agent")
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/nos-scheduler"
    eventually(lambda: served_by(testbed, controller, "/api/v1/nodes") == "nos-scheduler")
    eventually(lambda: served_by(testbed, controller, lease) == "nos-scheduler-lease")
    assert served_by(testbed, agent, f"{GPU_NODES}/any") == "service-accounts"

    api = Api(testbed.ports["kube-apiserver"], agent, testbed.ca_file)
    gpu_node = {"apiVersion": KIND["apiVersion"], "kind": "GPUNode", "metadata": {"name": "any"}}

    def refused() -> bool:
        status, answer = api.request("POST", f"{GPU_NODES}?dryRun=All", gpu_node)
        return status == 422 and "the agent's token is not bound to a Pod on a node" in answer.decode()

    eventually(refused, why="the policy is in force")
    api.close()


def test_make_deploy(release: Release) -> None:
    """Kustomize's way, and again over itself."""
    testbed = release.testbed
    kubectl = f"{binaries.ensure(('kubectl',))['kubectl']} --kubeconfig={testbed.kubeconfig}"
    command = ["make", "deploy", f"KUBECTL={kubectl}", "OVERLAY=overlays/agents-apart"]
    for _ in range(2):
        done = subprocess.run(command, cwd=DEPLOY.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for what, namespace in (("deployment/nos-scheduler", NAMESPACE), ("daemonset/nos-agent", "nos-agents")):
        testbed.kubectl("rollout", "status", what, "--namespace", namespace, "--timeout=60s")
    testbed.kubectl("delete", "--wait", "-k", str(DEPLOY / "kustomize" / "overlays" / "agents-apart"))
