"""Decisions to requests: the bodies that nos sends to the API server."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec.json import encode

from nos.kube.decode import CAPACITY_LABEL, GPUS_ANNOTATION, INSTANCES_ANNOTATION

CUTTING = "Repartitioning"  # the code of a Pod whose GPU is being cut
BINDING_VOLUMES = "BindingVolumes"  # and of one whose volumes are being bound
# They have a node, or are about to; their quota or their gang holds them; or nos cannot place them anywhere.
_NO_NODE_HELPS = frozenset(
    (CUTTING, BINDING_VOLUMES, "MakingRoom", "QuotaMax", "QuotaExhausted", "GangTooSmall", "GangInvalid", "Unsupported")
)
_NOTE_BYTES = 1024  # events.k8s.io refuses a longer note


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


def not_scheduled(uid: str, resource_version: str, code: str, message: str, *, is_news: bool) -> bytes:
    """A strategic merge patch of a Pod's status: PodScheduled is False, and why.

    Node autoscalers make room for Pods whose reason is Unschedulable. Whom no node helps carries its code instead.

    The resourceVersion makes it fail (409) where the Pod has changed meanwhile: a patch that came late must not say
    "unschedulable" of a Pod that was bound. is_news: the condition was not False before.
    """
    condition: dict[str, object] = {
        "type": "PodScheduled",
        "status": "False",
        "reason": code if code in _NO_NODE_HELPS else "Unschedulable",
        "message": message,
    }
    if is_news:
        condition["lastTransitionTime"] = _text(datetime.now(UTC), "seconds")
    return encode(
        {"metadata": {"uid": uid, "resourceVersion": resource_version}, "status": {"conditions": [condition]}}
    )


def event(
    namespace: str,
    pod: str,
    uid: str,
    *,
    at: datetime,
    reporter: str,
    type_: str,
    reason: str,
    action: str,
    note: str,
    related: tuple[str, str, str] | None = None,
) -> tuple[str, bytes]:
    """The path and body that create an events.k8s.io Event about a Pod. related: namespace, name and uid of another."""
    body: dict[str, object] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": f"{pod[:200]}.{secrets.token_hex(8)}"},
        "eventTime": _text(at, "microseconds"),
        "reportingController": "nos-scheduler",
        "reportingInstance": reporter[:128],
        "action": action,
        "reason": reason,
        "type": type_,
        "note": _shortened(note),
        "regarding": _pod(namespace, pod, uid),
    }
    if related:
        body["related"] = _pod(*related)
    return f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events", encode(body)


def _pod(namespace: str, name: str, uid: str) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid}


def _shortened(note: str) -> str:
    text = note.encode()
    return note if len(text) <= _NOTE_BYTES else text[: _NOTE_BYTES - 3].decode(errors="ignore") + "..."


def _text(at: datetime, precision: str) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"
