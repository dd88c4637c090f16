"""A backend's groups as Cluster Autoscaler sees them.

It takes the nodes of a group for equal, and keeps for years what it once knew of them, so GPUs that are cut otherwise
are another group. These virtual groups share what the backend's group may have: one that grows leaves the others less.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from nos.autoscaler.backend import Group, Instance, Order, State, Survey
from nos.autoscaler.template import GPU, PRODUCT_LABEL, layout_problem
from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL, Target
from nos.kube.new_node import layout_text
from nos.kube.node import Node
from nos.mig import recognize
from nos.mig.request import RequestError, instances_of

_STANDING = (State.COMING, State.UP)

Layout = tuple[Target, ...]


class NodeGroup(Struct, frozen=True):
    """A virtual group. members: its instances by the provider id of their Nodes, or what stands for one until it is
    there."""

    id: str
    group: Group  # of the backend
    layout: Layout  # empty: GPUs come whole
    template: Node
    target: int
    min: int
    max: int
    members: Mapping[str, Instance]
    problem: str  # why it does not grow


def node_groups(
    name: str, survey: Survey, layouts: Mapping[str, Mapping[str, str]], provider_ids: Mapping[str, str]
) -> dict[str, NodeGroup]:
    """By id, which begins with the backend's name, and for a layout ends with its name.

    layouts: see ClusterAutoscalerSettings. provider_ids: by Node; a Node that has none cannot be told from others by
    the autoscaler, so it counts nowhere.
    """
    found: dict[str, NodeGroup] = {}
    for group in survey.groups:
        of_group = [(provider_id(name, i, provider_ids), i) for i in survey.instances if i.group == group.id]
        members = {key: instance for key, instance in of_group if key}
        hidden = sum(not key and instance.state in _STANDING for key, instance in of_group)
        found |= _virtual(f"{name}/{group.id}", group, layouts.get(group.id, {}), members, hidden, room(group, survey))
    return found


def provider_id(name: str, instance: Instance, provider_ids: Mapping[str, str]) -> str:
    """What the autoscaler calls an instance; empty where it has no way to."""
    return provider_ids.get(instance.node, f"nos://{name}/{instance.id}")


def room(group: Group, survey: Survey) -> int:
    """How many more nodes the backend's group may have."""
    left = group.max - group.target
    for limit, amount in group.uses.items():
        if amount:
            left = min(left, survey.limits.get(limit, 0) // amount)
    return max(0, left)


def _virtual(
    id_: str, group: Group, layouts: Mapping[str, str], members: Mapping[str, Instance], hidden: int, left: int
) -> dict[str, NodeGroup]:
    made: list[NodeGroup] = []
    for label, each in layouts.items():
        layout, problem = _layout(group, each)
        text = layout_text(layout)
        own = {key: one for key, one in members.items() if text and one.layout == text}
        target = sum(one.state in _STANDING for one in own.values())
        template = _cut(group.template, layout)
        made.append(_node_group(f"{id_}@{label}", group, layout, template, target, 0, left, own, problem))
    taken = {key for one in made for key in one.members}
    rest = {key: one for key, one in members.items() if key not in taken}
    others = hidden + sum(one.target for one in made)
    plain = _node_group(
        id_, group, (), group.template, max(0, group.target - others), group.min - others, left, rest, ""
    )
    return {one.id: one for one in [plain, *made]}


def _node_group(
    id_: str,
    group: Group,
    layout: Layout,
    template: Node,
    target: int,
    least: int,
    left: int,
    members: Mapping[str, Instance],
    problem: str,
) -> NodeGroup:
    problem = group.problem or problem
    most = target if problem else target + left
    return NodeGroup(id_, group, layout, template, target, min(max(0, least), most), most, members, problem)


def _layout(group: Group, each: str) -> tuple[Layout, str]:
    """How all GPUs of a node are cut, and why that cannot be."""
    labels = group.template.metadata.labels
    if labels.get(PARTITIONING_LABEL) not in CUT_BY_NOS:
        return (), f"nos does not cut its GPUs: its template has no label {PARTITIONING_LABEL}: mig; add it"
    if problem := layout_problem(group.template):
        return (), problem
    model = recognize(labels[PRODUCT_LABEL])
    assert model
    try:
        instances = instances_of(model, each, f"layouts.{group.id}")
    except RequestError as error:
        return (), str(error)
    count = int(group.template.status.allocatable.get(GPU, "0"))
    if not instances or not count:
        return (), f"layouts.{group.id}: there is nothing to cut; name instances, and {GPU} in its template"
    return ((True, instances),) * count, ""


def _cut(template: Node, layout: Layout) -> Node:
    """The template, with what comes of its GPUs."""
    if not layout:
        return template
    whole = {name: text for name, text in template.status.allocatable.items() if name != GPU}
    parts = {name: str(count) for name, count in Order("", layout=layout).resources().items()}
    return replace(template, status=replace(template.status, allocatable=whole | parts))


def after_increase(survey: Survey, group: Group, orders: Sequence[Order]) -> Survey:
    """What the next survey will say once these are recorded."""
    used = {limit: amount * len(orders) for limit, amount in group.uses.items()}
    new = [Instance(o.request, group.id, State.COMING, layout=layout_text(o.layout)) for o in orders]
    return replace(
        survey,
        groups=_resized(survey, group, len(orders)),
        instances=(*survey.instances, *new),
        limits={limit: left - used.get(limit, 0) for limit, left in survey.limits.items()},
    )


def after_removal(survey: Survey, group: Group, instances: Sequence[Instance]) -> Survey:
    """Likewise, once these are to go."""
    ids = {one.id for one in instances}
    going = [replace(i, state=State.GOING) if i.group == group.id and i.id in ids else i for i in survey.instances]
    fewer = sum(one.state in _STANDING for one in instances)
    return replace(survey, groups=_resized(survey, group, -fewer), instances=tuple(going))


def _resized(survey: Survey, group: Group, by: int) -> tuple[Group, ...]:
    return tuple(replace(g, target=g.target + by) if g.id == group.id else g for g in survey.groups)
