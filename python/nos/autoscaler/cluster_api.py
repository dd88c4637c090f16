"""Nodes from Cluster API: the number of a MachineDeployment is set, and the Machines that are to go are named.

A Machine is taken away in two steps: it is marked, so that it is the first to go, and the number is lowered. The second
step also writes down, in the same request, for which Machine the number was lowered. So whoever goes on after a crash
neither lowers it twice for one Machine nor takes away another that was left marked.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from nos.autoscaler import counted
from nos.autoscaler.backend import BackendError, Group, Instance, Order, OrderRefusedError, State, Survey
from nos.autoscaler.cluster_api_groups import (
    ClusterApiSettings,
    group_of,
    is_offered,
    problem_of,
    unknown_group,
)
from nos.kube.client import MERGE, Client
from nos.kube.conflict import retry_on_conflict
from nos.kube.decode.metadata import created
from nos.kube.errors import ApiError
from nos.kube.machine_deployment import (
    DELETE_MACHINE,
    DEPLOYMENT_NAME,
    MACHINE,
    MACHINE_NAMESPACE,
    SET_NAME,
    Machine,
    MachineDeployment,
    api_root,
    decode_deployment,
    decode_deployments,
    decode_machines,
    machine_patch,
    path_of,
    replicas_patch,
)
from nos.kube.node import NODES, Node, decode_node

# On a MachineDeployment: Machines for which its number has been lowered already. On a Machine: the mark is ours.
REMOVING_ANNOTATION = "nos.nebuly.com/removing"


class _Counted(NamedTuple):
    """A MachineDeployment, and its Machines that are not being deleted."""

    deployment: MachineDeployment
    staying: tuple[Machine, ...]

    @property
    def leaving(self) -> set[str]:
        """Machines that Cluster API is about to delete, for nos has lowered the number for them. None where the number
        is not lower than there are: then somebody has raised it since."""
        if len(self.staying) <= self.deployment.spec.replicas:
            return set()
        noted = self.deployment.metadata.annotations.get(REMOVING_ANNOTATION, "").split(",")
        return {machine.metadata.name for machine in self.staying} & set(noted)


class ClusterApi:
    """A backend; see `nos.autoscaler.backend`."""

    name = "cluster-api"

    def __init__(self, client: Client, settings: ClusterApiSettings) -> None:
        self._client = client
        self._settings = settings

    async def survey(self) -> Survey:
        """MachineDeployments that are offered, their Machines, and the nodes of these."""
        with counted.told("Cluster API"):
            root = await api_root(self._client)
            found = decode_deployments(await self._client.request("GET", f"{root}/machinedeployments")).items
            offered = {one.metadata.key: one for one in found if is_offered(one)}
            machines = await self._machines(f"{root}/machines", DEPLOYMENT_NAME) if offered else {}
            nodes = _Nodes(
                await counted.nodes(self._client, {}) if offered else []
            )  # after the Machines that name them
        groups, instances = [], []
        for key, deployment in offered.items():
            own = machines.get(key, [])
            there, up = _instances(key, deployment, own, nodes)
            groups.append(group_of(deployment, self._settings, up))
            instances += there
        groups += [unknown_group(key) for key in self._settings.templates if key not in offered]
        return Survey(tuple(groups), tuple(instances))

    async def increase(self, group: Group, orders: Sequence[Order]) -> None:
        """Raises the number from that which was surveyed, unless Machines are just going: one of them might stay."""
        with counted.told(group.object):
            root = await api_root(self._client)
            if leaving := (await self._counted(root, group.id)).leaving:
                raise BackendError(f"{group.object}: {', '.join(sorted(leaving))} is to go first")
            path = path_of(root, "machinedeployments", group.id)
            await counted.raise_to(self._client, path, group.object, group.target, len(orders))

    async def cancel(self, group: Group, instances: Sequence[Instance]) -> None:
        """Takes Machines away that are no ready nodes; one that has become one stays. What is no Machine yet cannot be
        named: that is refused."""
        for instance in instances:
            await self._take_away(group, instance, only_coming=True)

    async def delete(self, group: Group, instances: Sequence[Instance]) -> None:
        """Takes Machines away, which are to be empty by now."""
        for instance in instances:
            await self._take_away(group, instance, only_coming=False)

    async def _machines(self, path: str, selector: str) -> Mapping[str, list[Machine]]:
        found: defaultdict[str, list[Machine]] = defaultdict(list)
        for machine in decode_machines(
            await self._client.request("GET", path, params={"labelSelector": selector})
        ).items:
            found[machine.deployment].append(machine)
        return found

    async def _counted(self, root: str, key: str) -> _Counted:
        """The MachineDeployment first: an edit under its version then also holds for the Machines."""
        namespace, _, name = key.partition("/")
        deployment = decode_deployment(await self._client.request("GET", path_of(root, "machinedeployments", key)))
        machines = await self._machines(f"{root}/namespaces/{namespace}/machines", f"{DEPLOYMENT_NAME}={name}")
        return _Counted(deployment, tuple(m for m in machines.get(key, ()) if not m.metadata.deletion_timestamp))

    async def _take_away(self, group: Group, instance: Instance, *, only_coming: bool) -> None:
        if "#" in instance.id:
            raise OrderRefusedError(
                f"{instance.id} is no Machine yet, so that {group.object} cannot be told to omit it"
            )

        async def take_away() -> None:
            root = await api_root(self._client)
            there = await self._counted(root, group.id)
            machine = next((one for one in there.staying if one.metadata.key == instance.id), None)
            if machine is None or machine.metadata.name in there.leaving:
                return
            if only_coming and await self._is_up(machine, instance):
                return
            if problem := problem_of(there.deployment):
                raise OrderRefusedError(f"{group.object}: {problem}")
            if problem := _unsettled(there):
                raise BackendError(f"{group.object}: {problem}")
            await self._lower(root, there, machine)

        with counted.told(f"Machine {instance.id}"):
            await retry_on_conflict(take_away)

    async def _is_up(self, machine: Machine, instance: Instance) -> bool:
        name = machine.status.node_ref.name or instance.node
        if not name:
            return False
        try:
            node = decode_node(await self._client.request("GET", f"{NODES}/{quote(name, safe='')}"))
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return counted.state_of(node) is State.UP

    async def _lower(self, root: str, there: _Counted, machine: Machine) -> None:
        """Marks it, and lowers the number by one. Others that are marked would go in its place."""
        for other in there.staying:
            marked = DELETE_MACHINE in other.metadata.annotations
            if not marked or other.metadata.name in there.leaving or other is machine:
                continue
            if REMOVING_ANNOTATION not in other.metadata.annotations:
                raise BackendError(
                    f"Machine {other.metadata.key} is marked with {DELETE_MACHINE} and would go in its place; remove "
                    "the annotation, or lower the replicas for it"
                )
            await self._mark(root, other, None)
        await self._mark(root, machine, "true")
        body = replicas_patch(
            there.deployment,
            there.deployment.spec.replicas - 1,
            REMOVING_ANNOTATION,
            there.leaving | {machine.metadata.name},
        )
        path = path_of(root, "machinedeployments", there.deployment.metadata.key)
        await self._client.request("PATCH", path, body=body, content_type=MERGE)

    async def _mark(self, root: str, machine: Machine, value: str | None) -> None:
        body = machine_patch(machine, {DELETE_MACHINE: value, REMOVING_ANNOTATION: value})
        path = path_of(root, "machines", machine.metadata.key)
        await self._client.request("PATCH", path, body=body, content_type=MERGE)


class _Nodes:
    """Nodes by all that a Machine may say of its own."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._by_name = {node.metadata.name: node for node in nodes}
        self._by_machine = {_machine_of(node): node for node in nodes if MACHINE in node.metadata.annotations}
        self._by_provider = {node.spec.provider_id: node for node in nodes if node.spec.provider_id}

    def of(self, machine: Machine) -> Node | None:
        """The Node of a Machine, if there is one."""
        if name := machine.status.node_ref.name:
            return self._by_name.get(name)
        return self._by_machine.get(machine.metadata.key) or self._by_provider.get(machine.spec.provider_id)


def _machine_of(node: Node) -> str:
    return f"{node.metadata.annotations.get(MACHINE_NAMESPACE, '')}/{node.metadata.annotations[MACHINE]}"


def _instances(
    key: str, deployment: MachineDeployment, machines: Sequence[Machine], nodes: _Nodes
) -> tuple[list[Instance], list[Node]]:
    """The instances of a MachineDeployment, and those of their nodes that are up."""
    there = _Counted(deployment, tuple(one for one in machines if not one.metadata.deletion_timestamp))
    leaving, found, up = there.leaving, [], []
    for machine in machines:
        node = nodes.of(machine)
        is_going = machine.metadata.deletion_timestamp or machine.metadata.name in leaving
        state, message = (State.GOING, "") if is_going else _state(machine, node)
        if node and state is State.UP:
            up.append(node)
        found.append(
            Instance(
                machine.metadata.key,
                key,
                state,
                node.metadata.name if node else "",
                created(machine.metadata.creation_timestamp),
                message=message,
            )
        )
    staying = len(there.staying) - len(leaving)
    return found + counted.missing(key, deployment.spec.replicas, staying), up


def _state(machine: Machine, node: Node | None) -> tuple[State, str]:
    if node and counted.state_of(node) is State.UP:
        return State.UP, ""  # whatever its Machine says
    if machine.failure:
        return State.FAILED, machine.failure
    if node:
        return counted.state_of(node), ""
    if name := machine.status.node_ref.name:
        return State.FAILED, f"its node {name} is gone"
    return State.COMING, ""


def _unsettled(there: _Counted) -> str:
    """Why it cannot be told now which Machine would go; empty where it can."""
    surplus = len(there.staying) - there.deployment.spec.replicas
    if surplus < 0:
        return f"{-surplus} of its Machines are still to be made; which one goes can be said after that"
    if surplus != len(there.leaving):
        return f"it has {surplus} Machines more than it is to have; which one goes can be said after that"
    if len({one.metadata.labels.get(SET_NAME) for one in there.staying}) > 1:
        return "it is being rolled out; which Machine goes can be said after that"
    return ""
