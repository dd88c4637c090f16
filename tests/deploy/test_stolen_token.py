"""What a thief can do with the token of an agent's Pod: asked of the real API server, with a real one, of node A.

Three ways: what the API server itself lists as allowed is what is written here; each thing that would hurt is tried;
and what the role cannot keep to one node, the policies do.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from nos.kube.gpunode import GPU_NODES
from nos.testbed import Testbed
from nos.testbed.api import Api
from tests.controller.cluster import eventually
from tests.deploy.helm import NAMESPACE, objects

pytestmark = pytest.mark.cluster
AGENTS = "nos-agents"
CORE, GROUPS = "/api/v1", "/apis"
KIND = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode"}
APART = {"gpuPartitioner": {"migAgent": {"namespace": AGENTS}}}
# (group, resource, verb) of what it may. Beside it there is only what every ServiceAccount may.
ALLOWED = {
    ("nos.nebuly.com", "gpunodes", "create"),  # of its own node, by the policy
    ("nos.nebuly.com", "gpunodes", "list"),
    ("nos.nebuly.com", "gpunodes", "watch"),
    ("nos.nebuly.com", "gpunodes/status", "patch"),  # of its own node, by the policy
    ("", "nodes", "get"),
    ("", "pods", "list"),
    ("", "pods", "watch"),
    ("authentication.k8s.io", "tokenreviews", "create"),  # whose a token is that it has anyway
    ("authorization.k8s.io", "subjectaccessreviews", "create"),  # what somebody may, not more
}
OF_EVERYBODY = {
    ("authentication.k8s.io", "selfsubjectreviews", "create"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "create"),
    *(("certificates.k8s.io", "clustertrustbundles", verb) for verb in ("get", "list", "watch")),  # no keys
}


class Theft:
    """A cluster with nos in it, two nodes with an agent's Pod each, and the token of the one on node A."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed, self.admin = testbed, testbed.api
        for namespace in (NAMESPACE, AGENTS):
            self.admin.create(f"{CORE}/namespaces", {"metadata": {"name": namespace}})
        self.made = [each for each in objects(APART) if each["kind"] in KINDS]
        for binding in self.made:  # other tests bind the same roles
            if "subjects" in binding:
                binding["metadata"]["name"] += "-theft"
        testbed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(self.made))
        self.a, self.b = testbed.add_nodes({"1xH100": 2})
        self.pods = {node: self._pod(node) for node in (self.a, self.b)}
        self.token = self._token(self.a)
        self.thief = Api(testbed.ports["kube-apiserver"], self.token, testbed.ca_file)
        for node in (self.a, self.b):
            self.admin.create(GPU_NODES, self.gpu_node(node))

    def _pod(self, node: str) -> str:
        spec = {
            "serviceAccountName": "nos-agent",
            "nodeName": node,
            "containers": [{"name": "agent", "image": "nos"}],
            "tolerations": [{"operator": "Exists"}],
        }
        path = f"{CORE}/namespaces/{AGENTS}/pods"
        status, answer = self.admin.request("POST", path, {"metadata": {"name": f"nos-agent-{node}"}, "spec": spec})
        assert status == 201, answer
        return str(json.loads(answer)["metadata"]["uid"])

    def _token(self, node: str) -> str:
        """As the kubelet gets it for the Pod there."""
        bound = {"apiVersion": "v1", "kind": "Pod", "name": f"nos-agent-{node}", "uid": self.pods[node]}
        path = f"{CORE}/namespaces/{AGENTS}/serviceaccounts/nos-agent/token"
        status, answer = self.admin.request("POST", path, {"spec": {"boundObjectRef": bound}})
        assert status == 201, answer
        return str(json.loads(answer)["status"]["token"])

    def gpu_node(self, node: str, **more: Any) -> dict[str, Any]:
        uid = self.admin.get(f"{CORE}/nodes/{node}")["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
        return KIND | {"metadata": {"name": node, "ownerReferences": [owner]}} | more

    def tries(self, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        """What the API server says to the thief; empty where it lets him."""
        status, answer = self.thief.request(method, path, body)
        return "" if status < 300 else f"{status} {json.loads(answer)['message']}"

    def patches(self, path: str, body: object) -> str:
        """Likewise, of a merge patch."""
        request = urllib.request.Request(
            self.testbed.server + path,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/merge-patch+json"},
            method="PATCH",
        )
        context = ssl.create_default_context(cafile=str(self.testbed.ca_file))
        try:
            with urllib.request.urlopen(request, context=context, timeout=20):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {json.load(error)['message']}"

    def in_force(self) -> bool:
        said = self.patches(f"{GPU_NODES}/{self.b}/status?dryRun=All", {"status": {"gpuCount": 1}})
        return said.startswith("422")


KINDS = {
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


@pytest.fixture(scope="module")
def theft(testbed: Testbed) -> Iterator[Theft]:
    testbed.install_crds()
    theft = Theft(testbed)
    eventually(theft.in_force, why="the policies are in force")
    yield theft
    theft.thief.close()
    bound = [each for each in theft.made if each["kind"] != "ClusterRole"]
    testbed.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all(bound))
    for path in (GPU_NODES, f"{CORE}/namespaces/{AGENTS}", *(f"{CORE}/nodes/{node}" for node in (theft.a, theft.b))):
        testbed.api.request("DELETE", path, {"gracePeriodSeconds": 0})
    eventually(lambda: testbed.api.request("POST", f"{GPU_NODES}?dryRun=All", KIND | SPECIFIED)[0] == 201)


SPECIFIED = {
    "metadata": {"name": "probe"},
    "spec": {"gpus": [{"index": 0, "mig": True, "instances": [{"profile": "3g.40gb", "start": 0}]}]},
}


@pytest.mark.parametrize("namespace", [AGENTS, NAMESPACE, "kube-system", "default"])
def test_what_it_may_is_written_here(theft: Theft, namespace: str) -> None:
    """The API server's own list; had it a right to all of something, that would be in it as `*`."""
    asked = {"spec": {"namespace": namespace}}
    status, answer = theft.thief.request("POST", f"{GROUPS}/authorization.k8s.io/v1/selfsubjectrulesreviews", asked)
    assert status == 201, answer
    told = json.loads(answer)["status"]
    assert not told["incomplete"]
    found = {
        (group, resource, verb)
        for rule in told["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert found == ALLOWED | OF_EVERYBODY
    assert {verb for rule in told["nonResourceRules"] for verb in rule["verbs"]} == {"get"}
    paths = {path for rule in told["nonResourceRules"] for path in rule["nonResourceURLs"]}
    assert not paths & {"/metrics", "/dashboard", "/record", "/logs", "*"}


def test_the_lists_say_the_same_as_the_manifests(theft: Theft) -> None:
    """Each of what is allowed comes of a role of the chart that is bound to the agent, and none is left out."""
    roles = {each["metadata"]["name"]: each["rules"] for each in theft.made if each["kind"] == "ClusterRole"}
    agents = [
        each["roleRef"]["name"]
        for each in theft.made
        for subject in each.get("subjects", ())
        if (subject["name"], subject["namespace"]) == ("nos-agent", AGENTS)
    ]
    assert {
        (group, resource, verb)
        for name in agents
        for rule in roles[name]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    } == ALLOWED


def test_it_writes_the_status_of_its_own_gpunode_only(theft: Theft) -> None:
    own, other = f"{GPU_NODES}/{theft.a}", f"{GPU_NODES}/{theft.b}"
    status = {"status": {"gpuCount": 1}}
    assert theft.patches(f"{own}/status", status) == ""
    before = theft.admin.get(other)
    why = f"the agent of node {theft.a} writes the GPUNode of that node only"
    assert why in theft.patches(f"{other}/status", status)
    assert theft.tries("PUT", f"{other}/status", before | status).startswith("403")
    unowned = theft.gpu_node(theft.b)
    unowned["metadata"]["name"] = "third"
    assert why in theft.tries("POST", GPU_NODES, unowned)
    assert theft.admin.get(other) == before


def test_it_writes_no_spec_and_removes_none(theft: Theft) -> None:
    """Not even of its own: by that it could have a GPU cut under those who use it."""
    for node in (theft.a, theft.b):
        path = f"{GPU_NODES}/{node}"
        before = theft.admin.get(path)
        assert theft.patches(path, {"spec": SPECIFIED["spec"]}).startswith("403")
        assert theft.patches(path, {"metadata": {"ownerReferences": None}}).startswith("403")
        assert theft.tries("PUT", path, before | {"spec": SPECIFIED["spec"]}).startswith("403")
        assert theft.tries("DELETE", path).startswith("403")
        assert theft.admin.get(path) == before
    theft.patches(f"{GPU_NODES}/{theft.a}/status", {"spec": SPECIFIED["spec"], "metadata": {"labels": {"a": "b"}}})
    assert "spec" not in theft.admin.get(f"{GPU_NODES}/{theft.a}")
    assert theft.tries("DELETE", GPU_NODES).startswith("403")


def test_nodes_are_not_its_own(theft: Theft) -> None:
    """No taint, no label, no cordon, no capacity; not of its own node either."""
    for node in (theft.a, theft.b):
        path = f"{CORE}/nodes/{node}"
        before = theft.admin.get(path)["spec"], theft.admin.get(path)["metadata"]["labels"]
        taint = {"key": "a", "effect": "NoExecute"}
        for body in (
            {"spec": {"taints": [taint]}},
            {"spec": {"unschedulable": True}},
            {"metadata": {"labels": {"a": "b"}}},
        ):
            assert theft.patches(path, body).startswith("403")
        capacity = {"status": {"capacity": {"nvidia.com/gpu": "99"}}}
        assert theft.patches(f"{path}/status", capacity).startswith("403")
        assert theft.tries("DELETE", path).startswith("403")
        assert theft.tries("GET", f"{path}/proxy/pods").startswith("403")
        after = theft.admin.get(path)["spec"], theft.admin.get(path)["metadata"]["labels"]
        assert after == before
    assert theft.tries("GET", f"{CORE}/nodes").startswith("403")
    assert theft.tries("POST", f"{CORE}/nodes", {"metadata": {"name": "c"}}).startswith("403")


def test_it_makes_and_moves_no_pods(theft: Theft) -> None:
    """A Pod of its own making could mount what it wants; of others' it may not be inside."""
    pods, name = f"{CORE}/namespaces/{AGENTS}/pods", f"nos-agent-{theft.b}"
    made = {"metadata": {"name": "evil"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    assert theft.tries("POST", pods, made).startswith("403")
    assert theft.tries("DELETE", f"{pods}/{name}").startswith("403")
    for inside in ("exec?command=sh", "attach", "portforward", "proxy", "log", "ephemeralcontainers"):
        assert theft.tries("GET", f"{pods}/{name}/{inside}").startswith("403"), inside
    assert theft.tries("POST", f"{pods}/{name}/exec?command=sh").startswith("403")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": AGENTS}}
    assert theft.tries("POST", f"{pods}/{name}/eviction", eviction).startswith("403")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"name": theft.a}}
    assert theft.tries("POST", f"{pods}/{name}/binding", binding).startswith("403")
    assert theft.patches(f"{pods}/{name}/status", {"status": {"phase": "Failed"}}).startswith("403")
    assert theft.patches(f"{pods}/{name}", {"metadata": {"annotations": {"a": "b"}}}).startswith("403")
    for kind in ("deployments", "daemonsets"):
        body = {"metadata": {"name": "evil"}}
        assert theft.tries("POST", f"{GROUPS}/apps/v1/namespaces/{AGENTS}/{kind}", body).startswith("403")


def test_it_reads_nothing_that_is_secret_and_takes_no_other_token(theft: Theft) -> None:
    for namespace in (AGENTS, NAMESPACE, "kube-system"):
        within = f"{CORE}/namespaces/{namespace}"
        for kind in ("secrets", "configmaps", "serviceaccounts", "events"):
            assert theft.tries("GET", f"{within}/{kind}").startswith("403"), kind
        assert theft.tries("POST", f"{within}/secrets", {"metadata": {"name": "a"}}).startswith("403")
    for namespace, account in ((NAMESPACE, "nos-scheduler"), (AGENTS, "nos-agent"), ("kube-system", "default")):
        path = f"{CORE}/namespaces/{namespace}/serviceaccounts/{account}/token"
        assert theft.tries("POST", path, {"spec": {}}).startswith("403"), account
    request = {"metadata": {"name": "a"}, "spec": {"request": "", "signerName": "kubernetes.io/kube-apiserver-client"}}
    assert theft.tries("POST", f"{GROUPS}/certificates.k8s.io/v1/certificatesigningrequests", request).startswith("403")


def test_it_gives_itself_no_rights_and_is_nobody_else(theft: Theft) -> None:
    rbac = f"{GROUPS}/rbac.authorization.k8s.io/v1"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    body = {"metadata": {"name": "evil"}, "roleRef": role}
    for kind in ("clusterrolebindings", f"namespaces/{AGENTS}/rolebindings"):
        assert theft.tries("POST", f"{rbac}/{kind}", body).startswith("403")
    assert theft.patches(f"{rbac}/clusterroles/nos-agent", {"rules": []}).startswith("403")
    admission = f"{GROUPS}/admissionregistration.k8s.io/v1"
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        assert theft.tries("DELETE", f"{admission}/{kind}/nos-agent-own-node").startswith("403")
    request = urllib.request.Request(
        f"{theft.testbed.server}{CORE}/nodes",
        headers={"Authorization": f"Bearer {theft.token}", "Impersonate-User": "system:admin"},
    )
    context = ssl.create_default_context(cafile=str(theft.testbed.ca_file))
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(request, context=context, timeout=20)
    assert "cannot impersonate" in json.load(refused.value)["message"]


def test_it_leaves_quotas_and_leases_alone(theft: Theft) -> None:
    """Nobody stops scheduling, or gets more than is his, through an agent."""
    lease = f"{GROUPS}/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
    assert theft.tries("GET", f"{lease}/nos-scheduler").startswith("403")
    assert theft.tries("POST", lease, {"metadata": {"name": "nos-scheduler"}}).startswith("403")
    beat = f"{GROUPS}/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{theft.b}"
    assert theft.patches(beat, {"spec": {"holderIdentity": "thief"}}).startswith("403")
    for kind in ("elasticquotas", "compositeelasticquotas"):
        path = f"{GROUPS}/nos.nebuly.com/v1alpha1/namespaces/default/{kind}"
        assert theft.tries("GET", path).startswith("403")
        assert theft.tries("POST", path, {"metadata": {"name": "more"}}).startswith("403")
        assert theft.patches(f"{path}/team/status", {"status": {}}).startswith("403")
    quotas = f"{CORE}/namespaces/default/resourcequotas"
    assert theft.tries("POST", quotas, {"metadata": {"name": "none"}}).startswith("403")


def test_it_is_worth_nothing_when_the_pod_is_gone(theft: Theft) -> None:
    """Of a Pod of its own, so that the others go on."""
    node = theft.a
    theft.testbed.kubectl("delete", "pod", f"nos-agent-{node}", "-n", AGENTS, "--grace-period=0", "--force")
    eventually(lambda: theft.tries("GET", f"{CORE}/nodes/{node}").startswith("401"), why="the token has ended")
