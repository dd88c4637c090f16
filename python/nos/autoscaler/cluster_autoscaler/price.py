"""What nodes and Pods cost, as Cluster Autoscaler wants it: dollars, for a time. Nothing of nos is decided by it."""

import math
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from nos.autoscaler.cluster_autoscaler.core_pb2 import Pod
from nos.autoscaler.cluster_autoscaler.node_groups import NodeGroup
from nos.kube.quantity import nano

_MICRO = 1_000_000


def of_node(group: NodeGroup, start: Timestamp, end: Timestamp) -> float:
    """Of a node of the group."""
    return group.group.price / _MICRO * _hours(start, end)


def of_pod(pod: Pod, groups: Iterable[NodeGroup], start: Timestamp, end: Timestamp) -> float | None:
    """Of the share that it needs of a node, where that is cheapest; nothing where no node has all it asks for."""
    asked: dict[str, int] = {}
    for container in pod.spec.containers:
        for name, amount in container.resources.requests.items():
            asked[name] = asked.get(name, 0) + nano(amount.text)
    prices = [group.group.price * share for group in groups if (share := _share(asked, group)) <= 1]
    return min(prices) / _MICRO * _hours(start, end) if prices else None


def _share(asked: dict[str, int], group: NodeGroup) -> float:
    offered = group.template.status.allocatable
    shares = []
    for name, amount in asked.items():
        there = nano(offered.get(name, "0"))
        shares.append(amount / there if there else math.inf if amount else 0.0)
    return max(shares, default=0.0)


def _hours(start: Timestamp, end: Timestamp) -> float:
    return (end.ToNanoseconds() - start.ToNanoseconds()) / 3_600_000_000_000
