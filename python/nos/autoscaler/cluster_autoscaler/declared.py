"""Groups of which nodes come from Cluster Autoscaler: nos looks whether they would help, and orders none of them."""

from collections.abc import Sequence

from msgspec.structs import replace

from nos.autoscaler import counted
from nos.autoscaler.backend import Backend, Group, Instance, Order, OrderRefusedError, State, Survey
from nos.autoscaler.cluster_autoscaler import NAME
from nos.autoscaler.cluster_autoscaler.settings import GroupSettings
from nos.autoscaler.template import layout_problem
from nos.kube.client import Client
from nos.kube.decode.metadata import created


class _NeverOrdered:
    async def increase(self, group: Group, orders: Sequence[Order]) -> None:
        """Always refused."""
        raise _refusal(group, len(orders))

    async def cancel(self, group: Group, instances: Sequence[Instance]) -> None:
        """Always refused."""
        raise _refusal(group, len(instances))

    async def delete(self, group: Group, instances: Sequence[Instance]) -> None:
        """Always refused."""
        raise _refusal(group, len(instances))


class Declared(_NeverOrdered):
    """A backend; see `nos.autoscaler.backend`. The groups that the settings name, with the nodes that they have."""

    name = NAME

    def __init__(self, client: Client, groups: Sequence[GroupSettings]) -> None:
        self._client = client
        self._declared = groups

    async def survey(self) -> Survey:
        """Each group and its Nodes."""
        groups, instances = [], []
        for declared in self._declared:
            with counted.told(f"the nodes of {declared.id}"):
                nodes = await counted.nodes(self._client, declared.node_selector)
            found = [
                Instance(
                    node.metadata.name,
                    declared.id,
                    counted.state_of(node),
                    node.metadata.name,
                    created(node.metadata.creation_timestamp),
                )
                for node in nodes
            ]
            groups.append(_group(declared, sum(one.state is not State.GOING for one in found)))
            instances += found
        return Survey(tuple(groups), tuple(instances))


class Fronted(_NeverOrdered):
    """A backend; see `nos.autoscaler.backend`. What another has, for Cluster Autoscaler to scale (see `Front`)."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name = backend.name

    async def survey(self) -> Survey:
        """What the other says."""
        said = await self._backend.survey()
        return replace(said, groups=tuple(replace(group, by=NAME, names_victims=False) for group in said.groups))


def _refusal(group: Group, count: int) -> OrderRefusedError:
    return OrderRefusedError(f"{group.id}: Cluster Autoscaler alone makes and removes its nodes, so not these {count}")


def _group(declared: GroupSettings, target: int) -> Group:
    template = declared.template.node()
    template.metadata.labels |= declared.node_selector
    return Group(
        declared.id,
        template,
        round(declared.price * 1_000_000),
        target,
        min=declared.min,
        max=declared.max,
        by=NAME,
        names_victims=False,
        problem=layout_problem(template),
    )
