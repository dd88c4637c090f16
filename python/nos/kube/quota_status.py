"""What is written of a quota: its status."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.json import encode

from nos.kube.quantity import text
from nos.kube.quota import READY, Condition, Quota, Status

_MOST = 4096  # characters of a text, as the CRDs have it


class Use(NamedTuple):
    """What is used under a quota and what it is bound by, in the core's units."""

    used: Mapping[str, int]
    min: Mapping[str, int]
    max: Mapping[str, int]


NO_USE = Use({}, {}, {})


def status(quota: Quota, use: Use, *, ready: bool, reason: str, message: str) -> Status:
    """The status that the quota is to have. It is the one that it has where nothing has changed."""
    before = quota.status.ready
    is_ready, generation = "True" if ready else "False", quota.metadata.generation
    since = before.last_transition_time if before.status == is_ready else _now()
    condition = Condition(READY, is_ready, reason, _cut(message), generation, since)
    others = tuple(c for c in quota.status.conditions if c.type != READY)
    used: dict[str, str | int] = {r: text(r, use.used.get(r, 0)) for r in sorted({*use.min, *use.max})}
    return Status(generation, used, _cut(_usage(use)), (*others, condition))


def differs(quota: Quota, wanted: Status) -> bool:
    """Whether it has to be written."""
    has = quota.status
    as_text = {resource: str(amount) for resource, amount in (has.used or {}).items()}
    return (has.observed_generation, as_text, has.usage, set(has.conditions)) != (
        wanted.observed_generation,
        wanted.used,
        wanted.usage,
        set(wanted.conditions),
    )


def status_patch(quota: Quota, wanted: Status) -> bytes:
    """A merge patch that writes it if the quota is still as we know it, and fails with 409 otherwise."""
    gone = dict.fromkeys((quota.status.used or {}).keys() - (wanted.used or {}).keys())
    body = {
        "observedGeneration": wanted.observed_generation,
        "used": gone | (wanted.used or {}),
        "usage": wanted.usage,
        "conditions": wanted.conditions,
    }
    of = quota.metadata
    return encode({"metadata": {"uid": of.uid, "resourceVersion": of.resource_version}, "status": body})


def _usage(use: Use) -> str:
    """For people: `gpu 6/4, gpu-memory 40/80 (max 100)`: used, of min."""
    return ", ".join(
        short(resource)
        + f" {text(resource, use.used.get(resource, 0))}"
        + (f"/{text(resource, use.min[resource])}" if resource in use.min else "")
        + (f" (max {text(resource, use.max[resource])})" if resource in use.max else "")
        for resource in sorted({*use.min, *use.max}, key=short)
    )


def short(resource: str) -> str:
    """A resource's name in a line for people: the domains that nos is about go without saying."""
    for domain in ("nos.nebuly.com/", "nvidia.com/"):
        resource = resource.removeprefix(domain)
    return resource


def _cut(said: str) -> str:
    return said if len(said) <= _MOST else said[: _MOST - 3] + "..."


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
