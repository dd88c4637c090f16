"""Where the API server takes Pods of critical priority classes only if a quota counts them, as GKE's does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from nos.testbed import Testbed
from nos.testbed.errors import TestbedError
from nos.testbed.progress import Progress
from tests.deploy.helm import CHART, NAMESPACE, helm

pytestmark = pytest.mark.cluster
CLASSES = ["system-cluster-critical", "system-node-critical"]
LIMITED = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "ResourceQuota",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "ResourceQuotaConfiguration",
                "limitedResources": [
                    {
                        "resource": "pods",
                        "matchScopes": [{"scopeName": "PriorityClass", "operator": "In", "values": CLASSES}],
                    }
                ],
            },
        }
    ],
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """A node for the controller, and one for an agent."""
    file = tmp_path_factory.mktemp("admission") / "admission.yaml"
    file.write_text(yaml.safe_dump(LIMITED))
    arguments = [f"--admission-control-config-file={file}"]
    with Testbed(apiserver_args=arguments, progress=Progress(quiet=True)) as testbed:
        testbed.add_nodes({"1xT4": 1}, taint=False)
        testbed.add_nodes({"8xH100": 1}, labels={"nos.nebuly.com/gpu-partitioning": "mig"})
        yield testbed


@pytest.mark.parametrize("apart", [False, True])
def test_nos_is_installed_and_others_are_still_refused(limited: Testbed, apart: bool) -> None:
    agents = "nos-agents" if apart else NAMESPACE
    values: dict[str, Any] = {"gpuPartitioner": {"migAgent": {"namespace": "nos-agents" if apart else ""}}}
    where = ("--kubeconfig", limited.kubeconfig, "--namespace", NAMESPACE, "--wait", "--timeout=60s")
    helm("install", "nos", CHART, "--create-namespace", *where, values=values)
    try:
        found = {
            (pod["metadata"]["namespace"], pod["metadata"]["labels"]["app.kubernetes.io/component"])
            for pod in limited.api.get("/api/v1/pods")["items"]
        }
        assert found == {(NAMESPACE, "controller"), (agents, "agent")}
        for name in CLASSES:
            with pytest.raises(TestbedError, match="insufficient quota to match these scopes"):
                limited.kubectl("run", "any", "--image=any", f'--overrides={{"spec":{{"priorityClassName":"{name}"}}}}')
    finally:
        helm("uninstall", "nos", *where)
