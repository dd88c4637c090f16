"""Nodes from anything with a scale subresource: its number of replicas is raised, and nodes come of it.

Which nodes those are is told by their labels. Nobody can tell such a thing which of its nodes is to go, so nos never
lowers the number: it only raises it.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from nos.autoscaler import counted
from nos.autoscaler.backend import BackendError, Group, Instance, Order, OrderRefusedError, State, Survey
from nos.autoscaler.template import TemplateSettings, layout_problem
from nos.kube.client import Client
from nos.kube.decode.metadata import created
from nos.kube.scale import read_scale, resource_path

_Name = Annotated[str, Meta(min_length=1, max_length=253)]


class ScaleTarget(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """An object with a scale. node_selector: the labels by which its nodes are known. price: dollars per hour."""

    api_version: _Name
    kind: _Name
    name: _Name
    max: Annotated[int, Meta(ge=0, le=1_000_000)]
    price: Annotated[float, Meta(ge=0, le=1_000_000)]
    node_selector: Annotated[dict[str, str], Meta(min_length=1)]
    template: TemplateSettings
    namespace: str = ""
    min: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    boot_seconds: Annotated[float, Meta(gt=0, le=604_800)] = 900.0

    def __post_init__(self) -> None:
        for key, value in self.node_selector.items():
            if self.template.labels.get(key, value) != value:
                raise ValueError(f"{self.title}: nodeSelector and template.labels do not agree on {key}")

    @property
    def id(self) -> str:
        """Unique among the targets."""
        return "/".join(filter(None, (self.kind, self.namespace, self.name)))

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.kind} {'/'.join(filter(None, (self.namespace, self.name)))}"


class ScaleSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """What is scaled."""

    targets: Annotated[tuple[ScaleTarget, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for target in self.targets:
            if target.id in seen:
                raise ValueError(f"targets: {target.title} is there twice; give each once")
            seen.add(target.id)


class Scaled:
    """A backend; see `nos.autoscaler.backend`."""

    name = "scale"

    def __init__(self, client: Client, settings: ScaleSettings) -> None:
        self._client = client
        self._targets = {target.id: target for target in settings.targets}
        self._paths: dict[str, str] = {}

    async def survey(self) -> Survey:
        """Each target and its nodes. One that cannot be read is a problem of its own group, and so is a node of two."""
        groups: list[Group] = []
        instances: dict[str, Instance] = {}
        shared: dict[str, str] = {}
        for target in self._targets.values():
            try:
                replicas, problem, found = await self._read(target)
            except BackendError as error:
                groups.append(_group(target, 0, str(error)))
                continue
            groups.append(_group(target, replicas, problem))
            for one in found:
                if (first := instances.setdefault(one.id, one)) is not one:
                    why = f"node {one.id} has the labels of {first.group} and {one.group}; correct their nodeSelectors"
                    shared |= {first.group: why, one.group: why}
        said = (replace(group, problem=group.problem or shared.get(group.id, "")) for group in groups)
        return Survey(tuple(said), tuple(instances.values()))

    async def increase(self, group: Group, orders: Sequence[Order]) -> None:
        """Raises the number from that which was surveyed."""
        with counted.told(group.object):
            path = await self._path(self._targets[group.id])
            await counted.raise_to(self._client, path, group.object, group.target, len(orders))

    async def cancel(self, group: Group, instances: Sequence[Instance]) -> None:
        """Always refused: with a lower number a node might go that is in use."""
        raise _cannot_choose(group, instances)

    async def delete(self, group: Group, instances: Sequence[Instance]) -> None:
        """Always refused, likewise."""
        raise _cannot_choose(group, instances)

    async def _read(self, target: ScaleTarget) -> tuple[int, str, list[Instance]]:
        with counted.told(target.title):
            path = await self._path(target)
            problem = await counted.problem_of(self._client, path)
            scale = await read_scale(self._client, path)
            there = await counted.nodes(self._client, target.node_selector)
        instances = [
            Instance(
                node.metadata.name,
                target.id,
                counted.state_of(node),
                node.metadata.name,
                created(node.metadata.creation_timestamp),
            )
            for node in there
        ]
        staying = sum(instance.state is not State.GOING for instance in instances)
        return scale.spec.replicas, problem, instances + counted.missing(target.id, scale.spec.replicas, staying)

    async def _path(self, target: ScaleTarget) -> str:
        if target.id not in self._paths:
            of = target.api_version, target.kind, target.namespace, target.name
            self._paths[target.id] = await resource_path(self._client, *of)
        return self._paths[target.id]


def _cannot_choose(group: Group, instances: Sequence[Instance]) -> OrderRefusedError:
    named = ", ".join(instance.id for instance in instances)
    return OrderRefusedError(f"{group.object} cannot be told that {named} is to go, and no other")


def _group(target: ScaleTarget, replicas: int, problem: str = "") -> Group:
    template = target.template.node()
    template.metadata.labels |= target.node_selector
    return Group(
        target.id,
        template,
        round(target.price * 1_000_000),
        replicas,
        min=target.min,
        max=target.max,
        object=target.title,
        names_victims=False,
        boot_seconds=target.boot_seconds,
        problem=problem or layout_problem(template),
    )
