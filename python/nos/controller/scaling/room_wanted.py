"""What a ProvisioningRequest asks for: its PodTemplates and what they name, read when it is looked at first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import DecodeError

from nos.controller.ledger import Ledger
from nos.controller.scaling.bookings import Wanted
from nos.kube.client import Client
from nos.kube.decode import created
from nos.kube.errors import ApiError
from nos.kube.pod import Pod
from nos.kube.podgroup import Says, Terms, agreed, membership
from nos.kube.priority_class import PRIORITY_CLASSES, decode_priorities
from nos.kube.provisioning_request import ProvisioningRequest, pod_of, template_path

_LATE_S = 60.0  # that what a request names may come later than the request
_MOST_PODS = 10_000  # of one request


class Refusal(Exception):  # noqa: N818
    """Nothing can come of a request: in a word, and in words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NotYet(Refusal):
    """Likewise, but that may pass."""


async def read(client: Client, ledger: Ledger, request: ProvisioningRequest) -> tuple[list[Wanted], Terms]:
    """Its pod sets, and where all its Pods have to be together. Raises Refusal, and what a Client does."""
    pod_sets = request.spec.pod_sets
    if (count := sum(pod_set.count for pod_set in pod_sets)) > _MOST_PODS:
        raise Refusal("TooManyPods", f"It asks for {count} Pods; nos books room for {_MOST_PODS} at most")
    priorities = decode_priorities(await client.request("GET", PRIORITY_CLASSES))
    wanted = []
    for pod_set in pod_sets:
        pod, priority_class = await _pod(client, request, pod_set.pod_template_ref.name)
        if not ledger.pods.is_for_us(pod):
            words = f"The Pods of PodTemplate {pod_set.pod_template_ref.name} name the scheduler"
            raise Refusal(
                "OtherScheduler", f"{words} {pod.spec.scheduler_name}, and room is booked by that which they name"
            )
        if priority_class not in priorities:
            raise _absent(request, "NoPriorityClass", f"There is no PriorityClass {priority_class}")
        wanted.append(Wanted(pod, pod_set.count, priorities[priority_class], {}))
    return wanted, _terms(ledger, [each.pod for each in wanted])


def age(timestamp: str) -> float:
    """In seconds; what has no time is old."""
    return datetime.now(UTC).timestamp() - created(timestamp)


async def _pod(client: Client, request: ProvisioningRequest, template: str) -> tuple[Pod, str]:
    """A Pod of a template, and its PriorityClass."""
    namespace = request.metadata.namespace
    try:
        return pod_of(await client.request("GET", template_path(namespace, template)), namespace, request.metadata.name)
    except ApiError as error:
        if error.status != 404:
            raise
        raise _absent(request, "NoPodTemplate", f"There is no PodTemplate {template} in {namespace}") from None
    except DecodeError as error:
        raise Refusal("PodTemplateInvalid", f"PodTemplate {template} makes no sense: {error}") from None


def _terms(ledger: Ledger, pods: Sequence[Pod]) -> Terms:
    """What their gang says of where they have to be, if all are of one."""
    found = [membership(pod) for pod in pods]
    groups = {member.group for member in found if member}
    if len(groups) != 1 or None in found:
        return Terms(0)
    (group,) = groups
    if known := ledger.gangs.groups.known.get(group):
        return known.terms
    says = [(member.says or Says())._replace(min_members=1) for member in found if member]
    return agreed((pod.metadata.name, one) for pod, one in zip(pods, says, strict=True))


def _absent(request: ProvisioningRequest, reason: str, message: str) -> Refusal:
    is_late = age(request.metadata.creation_timestamp) >= _LATE_S
    return (Refusal if is_late else NotYet)(reason, message)
