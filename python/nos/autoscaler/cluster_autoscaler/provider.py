"""Cluster Autoscaler's external cloud provider, in front of a backend.

Each method answers one of its calls, from what is at hand.
"""

import itertools

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from nos.autoscaler.backend import Instance, State
from nos.autoscaler.cluster_autoscaler import price
from nos.autoscaler.cluster_autoscaler import provider_pb2 as wire
from nos.autoscaler.cluster_autoscaler.core_pb2 import Pod
from nos.autoscaler.cluster_autoscaler.front import Front, FrontError, Why
from nos.autoscaler.cluster_autoscaler.node_bytes import GROUP_ANNOTATION, node_bytes
from nos.autoscaler.cluster_autoscaler.node_groups import NodeGroup

# A node with this label is unready for the autoscaler until it has whole GPUs, and unused while nobody has one of them.
# With all of them cut that is forever and always, so no node has it.
GPU_LABEL = "nos.nebuly.com/counted-by-whole-gpus"

_STATES = {
    State.COMING: wire.Instance.CREATING,
    State.UP: wire.Instance.RUNNING,
    State.GOING: wire.Instance.DELETING,
    State.FAILED: wire.Instance.CREATING,  # with a failure; the autoscaler looks for one in that state alone
}
_OUT_OF_RESOURCES = 1  # makes it leave the group alone for a while
_NOTHING = wire.Nothing()


class Provider:
    """Raises FrontError."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def groups(self, _: wire.Nothing) -> wire.Groups:
        """All groups."""
        return wire.Groups(groups=map(_group, self._front.groups().values()))

    async def group_of_node(self, question: wire.OfNode) -> wire.GroupOfNode:
        """Whose node it is; an empty group where the autoscaler is to leave it alone."""
        found = self._front.of_node(question.node.provider_id, question.node.name)
        return wire.GroupOfNode(group=_group(found) if found else wire.Group())

    async def node_price(self, question: wire.NodePrice) -> wire.Price:
        """Of a node that is there, or of a template."""
        node = question.node
        group = self._front.of_node(node.provider_id, node.name) if node.provider_id else None
        group = group or self._front.group(node.annotations.get(GROUP_ANNOTATION, ""))
        return wire.Price(dollars=price.of_node(group, *_span(question)))

    async def pod_price(self, question: wire.PodPrice) -> wire.Price:
        """Of a Pod where it is cheapest."""
        try:
            pod = Pod.FromString(question.pod or question.pod_before)
            dollars = price.of_pod(pod, self._front.groups().values(), *_span(question))
        except (DecodeError, ValueError) as error:
            raise FrontError(Why.WRONG, f"the Pod cannot be read: {error}") from None
        if dollars is None:
            raise FrontError(Why.UNKNOWN, f"no node group has all that {pod.metadata.name} asks for")
        return wire.Price(dollars=dollars)

    async def gpu_label(self, _: wire.Nothing) -> wire.Label:
        """A label that no node has."""
        return wire.Label(label=GPU_LABEL)

    async def nothing(self, _: wire.Nothing) -> wire.Nothing:
        """There is nothing to say or do."""
        return _NOTHING

    async def refresh(self, _: wire.Nothing) -> wire.Nothing:
        """Survey soon. Refused while the last survey is too old: the autoscaler is to do nothing then."""
        self._front.refresh()
        self._front.groups()
        return _NOTHING

    async def size(self, question: wire.OfGroup) -> wire.Size:
        """How many nodes are wanted now."""
        return wire.Size(target=self._front.group(question.id).target)

    async def increase(self, change: wire.Change) -> wire.Nothing:
        """More nodes."""
        await self._front.increase(change.id, change.delta)
        return _NOTHING

    async def decrease(self, change: wire.Change) -> wire.Nothing:
        """Fewer orders; the number is negative."""
        await self._front.decrease(change.id, change.delta)
        return _NOTHING

    async def delete(self, deletion: wire.Deletion) -> wire.Nothing:
        """These nodes go."""
        await self._front.delete(deletion.id, [(node.provider_id, node.name) for node in deletion.nodes])
        return _NOTHING

    async def instances(self, question: wire.OfGroup) -> wire.Instances:
        """The nodes of a group, and those that are to come."""
        members = self._front.group(question.id).members
        return wire.Instances(instances=itertools.starmap(_instance, members.items()))

    async def template(self, question: wire.OfGroup) -> wire.Template:
        """A node as it will be."""
        group = self._front.group(question.id)
        node = node_bytes(group.id, group.template)
        return wire.Template(node_before=node, node=node)

    async def options(self, question: wire.OptionsQuestion) -> wire.OptionsAnswer:
        """What the autoscaler has set for all, but each group has its own time to boot."""
        seconds = self._front.group(question.id).group.boot_seconds
        options = wire.Options()
        options.CopyFrom(question.defaults)  # what nos does not know stays as it is
        nanoseconds = round(seconds * 1_000_000_000)
        for name in ("unneeded", "unready"):
            old, new = getattr(options, f"{name}_before"), getattr(options, name)
            if options.HasField(name):
                old.nanoseconds = new.ToNanoseconds()
            elif options.HasField(f"{name}_before"):
                new.FromNanoseconds(old.nanoseconds)
        options.provision_before.nanoseconds = nanoseconds
        options.provision.FromNanoseconds(nanoseconds)
        return wire.OptionsAnswer(options=options)


def _span(question: wire.NodePrice | wire.PodPrice) -> tuple[Timestamp, Timestamp]:
    start = question.start if question.HasField("start") else question.start_before
    return start, question.end if question.HasField("end") else question.end_before


def _group(group: NodeGroup) -> wire.Group:
    debug = f"{group.target} nodes, at most {group.max}, ${group.group.price / 1_000_000:.2f} per hour each"
    return wire.Group(
        id=group.id, min=group.min, max=group.max, debug=f"{debug}; {group.problem}" if group.problem else debug
    )


def _instance(id_: str, instance: Instance) -> wire.Instance:
    status = wire.Instance.Status(state=_STATES[instance.state])
    if instance.state is State.FAILED:
        status.failure.CopyFrom(
            wire.Instance.Failure(
                code="NodeNotMade", message=instance.message or "no word of why", kind=_OUT_OF_RESOURCES
            )
        )
    return wire.Instance(id=id_, status=status)
