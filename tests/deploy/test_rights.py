"""The chart's roles give what nos needs, and no more: a controller and an agent live through all that they do, on a
real API server that writes down who asks it for what. Nothing is refused to them, and no right is left over."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from nos.agent import front
from nos.autoscaler.backend import Order
from nos.controller.events import Events, Kind, Told
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.gpunode import STARTUP_TAINT
from nos.testbed import Testbed, karpenter
from nos.testbed.credentials import write_kubeconfig
from nos.testbed.kueue import request_crd
from nos.testbed.nvml_sim import NvmlSim
from nos.testbed.progress import Progress
from nos.testbed.testbed import NOS_USER
from tests.agent.node import Node
from tests.autoscaler import cluster_api_rig, karpenter_rig
from tests.controller.cluster import NAMESPACE, Cluster, Controller, eventually
from tests.controller.scaling import test_provisioning_with_kueue as requests
from tests.controller.scaling.test_startup import new_node, taints
from tests.controller.teams import TEAMS, Teams
from tests.controller.test_cutting import mig_pod
from tests.controller.test_evictions import CLASSES, budget, gpus, pod, runs
from tests.controller.test_rejections import ANYWHERE, FULL, becomes, create_node
from tests.controller.test_secure_metrics import get, metrics_of
from tests.controller.volumes import SELECTED, Volumes, using
from tests.deploy import rights, written
from tests.deploy.helm import objects
from tests.refusals import Refusals

pytestmark = pytest.mark.cluster
Object = dict[str, Any]
OURS, AGENTS = "nos-system", "nos-agents"  # where the testbed's nos user lives; the agents apart
AGENT = f"system:serviceaccount:{AGENTS}:nos-agent"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
# All that may be switched on.
VALUES: Object = {
    "scheduler": {
        "replicaCount": 1,
        "config": {
            "scaling": {
                part: settings
                for values in written.RENDERINGS
                for part, settings in values.get("scheduler", {}).get("config", {}).get("scaling", {}).items()
            }
        },
    },
    "dashboard": {"enabled": True, "tlsSecretName": "tls"},
    "gpuPartitioner": {"migAgent": {"namespace": AGENTS}},
}
ROLES = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
INSTALLED = ("Namespace", "ServiceAccount", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", *ROLES)
CHART = [each for each in objects(VALUES, namespace=OURS) if each["kind"] in INSTALLED]
GIVEN = rights.given(CHART)
LEADER = {"leaderElection": {"namespace": OURS}}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    """What is refused in this file, apart from what the session's control planes refuse."""
    return Refusals(tmp_path_factory.mktemp("rights"))


@pytest.fixture(scope="module")
def log(refused: Refusals) -> Iterator[Path]:
    """Who asked for what in the life of a cluster with all of the chart. Its API server streams no lists, as that of
    old releases does not: so they are asked for."""
    log = refused.log("rights")
    gates, served = {"GenericWorkload": True, "WatchList": False}, {"scheduling.k8s.io/v1beta1": "true"}
    with Testbed(
        scheduler=False,
        progress=Progress(quiet=True),
        feature_gates=gates,
        runtime_config=served,
        audit_log=log,
        audited_users=[NOS_USER, AGENT],
    ) as testbed:
        install(testbed)
        with tempfile.TemporaryDirectory(prefix="nos-") as folder:  # short: sockets lie there
            try:
                live(testbed, Path(folder))
            except AssertionError as error:
                error.add_note("\n".join(("refused by then:", *refused.new())))
                raise
        yield log


def install(testbed: Testbed) -> None:
    """The chart's roles and accounts, in force, and all kinds that they name."""
    testbed.install_crds()
    testbed._serve([*karpenter.crds(), request_crd()])
    cluster_api_rig.serve(testbed, "v1beta2")
    for namespace in (OURS, AGENTS, *TEAMS):
        testbed.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    testbed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(CHART))
    eventually(lambda: rights.in_force(testbed.api, CHART), why="the roles are in force")


def live(testbed: Testbed, folder: Path) -> None:
    """Everything that nos does beside what it does always."""
    cluster = Cluster(testbed)
    metrics, dashboard = {"address": "127.0.0.1:0"}, {"address": "0.0.0.0:0", "allowInsecure": True}
    kubeconfig = testbed.kubeconfig_of()
    with Controller(kubeconfig, folder, metrics=metrics, dashboard=dashboard, **LEADER) as running:
        running.schedules()
        a_kubelet_rejects_a_pod(cluster)
        a_pod_goes_for_another_against_its_budget(cluster)
        quotas_are_counted(cluster)
        volumes_are_bound(cluster)
        asyncio.run(what_happens_again_is_counted(cluster))
        asyncio.run(a_new_node_is_cut(cluster, folder))
        who_may_look_does(cluster, running)
    nodes_come_and_go_by_cluster_api(cluster, folder)
    nodes_come_and_go_by_karpenter(testbed)


def a_kubelet_rejects_a_pod(cluster: Cluster) -> None:
    """And is asked why, and what room its node has."""
    create_node(cluster)
    cluster.pod("lost", **ANYWHERE)
    cluster.bound("lost")
    becomes(cluster, "lost", "Failed", reason="OutOfnvidia.com/gpu", message=FULL)
    eventually(lambda: [e for e in cluster.events("lost") if e["reason"] == "RejectedByKubelet"], why="it is told")
    cluster.clear()


def a_pod_goes_for_another_against_its_budget(cluster: Cluster) -> None:
    """It is not evicted, so it is deleted."""
    for name, value in (("low", 100), ("high", 1000)):
        cluster.api.create(CLASSES, {"metadata": {"name": name}, "value": value})
    gpus(cluster, 1)
    pod(cluster, "only", "low")
    runs(cluster, "only")
    budget(cluster, "only", "only", 1)
    pod(cluster, "urgent", "high")
    cluster.bound("urgent")
    cluster.clear()


def quotas_are_counted(cluster: Cluster) -> None:
    """Of one namespace and of several, and Pods are told whether they are within."""
    cluster.testbed.add_nodes({"1xH100": 1})
    teams = Teams(cluster)
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 1})
    teams.quota("ceq", "default", namespaces=["team-b"], min={"nvidia.com/gpu": 1})
    teams.pod("team-a", "train")
    eventually(lambda: teams.capacity("team-a", "train") == "in-quota", why="it is told")
    teams.quota("eq", "team-a", min={"nvidia.com/gpu": 0})
    eventually(lambda: teams.capacity("team-a", "train") == "over-quota", why="it is told anew")
    eventually(lambda: teams.ready("eq", "team-a") and teams.ready("ceq", "default"), why="both say how they are")
    teams.clear()
    cluster.clear()


def volumes_are_bound(cluster: Cluster) -> None:
    """A disk that is there is given to its claim; for another the node is said on which to make it."""
    (node,) = cluster.testbed.add_nodes({"1xH100": 1})
    volumes = Volumes(cluster)
    volumes.local_class()
    volumes.local_volume("disk", node)
    volumes.claim("data")
    cluster.pod("train", gpus=0, **using("data"))
    cluster.bound("train")
    volumes.storage_class("made")
    volumes.csi_node(node)
    volumes.claim("later", "made")
    cluster.pod("waits", gpus=0, **using("later"))

    def node_is_said() -> bool:
        return volumes.get_claim("later")["metadata"].get("annotations", {}).get(SELECTED) == node

    eventually(node_is_said, why="its claim is told the node")
    cluster.clear()
    volumes.clear()


async def what_happens_again_is_counted(cluster: Cluster) -> None:
    """On the Event that is there; the controller waits 10 seconds for more of it, which are none here."""
    metadata = (await asyncio.to_thread(cluster.pod, "told", schedulingGates=[{"name": "nos.test/wait"}]))["metadata"]
    access = await asyncio.to_thread(Access.load, str(cluster.testbed.kubeconfig_of()))
    async with Client(access) as client:
        events = Events(client, "nos")
        for now in (0.0, 10.0):
            events.tell(
                Told(Kind.WAITS, datetime.now(UTC), NAMESPACE, "told", metadata["uid"], "no room", "Taint"), now
            )
            for later in (now + 10.0, now + 20.0):
                while due := events.due(later):
                    await due
        assert events.lost == 0
    await asyncio.to_thread(cluster.clear)


async def a_new_node_is_cut(cluster: Cluster, folder: Path) -> None:
    """By its agent, as it was ordered, and then as a Pod needs it; its front is asked how it is."""
    name = await asyncio.to_thread(new_node, cluster, "0:3g.40gb@0")
    sim = NvmlSim(folder / "machine", ["h100-80gb"] * 2)
    kubeconfig = await asyncio.to_thread(agent_of, cluster.testbed, name, folder)
    health = f"unix:{folder / 'agent.sock'}"
    async with Node(folder, name, kubeconfig) as node:
        await node.start(sim.environment, ["--health-address", health])
        await until(lambda: STARTUP_TAINT not in taints(cluster, name), "its taint goes")
        await asyncio.to_thread(mig_pod, cluster, "small", "1g.10gb")
        await asyncio.to_thread(cluster.bound, "small")
        settings = front.Settings(health, "127.0.0.1:0", "127.0.0.1:0", kubeconfig=str(kubeconfig))
        async with front.serving(settings) as served:
            token = await asyncio.to_thread(reader, cluster.testbed, "of-front", "nos-metrics-reader")
            status, text = await asyncio.to_thread(get, f"https://{served.metrics}/metrics", token)
            assert (status, "nos_agent_" in text) == (200, True)
    await asyncio.to_thread(cluster.clear)


async def until(what: Any, why: str) -> None:
    await asyncio.to_thread(eventually, what, why=why)


def agent_of(testbed: Testbed, node: str, folder: Path) -> Path:
    """A kubeconfig with the token that the agent's Pod on the node has; no container of it runs."""
    spec = {"serviceAccountName": "nos-agent", "nodeName": node, "containers": [{"name": "agent", "image": "nos"}]}
    spec["tolerations"] = [{"operator": "Exists"}]
    path = f"/api/v1/namespaces/{AGENTS}/pods"
    status, answer = testbed.api.request("POST", path, {"metadata": {"name": "agent"}, "spec": spec})
    assert status == 201, answer
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "agent", "uid": json.loads(answer)["metadata"]["uid"]}
    token = token_of(testbed, f"/api/v1/namespaces/{AGENTS}/serviceaccounts/nos-agent", {"boundObjectRef": bound})
    file = folder / "agent.kubeconfig"
    write_kubeconfig(file, server=testbed.server, ca_file=testbed.ca_file, user="agent", token=token)
    return file


def token_of(testbed: Testbed, account: str, spec: Object) -> str:
    status, answer = testbed.api.request("POST", f"{account}/token", {"spec": spec})
    assert status == 201, answer
    return str(json.loads(answer)["status"]["token"])


def reader(testbed: Testbed, name: str, role: str) -> str:
    """The token of an account that has this role of the chart, and nothing else."""
    testbed.api.create(ACCOUNTS, {"metadata": {"name": name}})
    testbed.kubectl("create", "clusterrolebinding", name, f"--clusterrole={role}", f"--serviceaccount=default:{name}")
    user, allowed = f"system:serviceaccount:default:{name}", rights.paths(CHART)[role]
    eventually(lambda: all(rights.may_get(testbed.api, user, path) for path in allowed), why=f"{role} is bound")
    return token_of(testbed, f"{ACCOUNTS}/{name}", {})


def who_may_look_does(cluster: Cluster, running: Controller) -> None:
    """Of each role for people and their tools, at each of its paths, who has it is let in, and others are not."""
    page = running.dashboard.replace("0.0.0.0", "127.0.0.1")
    served = {"/metrics": metrics_of(running), "/dashboard": f"{page}api/state", "/record": f"{page}api/record"}
    roles = rights.paths(CHART)
    assert {path for allowed in roles.values() for path in allowed} == set(served)
    readers = {role: reader(cluster.testbed, f"only-{role}", role) for role in roles}
    for role, allowed in roles.items():
        for path, url in served.items():
            assert opens(url, readers[role]) == (200 if path in allowed else 403), (role, path)


def opens(url: str, token: str) -> int:
    """The status; what is served may have no end."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def nodes_come_and_go_by_cluster_api(cluster: Cluster, folder: Path) -> None:
    """One is ordered for a ProvisioningRequest, and goes when that is withdrawn."""
    rig = cluster_api_rig.Rig(cluster.testbed, "v1beta2")
    rig.deploy(**{"capacity.cluster-autoscaler.kubernetes.io/labels": "nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3"})
    down = {"enabled": True, "unneededSeconds": 1, "minimumAgeSeconds": 0}
    quick = {"settleSeconds": 0.2, "longestSettleSeconds": 2, "surveySeconds": 0.5, "scaleDown": down}
    scaling = requests.ANSWERS["scaling"] | {"mode": "order", "clusterApi": {}} | quick
    with Controller(cluster.testbed.kubeconfig_of(), folder, scaling=scaling, **LEADER) as running:
        running.schedules()
        requests.by_hand(cluster, provisioningClassName="atomic.nos.nebuly.com")
        eventually(lambda: rig.replicas() == 1, why="a node is ordered")
        rig.double.settle()
        requests.says(cluster, "Provisioned")
        cluster.api.request("DELETE", f"/apis/autoscaling.x-k8s.io/v1/namespaces/{NAMESPACE}/provisioningrequests")
        eventually(lambda: rig.replicas() == 0, why="it is not needed any more")
    rig.clear()


def nodes_come_and_go_by_karpenter(testbed: Testbed) -> None:
    """One is ordered and not waited for; nobody makes it."""
    rig = karpenter_rig.Rig(testbed, None)
    rig.pool()
    rig.order(Order("r"))
    rig.cancel(rig.the_one())
    assert rig.claims() == []


@pytest.mark.usefixtures("log")
def test_nothing_is_refused(refused: Refusals) -> None:
    found = refused.new()
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("role", sorted(GIVEN))
def test_every_right_is_made_use_of(log: Path, role: str) -> None:
    unused = rights.unused(GIVEN[role], rights.used(log))
    assert unused == [], "\n".join(("nobody made use of", *unused))


def test_no_role_is_left_out() -> None:
    """Whatever is switched on, there is no other role. Each is bound to an account, or has paths only, for people."""
    every = {
        each["metadata"]["name"]: each["rules"]
        for values in written.RENDERINGS
        for each in objects(values)
        if each["kind"] in ("ClusterRole", "Role")
    }
    ours = {each["metadata"]["name"]: each["rules"] for each in CHART if each["kind"] in ("ClusterRole", "Role")}
    assert ours == every
    for name, rules in ours.items():
        bound = name in {role.rpartition("/")[2] for role in GIVEN}
        assert bound != all("nonResourceURLs" in rule for rule in rules), name


def test_who_uses_a_right_uses_the_wider_ones_and_no_others() -> None:
    one = rights.Right("a", "get", "", "pods", "team", "train")
    wider = {one, one._replace(name=""), one._replace(namespace=""), one._replace(namespace="", name="")}
    assert rights.unused(wider, {one}) == []
    others = {
        one._replace(**{field: "other"}) for field in ("account", "verb", "group", "resource", "namespace", "name")
    }
    assert len(rights.unused(others, {one})) == 6
    assert rights.unused(others | wider, {one}) == rights.unused(others, {one})
