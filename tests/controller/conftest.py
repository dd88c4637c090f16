"""The controller as a process of its own, under its own role, on the real API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from nos.testbed import Testbed
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.controller.teams import TEAMS, Teams
from tests.deploy.rights import in_force

DEPLOYED = Path(__file__).parents[2] / "deploy" / "kustomize"
RBAC = DEPLOYED / "controller" / "rbac.yaml"
_GROUP = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="session")
def role(testbed: Testbed) -> Testbed:
    """The kinds, the namespace of the Lease, and the role that users install, bound to the testbed's nos user."""
    testbed.install_crds()
    api = testbed.api
    api.create("/api/v1/namespaces", {"metadata": {"name": "nebuly-nos"}})
    items = list(yaml.safe_load_all(RBAC.read_text()))
    for item in items:
        if "subjects" in item:
            item["subjects"][0]["namespace"] = "nos-system"  # where the testbed's nos user lives
        namespace = item["metadata"].get("namespace")
        where = f"{_GROUP}/namespaces/{namespace}" if namespace else _GROUP
        api.create(f"{where}/{item['kind'].lower()}s", item)
    eventually(lambda: in_force(api, items), why="the role is in force")
    return testbed


@pytest.fixture(scope="session")
def answering_role(role: Testbed) -> None:
    """The role of who sees and answers ProvisioningRequests, bound likewise."""
    own, binding = yaml.safe_load_all((DEPLOYED / "autoscaling" / "provisioning-requests.yaml").read_text())
    binding["subjects"][0]["namespace"] = "nos-system"
    for kind, body in (("clusterroles", own), ("clusterrolebindings", binding)):
        role.api.create(f"{_GROUP}/{kind}", body)
    eventually(lambda: in_force(role.api, [own, binding]), why="the role is in force")


@pytest.fixture
def cluster(role: Testbed) -> Iterator[Cluster]:
    """An empty cluster."""
    cluster = Cluster(role)
    cluster.clear()
    yield cluster
    cluster.clear()


@pytest.fixture
def proxy(role: Testbed, tmp_path: Path) -> Iterator[FaultProxy]:
    """The API server with something in between that misbehaves on request."""
    with FaultProxy(role.server, role.ca_file, role.tokens, tmp_path) as proxy:
        yield proxy


@pytest.fixture
def controller(role: Testbed, tmp_path: Path) -> Iterator[Callable[..., Controller]]:
    """Starts controllers, and ends them with the test."""
    with ExitStack() as running:

        def start(kubeconfig: Path | None = None, **settings: Any) -> Controller:
            return running.enter_context(Controller(kubeconfig or role.kubeconfig_of(), tmp_path, **settings))

        yield start


@pytest.fixture
def teams(cluster: Cluster) -> Iterator[Teams]:
    """Two namespaces without anything in them."""
    for team in TEAMS:
        cluster.api.create("/api/v1/namespaces", {"metadata": {"name": team}})
    teams = Teams(cluster)
    teams.clear()
    yield teams
    teams.clear()
