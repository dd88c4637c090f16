"""Events about Pods, as events.k8s.io/v1 has them. What goes on happening is one object, with a series that counts."""

import secrets
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec.json import encode

_NOTE_BYTES = 1024  # the API server refuses a longer note


def event_name(pod: str) -> str:
    """A name that no other Event has."""
    return f"{pod[:200]}.{secrets.token_hex(8)}"


def events_path(namespace: str, name: str = "") -> str:
    """The path of the Events of a namespace, or of one of them."""
    path = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events"
    return f"{path}/{quote(name, safe='')}" if name else path


def event(
    namespace: str,
    pod: str,
    uid: str,
    *,
    name: str,
    at: datetime,
    reporter: str,
    type_: str,
    reason: str,
    action: str,
    note: str,
    related: tuple[str, str, str] | None = None,
    count: int = 1,
    last: datetime | None = None,
) -> bytes:
    """The body that creates an Event of this name about a Pod. related: namespace, name and uid of another.

    at: when it happened first. count: how often it has happened, `last` for the last time.
    """
    body: dict[str, object] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": name},
        "eventTime": _text(at),
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
    if count > 1:
        body["series"] = _series(count, last or at)
    return encode(body)


def series_patch(count: int, last: datetime) -> bytes:
    """A merge patch of an Event that happened again: now count times, which are two at least."""
    return encode({"series": _series(count, last)})


def _series(count: int, last: datetime) -> dict[str, object]:
    return {"count": count, "lastObservedTime": _text(last)}


def _pod(namespace: str, name: str, uid: str) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid}


def _shortened(note: str) -> str:
    text = note.encode()
    return note if len(text) <= _NOTE_BYTES else text[: _NOTE_BYTES - 3].decode(errors="ignore") + "..."


def _text(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
