"""What nos reads of a real cluster for Cluster Autoscaler, with the right to list Nodes alone."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc.aio
import pytest

from nos.autoscaler.backend import Group, Order, OrderRefusedError, State, Survey
from nos.autoscaler.cluster_autoscaler import NAME
from nos.autoscaler.cluster_autoscaler.declared import Declared, Fronted
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings, GroupSettings
from nos.autoscaler.cluster_autoscaler.start import answering
from nos.autoscaler.template import TemplateSettings
from nos.autoscaler.webhook import Webhook, WebhookSettings
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.errors import ConfigError
from nos.testbed import Testbed
from nos.testbed.nodes import make_node
from tests.autoscaler.autoscaler_client import SINCE, Autoscaler
from tests.autoscaler.platform_server import Platform
from tests.controller.cluster import eventually
from tests.deploy.rights import in_force

pytestmark = pytest.mark.cluster
_RBAC, _GROUP = "/apis/rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
ROLE = {  # all that this needs; the controller's role has it
    "metadata": {"name": "reads-nodes"},
    "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
}
BINDING = {
    "metadata": ROLE["metadata"],
    "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": "reads-nodes"},
    "subjects": [{"kind": "ServiceAccount", "name": "nos-scheduler", "namespace": "nos-system"}],
}
POOL = {"example.com/pool": "a"}
TEMPLATE = TemplateSettings({"cpu": "8", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "8"})
INSECURE = ClusterAutoscalerSettings("127.0.0.1:0", allow_insecure=True, fronts="webhook")


@pytest.fixture(scope="module")
def reader(testbed: Testbed) -> Iterator[Testbed]:
    """Where nos may list Nodes."""
    for kind, body in (("clusterroles", ROLE), ("clusterrolebindings", BINDING)):
        testbed.api.create(f"{_RBAC}/{kind}", body)
    made = [ROLE | {"kind": "ClusterRole"}, BINDING | {"kind": "ClusterRoleBinding"}]
    eventually(lambda: in_force(testbed.api, made), why="the role is in force")
    yield testbed
    for kind in ("clusterrolebindings", "clusterroles"):
        testbed.api.request("DELETE", f"{_RBAC}/{kind}/{ROLE['metadata']['name']}")


@pytest.fixture
def nodes(reader: Testbed) -> Iterator[list[str]]:
    """Three Nodes of a pool: one ready, one not yet, and one without a provider id."""
    testbed = reader
    made = [make_node("8xH100", number, labels=POOL) for number in (90, 91, 92)]
    made[1]["spec"]["taints"] = [{"key": "nos.nebuly.com/not-cut", "effect": "NoSchedule"}]
    del made[2]["spec"]["providerID"]
    for node in made:
        testbed.api.create("/api/v1/nodes", node)
    yield [node["metadata"]["name"] for node in made]
    for node in made:
        path = f"/api/v1/nodes/{node['metadata']['name']}"
        testbed.api.request("DELETE", path)
        eventually(lambda path=path: testbed.api.request("GET", path)[0] == 404, why=f"{path} is gone")


def with_client(testbed: Testbed, work: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        access = await asyncio.to_thread(Access.load, str(testbed.kubeconfig_of()))
        async with Client(access) as client:
            await work(client)

    asyncio.run(run())


def test_groups_that_only_the_settings_name_have_the_nodes_with_their_labels(
    testbed: Testbed, nodes: list[str]
) -> None:
    async def work(client: Client) -> None:
        group = GroupSettings("eks-a", 9, 12.5, POOL, TEMPLATE)
        backend = Declared(client, [group])
        survey = await backend.survey()
        (found,) = survey.groups
        assert (found.id, found.price, found.target, found.max, found.by) == ("eks-a", 12_500_000, 3, 9, NAME)
        assert found.template.metadata.labels == POOL
        states = {one.node: one.state for one in survey.instances}
        assert states == {nodes[0]: State.UP, nodes[1]: State.COMING, nodes[2]: State.UP}
        await refuses_all(backend, found, survey)

    with_client(testbed, work)


async def refuses_all(backend: Declared | Fronted, group: Group, survey: Survey) -> None:
    for change in (
        backend.increase(group, [Order("r")]),
        backend.cancel(group, survey.instances),
        backend.delete(group, survey.instances),
    ):
        with pytest.raises(
            OrderRefusedError, match=f"{group.id}: Cluster Autoscaler alone makes and removes its nodes"
        ):
            await change


def test_cluster_autoscaler_is_answered_with_the_provider_ids_of_nodes(testbed: Testbed, nodes: list[str]) -> None:
    async def work(client: Client) -> None:
        platform = Platform()
        platform.group("h100")
        async with platform.serving() as url:
            webhook = Webhook(WebhookSettings(url))
            answers = answering(INSECURE, client, [webhook], lambda: None)
            async with answers as address, grpc.aio.insecure_channel(address) as channel:
                autoscaler = Autoscaler(SINCE, channel)
                await surveyed(autoscaler)
                await autoscaler.NodeGroupIncreaseSize(id="webhook/h100", delta=3)
                for vm, node in zip(platform.instances.values(), nodes, strict=True):
                    vm |= {"state": "up", "node": node}
                expected = {f"kwok://{zone_of(testbed, node)}/{node}" for node in nodes[:2]}

                async def ids() -> set[str]:
                    await autoscaler.Refresh()
                    return {one.id for one in (await autoscaler.NodeGroupNodes(id="webhook/h100")).instances}

                await soon(ids, expected)
                # The stage of nos sees the same, and leaves it alone.
                fronted = Fronted(webhook)
                survey = await fronted.survey()
                assert [(group.by, group.names_victims) for group in survey.groups] == [(NAME, False)]
                assert len(survey.instances) == 3
                await refuses_all(fronted, survey.groups[0], survey)
            with pytest.raises(grpc.aio.AioRpcError):  # it has stopped
                async with grpc.aio.insecure_channel(address) as channel:
                    await Autoscaler(SINCE, channel).Refresh()

    with_client(testbed, work)


async def soon(ask: Callable[[], Awaitable[Any]], expected: object) -> None:
    """Ask until it is as expected, for as long as a busy machine may take."""
    async with asyncio.timeout(30):
        while await ask() != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def surveyed(autoscaler: Autoscaler) -> None:
    async def is_surveyed() -> bool:
        try:
            await autoscaler.Refresh()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    await soon(is_surveyed, True)


def zone_of(testbed: Testbed, node: str) -> str:
    zone: str = testbed.api.get(f"/api/v1/nodes/{node}")["metadata"]["labels"]["topology.kubernetes.io/zone"]
    return zone


def test_a_backend_that_is_not_configured_and_a_package_that_is_missing_are_named(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(ConfigError, match="fronts: there is no backend webhook; configured: none"):
            async with answering(INSECURE, client, [], lambda: None):
                pass
        real = builtins.__import__

        def without_grpc(name: str, *more: Any, **others: Any) -> Any:
            if name.endswith("cluster_autoscaler.server"):
                raise ImportError("No module named 'grpc'")
            return real(name, *more, **others)

        monkeypatch.setattr(builtins, "__import__", without_grpc)
        words = r"needs grpcio and protobuf: .*; install nos-scheduler\[cluster-autoscaler\]"
        with pytest.raises(ConfigError, match=words):
            async with answering(INSECURE, client, [], lambda: None):
                pass

    with_client(testbed, work)
