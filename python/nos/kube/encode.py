"""Decisions to requests: the bodies that nos sends to the API server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec.json import encode

from nos.kube.decision import GPUS_ANNOTATION, INSTANCES_ANNOTATION
from nos.kube.decode import CAPACITY_LABEL

CUTTING = "Repartitioning"  # the code of a Pod whose GPU is being cut
BINDING_VOLUMES = "BindingVolumes"  # and of one whose volumes are being bound
UNSCHEDULABLE = "Unschedulable"
# They have a node, or are about to; their quota or their gang holds them; or nos cannot place them anywhere.
_NO_NODE_HELPS = frozenset(
    (CUTTING, BINDING_VOLUMES, "MakingRoom", "QuotaMax", "QuotaExhausted", "GangTooSmall", "GangInvalid", "Unsupported")
)


def pod_path(namespace: str, name: str, subresource: str = "") -> str:
    """The path of a Pod, or of one of its subresources."""
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
    return f"{path}/{subresource}" if subresource else path


def binding(
    name: str,
    uid: str,
    node: str,
    gpus: Sequence[int] = (),
    instances: Sequence[tuple[int, str, int]] = (),
    *,
    capacity: str = "",
) -> bytes:
    """A Binding under the precondition of the uid; the API server merges its annotations and labels onto the Pod."""
    metadata: dict[str, object] = {"name": name, "uid": uid}
    if capacity:
        metadata["labels"] = {CAPACITY_LABEL: capacity}
    if gpus or instances:
        metadata["annotations"] = ({GPUS_ANNOTATION: gpu_list(gpus)} if gpus else {}) | (
            {INSTANCES_ANNOTATION: instance_list(instances)} if instances else {}
        )
    return encode(
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
    )


def capacity_patch(uid: str, label: str) -> bytes:
    """A merge patch of the Pod with this uid: its capacity label; empty: it has none."""
    return encode({"metadata": {"uid": uid, "labels": {CAPACITY_LABEL: label or None}}})


def instance_list(instances: Sequence[tuple[int, str, int]]) -> str:
    """MIG instances as the annotation has them: `0:3g.40gb@4,1:1g.10gb@0`."""
    return ",".join(f"{gpu}:{profile}@{start}" for gpu, profile, start in sorted(instances))


def gpu_list(gpus: Sequence[int]) -> str:
    """GPU slots as the annotation has them: `0,3`."""
    return ",".join(map(str, sorted(gpus)))


def node_may_help(code: str) -> bool:
    """Whether a Pod that waits for this might run on one more node, as far as the code tells."""
    return code not in _NO_NODE_HELPS


def not_scheduled(uid: str, resource_version: str, reason: str, message: str, *, is_news: bool) -> bytes:
    """A strategic merge patch of a Pod's status: PodScheduled is False, and why.

    Node autoscalers make room for Pods whose reason is UNSCHEDULABLE, and for no others.

    The resourceVersion makes it fail (409) where the Pod has changed meanwhile: a patch that came late must not say
    "unschedulable" of a Pod that was bound. is_news: the condition was not False before.
    """
    condition: dict[str, object] = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    if is_news:
        condition["lastTransitionTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return encode(
        {"metadata": {"uid": uid, "resourceVersion": resource_version}, "status": {"conditions": [condition]}}
    )
