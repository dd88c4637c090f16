"""Who may write what of a GPUNode, asked of the real API server with real tokens of Pods on nodes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nos.kube.access import Access
from nos.kube.client import MERGE, Client
from nos.kube.gpunode import GPU_NODES, Spec, WantedGpu, WantedInstance, spec_patch
from nos.testbed import Testbed
from nos.testbed.api import Api
from nos.testbed.credentials import write_kubeconfig
from tests.controller.cluster import eventually

pytestmark = pytest.mark.cluster
DEPLOY = Path(__file__).parents[2] / "deploy" / "kustomize"
NAMESPACE = "nebuly-nos"
ACCOUNTS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SPEC = {"gpus": [{"index": 0, "mig": True, "instances": [{"profile": "3g.40gb", "start": 0}]}]}


def documents(folder: str, *, policies: bool) -> list[dict[str, Any]]:
    file = DEPLOY / folder / ("policy.yaml" if policies else "rbac.yaml")
    return list(yaml.safe_load_all(file.read_text()))


class Users:
    """The service accounts, with tokens as their Pods have them."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.tokens: dict[Api, str] = {}
        self.nodes = testbed.add_nodes({"1xH100": 2})
        self.controller = self._of("nos-scheduler", self.nodes[0])
        self.agents = [self._of("nos-agent", node) for node in self.nodes]
        self.astray = self._token("nos-agent", {})

    def _of(self, account: str, node: str) -> Api:
        name = f"{account}-{node}"
        container = {"name": "main", "image": "busybox"}
        tolerations = [{"operator": "Exists"}]
        spec = {"serviceAccountName": account, "nodeName": node, "containers": [container], "tolerations": tolerations}
        status, answer = self.testbed.api.request("POST", PODS, {"metadata": {"name": name}, "spec": spec})
        assert status == 201, answer
        uid = json.loads(answer)["metadata"]["uid"]
        return self._token(account, {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}})

    def _token(self, account: str, bound: dict[str, Any]) -> Api:
        status, answer = self.testbed.api.request("POST", f"{ACCOUNTS}/{account}/token", {"spec": bound})
        assert status == 201, answer
        token = json.loads(answer)["status"]["token"]
        api = Api(self.testbed.ports["kube-apiserver"], token, self.testbed.ca_file)
        self.tokens[api] = token
        return api

    def close(self) -> None:
        for api in self.tokens:
            api.close()


@pytest.fixture(scope="module")
def users(testbed: Testbed) -> Iterator[Users]:
    """As `kubectl apply` of the folders leaves it; taken away again, for other tests write specs by hand."""
    testbed.install_crds()
    testbed.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for account in ("nos-scheduler", "nos-agent"):
        testbed.api.create(ACCOUNTS, {"metadata": {"name": account}})
    roles = [*documents("controller", policies=False), *documents("agent", policies=False)]
    policies = [*documents("controller", policies=True), *documents("agent", policies=True)]
    bindings = [document for document in roles if "subjects" in document]
    for binding in bindings:  # tests of the controller bind the same role to the testbed's own user
        binding["metadata"]["name"] += "-with-policies"
    testbed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([*roles, *policies]))
    users = Users(testbed)
    write = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode", "metadata": {"name": "probe"}, "spec": SPEC}
    foreign = made(users, users.nodes[0])

    def in_force() -> bool:
        dry = f"{GPU_NODES}?dryRun=All"
        by_admin = testbed.api.request("POST", dry, write)[0]
        return (by_admin, users.agents[1].request("POST", dry, foreign)[0]) == (422, 422)

    # The API server looks for new policies once a second: it may find the controller's without the agent's.
    eventually(in_force, why="the policies of both are in force")
    yield users
    users.close()
    testbed.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all([*bindings, *policies]))
    testbed.api.request("DELETE", GPU_NODES)
    testbed.api.request("DELETE", PODS, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
    for node in users.nodes:
        testbed.api.request("DELETE", f"/api/v1/nodes/{node}")
    eventually(lambda: testbed.api.request("POST", f"{GPU_NODES}?dryRun=All", write)[0] == 201)


def made(users: Users, name: str, **more: Any) -> dict[str, Any]:
    uid = users.testbed.api.get(f"/api/v1/nodes/{name}")["metadata"]["uid"]  # of none, it would be collected as garbage
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    metadata = {"name": name, "ownerReferences": [owner]}
    return {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode", "metadata": metadata} | more


def said(answer: tuple[int, bytes]) -> str:
    """The complaint; empty where there is none."""
    status, body = answer
    return "" if status < 300 else f"{status} {json.loads(body)['message']}"


@pytest.fixture
def own(users: Users) -> Iterator[str]:
    """The GPUNode of the first node, made by its agent."""
    name = users.nodes[0]
    assert said(users.agents[0].request("POST", GPU_NODES, made(users, name))) == ""
    yield f"{GPU_NODES}/{name}"
    users.testbed.api.request("DELETE", f"{GPU_NODES}/{name}")


def report(api: Api, path: str) -> str:
    body = {"status": {"gpuCount": 1, "observedGeneration": 1}}
    return said(api.request("PATCH", f"{path}/status", body, MERGE))


def test_an_agent_reports_for_its_own_node_only(users: Users, own: str) -> None:
    first, second = users.agents
    assert report(first, own) == ""
    assert "writes the GPUNode of that node only" in report(second, own)
    assert users.testbed.api.get(own)["status"]["gpuCount"] == 1


def test_an_agent_makes_its_own_gpunode_only(users: Users) -> None:
    _, second = users.agents
    assert "writes the GPUNode of that node only" in said(
        second.request("POST", GPU_NODES, made(users, users.nodes[0]))
    )
    assert said(second.request("POST", f"{GPU_NODES}?dryRun=All", made(users, users.nodes[1]))) == ""
    ownerless = made(users, users.nodes[1])
    del ownerless["metadata"]["ownerReferences"]
    assert "is owned by its Node" in said(second.request("POST", GPU_NODES, ownerless))
    foreign = made(users, users.nodes[1])
    foreign["metadata"]["ownerReferences"][0]["name"] = users.nodes[0]
    assert "is owned by its Node" in said(second.request("POST", GPU_NODES, foreign))


def test_an_agent_writes_no_spec(users: Users, own: str) -> None:
    body = users.testbed.api.get(own) | {"spec": SPEC}
    assert said(users.agents[0].request("PUT", own, body)).startswith("403")  # its role does not allow it
    assert said(users.agents[0].request("PATCH", f"{own}/status", {"spec": SPEC, "status": {}}, MERGE)) == ""
    assert "spec" not in users.testbed.api.get(own)
    with_spec = said(users.agents[1].request("POST", GPU_NODES, made(users, users.nodes[1], spec=SPEC)))
    assert "written by the nos controller alone" in with_spec


def test_a_token_of_no_pod_speaks_for_no_node(users: Users, own: str) -> None:
    assert "not bound to a Pod on a node" in report(users.astray, own)


def test_an_agent_reads_what_it_needs_and_no_more(users: Users, own: str) -> None:
    agent, node = users.agents[0], users.nodes[0]
    assert said(agent.request("GET", f"{GPU_NODES}?fieldSelector=metadata.name%3D{node}")) == ""
    assert said(agent.request("GET", f"/api/v1/nodes/{node}")) == ""
    assert said(agent.request("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")) == ""
    for path in ("/api/v1/secrets", "/api/v1/configmaps", "/api/v1/nodes"):
        assert said(agent.request("GET", path)).startswith("403")
    assert said(agent.request("DELETE", own)).startswith("403")


async def patch(users: Users, path: str, body: bytes, kubeconfig: Path) -> None:
    """As the controller does it, with its token."""
    testbed, token = users.testbed, users.tokens[users.controller]
    write_kubeconfig(kubeconfig, server=testbed.server, ca_file=testbed.ca_file, user="controller", token=token)
    async with Client(Access.load(str(kubeconfig))) as client:
        await client.request("PATCH", path, body=body, content_type=MERGE)


def test_the_controller_alone_writes_specs(users: Users, own: str, tmp_path: Path) -> None:
    body = users.testbed.api.get(own) | {"spec": SPEC}
    complaint = said(users.testbed.api.request("PUT", own, body))  # an administrator
    assert "the spec of a GPUNode is written by the nos controller alone" in complaint
    spec = Spec((WantedGpu(0, True, (WantedInstance("3g.40gb", 0),)),))
    asyncio.run(patch(users, own, spec_patch(spec, body["metadata"]["resourceVersion"]), tmp_path / "kubeconfig"))
    assert users.testbed.api.get(own)["spec"] == SPEC
    users.testbed.kubectl("label", "gpunode", users.nodes[0], "team=ml")  # what is no spec, others may write
    assert report(users.controller, own).startswith("403")  # and reports are the agent's
