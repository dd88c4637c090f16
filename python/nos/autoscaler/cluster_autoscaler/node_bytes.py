"""A Node in the form that Kubernetes has for programs, for the autoscaler to try Pods on."""

import re

from nos.autoscaler.cluster_autoscaler import core_pb2 as core
from nos.kube.node import Node

GROUP_ANNOTATION = "nos.nebuly.com/group"  # on a template: the group whose nodes are like that


def node_bytes(group: str, template: Node) -> bytes:
    """A ready node of that template. It says which group's it is."""
    amounts = {name: core.Quantity(text=text) for name, text in template.status.allocatable.items()}
    node = core.Node(
        metadata=core.Metadata(
            name=_name(group),
            labels=template.metadata.labels,
            annotations={**template.metadata.annotations, GROUP_ANNOTATION: group},
        ),
        spec=core.NodeSpec(
            taints=[core.Taint(key=t.key, value=t.value, effect=t.effect) for t in template.spec.taints]
        ),
        status=core.NodeStatus(
            capacity=amounts,
            allocatable=amounts,
            conditions=[core.Condition(type="Ready", status="True", reason="Template")],
        ),
    )
    return node.SerializeToString(deterministic=True)


def _name(group: str) -> str:
    """A name that a Node may have."""
    return ("nos-" + re.sub(r"[^a-z0-9]+", "-", group.lower())).strip("-")[:253].rstrip("-")
