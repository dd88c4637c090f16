"""The option gpuTaint on the real API server: which nodes get the taint, and which Pods tolerate it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from nos.testbed import Testbed
from nos.testbed.api import Api
from nos.testbed.progress import Progress
from tests.controller.cluster import NAMESPACE, Cluster, Controller, eventually
from tests.controller.conftest import cluster, controller, role
from tests.deploy.helm import CHART, HelmError, helm, objects
from tests.docs.test_sample import manifest

__all__ = ["cluster", "controller", "role"]
pytestmark = pytest.mark.cluster
COLLECTIONS = {
    "MutatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
}
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
GPU = "nvidia.com/gpu"
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
OTHER = {"key": "other", "value": "any", "effect": "PreferNoSchedule"}
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
PRESENT = {"nvidia.com/gpu.present": "true"}


def made_by_the_chart() -> list[dict[str, Any]]:
    return [each for each in objects({"gpuTaint": {"enabled": True}}) if each["kind"] in COLLECTIONS]


@pytest.fixture
def policies(cluster: Cluster) -> Iterator[Cluster]:
    """In force, and not any more afterwards."""
    api = cluster.api
    found = made_by_the_chart()
    paths = [COLLECTIONS[each["kind"]] for each in found]
    for path, each in zip(paths, found, strict=True):
        api.create(path, each)

    def in_force() -> tuple[bool, bool]:
        return TAINT in taints(node(cluster, "tried", PRESENT)), TOLERATION in tolerations(pod(cluster, {GPU: "1"}))

    eventually(lambda: in_force() == (True, True), why="the policies are in force")
    yield cluster
    for path, each in zip(paths, found, strict=True):
        api.request("DELETE", f"{path}/{each['metadata']['name']}")
    eventually(lambda: in_force() == (False, False), why="the policies are gone")


def node(cluster: Cluster, name: str, labels: dict[str, str], *had: dict[str, str]) -> dict[str, Any]:
    """What would be made of it."""
    asked = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": list(had)}}
    status, answer = cluster.api.request("POST", "/api/v1/nodes?dryRun=All", asked)
    assert status == 201, answer
    made: dict[str, Any] = json.loads(answer)
    return made


def pod(
    cluster: Cluster, limits: dict[str, str], *tolerated: dict[str, str], of: str = "containers", **more: Any
) -> dict[str, Any]:
    """What would be made of it."""
    plain = {"name": "plain", "image": "any"}
    asks = {"name": "asks", "image": "any", "resources": {"limits": {"cpu": "1"} | limits}}
    spec: dict[str, Any] = {"containers": [plain], "tolerations": list(tolerated)} | more
    spec[of] = [*spec.get(of, []), asks]
    status, answer = cluster.api.request("POST", f"{PODS}?dryRun=All", {"metadata": {"name": "tried"}, "spec": spec})
    assert status == 201, answer
    made: dict[str, Any] = json.loads(answer)
    return made


def taints(node: dict[str, Any]) -> list[dict[str, str]]:
    """But for those of the control plane."""
    every = node["spec"].get("taints", [])
    return [taint for taint in every if not taint["key"].startswith("node.kubernetes.io/")]


def tolerations(pod: dict[str, Any]) -> list[dict[str, str]]:
    every = pod["spec"].get("tolerations", [])
    return [each for each in every if not each.get("key", "").startswith("node.kubernetes.io/")]


def test_which_nodes_are_tainted(policies: Cluster) -> None:
    def made(labels: dict[str, str], *had: dict[str, str]) -> list[dict[str, str]]:
        return taints(node(policies, "tried", labels, *had))

    assert made({}) == made({"any": "true"}) == made({"nvidia.com/gpu.present": "false"}) == []
    assert made(PRESENT) == [TAINT]
    assert made({}, OTHER) == [OTHER]
    assert made(PRESENT, OTHER) == [OTHER, TAINT]
    own = TAINT | {"value": "mine", "effect": "NoExecute"}
    assert made(PRESENT, own, OTHER) == [own, OTHER]


def test_which_pods_tolerate_it(policies: Cluster) -> None:
    def made(limits: dict[str, str], *tolerated: dict[str, str], **more: Any) -> list[dict[str, str]]:
        return tolerations(pod(policies, limits, *tolerated, **more))

    assert made({}) == made({"memory": "1Gi"}) == made({"amd.com/gpu": "1"}) == made({GPU: "0"}) == []
    assert (
        made({GPU: "1"})
        == made({"nvidia.com/mig-1g.5gb": "2"})
        == made({GPU: "1"}, of="initContainers")
        == [TOLERATION]
    )
    assert made({GPU: "1"}, schedulerName="nos-scheduler") == [TOLERATION]
    other = {"key": "other", "operator": "Exists"}
    assert made({}, other) == [other]
    assert made({GPU: "1"}, other) == [other, TOLERATION]
    for enough in ({"operator": "Exists"}, {"key": GPU, "operator": "Exists"}, TOLERATION):
        assert made({GPU: "1"}, enough) == [enough]
    for less in ({"key": GPU, "operator": "Equal", "value": "a"}, TOLERATION | {"effect": "NoExecute"}):
        assert made({GPU: "1"}, less) == [less, TOLERATION]


def test_a_node_that_turns_out_to_have_gpus(policies: Cluster, controller: Callable[..., Controller]) -> None:
    """As feature discovery finds out when it has joined, and runs something already. The README's Pod, which knows
    nothing of taints, is put there; another without GPUs is not."""
    testbed = policies.testbed
    (name,) = testbed.add_nodes({"8xH100": 1}, taint=False, labels={"nvidia.com/gpu.present": "not-known"})

    def seen() -> list[dict[str, str]]:
        return taints(policies.api.get(f"/api/v1/nodes/{name}"))

    controller().schedules()
    policies.pod("early", gpus=0, tolerations=[])
    before = policies.bound("early")
    assert seen() == []
    testbed.kubectl("label", "node", name, "nvidia.com/gpu.present=true", "--overwrite")
    assert seen() == [TAINT]

    testbed.kubectl("apply", "--validate=strict", "-f", "-", stdin=manifest("README.md"))
    policies.pod("late", gpus=0, tolerations=[])
    assert policies.bound("sample")["spec"]["nodeName"] == name
    policies.waits("late", because="untolerated taint {nvidia.com/gpu: present}")
    after = policies.get("early")
    assert after is not None
    assert (after["metadata"]["uid"], after["spec"]["nodeName"]) == (before["metadata"]["uid"], name)
    assert "deletionTimestamp" not in after["metadata"]

    given = (policies.get("late") or {})["spec"]["tolerations"]  # those of all Pods; more may be added
    added = json.dumps({"spec": {"tolerations": [*given, TOLERATION]}})
    testbed.kubectl("patch", "pod", "late", "--type=merge", f"--patch={added}")
    policies.bound("late")


def of_page(sign: str) -> list[str]:
    """The command of the documentation that taints the nodes that are there, or ends with a minus and takes it away."""
    page = (CHART.parents[1] / "docs" / "start" / "taint.md").read_text()
    (found,) = re.findall(rf"^kubectl (taint nodes .*present:NoSchedule{sign})$", page, re.MULTILINE)
    return str(found).split()


def test_nodes_that_were_there_before(cluster: Cluster) -> None:
    """By hand, as often as one likes. Others are left alone."""
    (name, other) = cluster.testbed.add_nodes({"8xH100": 1, "cpu": 1}, taint=False)

    def seen() -> list[list[dict[str, str]]]:
        return [taints(cluster.api.get(f"/api/v1/nodes/{each}")) for each in (name, other)]

    for _ in range(2):
        cluster.testbed.kubectl(*of_page(" --overwrite"))
        assert seen() == [[TAINT], []]
    cluster.testbed.kubectl(*of_page("-"))
    assert seen() == [[], []]


def test_the_taint_is_put_back_as_long_as_the_policy_is_there(policies: Cluster) -> None:
    (name,) = policies.testbed.add_nodes({"8xH100": 1}, taint=False)
    assert taints(policies.api.get(f"/api/v1/nodes/{name}")) == [TAINT]
    policies.testbed.kubectl(*of_page("-"))
    assert taints(policies.api.get(f"/api/v1/nodes/{name}")) == [TAINT]


def test_no_kubelet_is_refused_for_it() -> None:
    """NodeRestriction lets no kubelet change its node's taints, and looks at a request again after a policy has."""
    kubelet = "system:node:any"
    arguments = ["--enable-admission-plugins=NodeRestriction"]
    users = {kubelet: ["system:nodes", "system:authenticated"]}
    quietly = Progress(quiet=True)
    with Testbed(scheduler=False, kwok=False, apiserver_args=arguments, users=users, progress=quietly) as testbed:
        testbed.kubectl("create", "clusterrolebinding", "kubelet", "--clusterrole=system:node", f"--user={kubelet}")
        testbed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(made_by_the_chart()))
        api = Api(testbed.ports["kube-apiserver"], testbed.tokens[kubelet], testbed.ca_file)

        def written_by_kubelet(method: str, path: str, **metadata: Any) -> dict[str, Any]:
            asked = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "any"} | metadata}
            status, answer = api.request(method, path, asked)
            assert status in (200, 201), answer
            made: dict[str, Any] = json.loads(answer)
            return made

        def in_force() -> bool:
            asked = {"metadata": {"name": "tried", "labels": PRESENT}}
            return TAINT in taints(json.loads(testbed.api.request("POST", "/api/v1/nodes?dryRun=All", asked)[1]))

        eventually(in_force, why="the policies are in force")
        assert taints(written_by_kubelet("POST", "/api/v1/nodes?dryRun=All", labels=PRESENT)) == [TAINT]
        made = written_by_kubelet("POST", "/api/v1/nodes", labels={"nvidia.com/gpu.present": "not-known"})
        assert taints(made) == []
        labelled = {"metadata": {"name": "any", "labels": PRESENT}}
        assert testbed.api.request("PUT", "/api/v1/nodes/any/status", labelled)[0] == 200  # which no policy looks at
        assert taints(testbed.api.get("/api/v1/nodes/any")) == []
        again = written_by_kubelet("PUT", "/api/v1/nodes/any", labels=PRESENT, annotations={"of": "the kubelet"})
        assert taints(again) == []
        testbed.kubectl("annotate", "node", "any", "of=another", "--overwrite")
        assert taints(testbed.api.get("/api/v1/nodes/any")) == [TAINT]
        api.close()


def test_an_older_cluster_is_told_what_to_do() -> None:
    values = {"gpuTaint": {"enabled": True}}
    for version in ("1.34.0", "1.35.4-gke.1000"):
        with pytest.raises(HelmError, match=r"has no MutatingAdmissionPolicy, 1\.36 has: taint GPU nodes where"):
            helm("template", "nos", CHART, "--namespace", "gpu", "--kube-version", version, values=values)
    told = helm("template", "nos", CHART, "--namespace", "gpu", "--kube-version", "1.36.0-gke.100", values=values)
    assert "MutatingAdmissionPolicy" in told
    assert "MutatingAdmission" not in helm("template", "nos", CHART, "--namespace", "gpu", "--kube-version", "1.34.0")
