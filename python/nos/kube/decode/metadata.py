"""Who a Pod is: its labels, its age, and what controls it."""

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct
from msgspec.json import Decoder

from nos import _core
from nos.kube.pod import Pod


class Owner(NamedTuple):
    """What a Pod's controller is."""

    api_version: str
    kind: str
    name: str


class _Reference(Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    controller: bool | None = None


CAPACITY_LABEL = "nos.nebuly.com/capacity"
IN_QUOTA, OVER_QUOTA = "in-quota", "over-quota"  # its values

_labels = Decoder(dict[str, str] | None).decode
_references = Decoder(list[_Reference] | None).decode


def labels(raw: bytes) -> dict[str, str]:
    """Labels out of their JSON."""
    return _labels(raw) or {}


def pod_labels(pod: Pod) -> _core.PodLabels:
    """What selectors see of a Pod; equal ones are one object."""
    return _pod_labels(pod.metadata.namespace, bytes(pod.metadata.labels))


def capacity(pod: Pod) -> str:
    """What the Pod says of its quota; empty where it says nothing."""
    raw = bytes(pod.metadata.labels)
    return labels(raw).get(CAPACITY_LABEL, "") if CAPACITY_LABEL.encode() in raw else ""


def controller(pod: Pod) -> Owner | None:
    """The one owner that controls the Pod."""
    return _controller(bytes(pod.metadata.owner_references))


def created(timestamp: str | None) -> int:
    """A creationTimestamp in seconds; 0 where there is none."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp()) if timestamp else 0
    except ValueError:
        return 0


@lru_cache(maxsize=4096)
def _pod_labels(namespace: str, raw: bytes) -> _core.PodLabels:
    return _core.PodLabels(namespace, labels(raw))


@lru_cache(maxsize=4096)
def _controller(raw: bytes) -> Owner | None:
    owner = next((r for r in _references(raw) or () if r.controller), None)
    return Owner(owner.api_version, owner.kind, owner.name) if owner else None
