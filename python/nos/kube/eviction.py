"""What makes a Pod go: its eviction, or its deletion, and what it is told; and the node that it is to have instead.

The API server writes the condition DisruptionTarget at an Eviction by itself, with a reason that says no more than
that; so ours is written after it, and before a deletion.
"""

from datetime import UTC, datetime

from msgspec.json import encode

from nos.kube.errors import ApiError

_BY_BUDGET = "DisruptionBudget"  # cause of a 429 that means not too many requests, but too many evictions
_TOO_MANY_BUDGETS = "more than one PodDisruptionBudget"


def eviction(namespace: str, name: str, uid: str) -> bytes:
    """An Eviction under the precondition of the uid."""
    return encode(
        {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
    )


def deletion(uid: str) -> bytes:
    """DeleteOptions under the precondition of the uid."""
    return encode({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}})


def disruption(uid: str, message: str) -> bytes:
    """A strategic merge patch of a Pod's status, as kube-scheduler writes it on whom it preempts."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": message,
        "lastTransitionTime": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
    }
    return encode({"metadata": {"uid": uid}, "status": {"conditions": [condition]}})


def nomination(uid: str, node: str) -> bytes:
    """A strategic merge patch of a Pod's status: room is made for it on that node; empty: nowhere."""
    return encode({"metadata": {"uid": uid}, "status": {"nominatedNodeName": node or None}})


def is_refused_by_budget(error: ApiError) -> bool:
    """Whether it is a PodDisruptionBudget that does not let the Pod go. One with two budgets is never evicted."""
    by_one = error.status == 429 and _BY_BUDGET in error.causes
    return by_one or (error.status == 500 and _TOO_MANY_BUDGETS in error.message)
