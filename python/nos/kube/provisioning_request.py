"""ProvisioningRequests: who asks whether there is room for Pods that are still to come, and what is answered.

The object as msgspec structs, the PodTemplates that it names, the annotation of Pods that use what it has booked, and
the request that writes its status.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec import DecodeError, Struct, field
from msgspec.json import Decoder, encode
from msgspec.structs import replace

from nos.kube.meta import Metadata as _Metadata
from nos.kube.pod import Metadata as PodMetadata
from nos.kube.pod import Pod, Spec

CHECK_CAPACITY, ATOMIC = "check-capacity.nos.nebuly.com", "atomic.nos.nebuly.com"  # the classes that nos answers
ACCEPTED, PROVISIONED, FAILED = "Accepted", "Provisioned", "Failed"
BOOKING_EXPIRED, CAPACITY_REVOKED = "BookingExpired", "CapacityRevoked"

_GROUP = "/apis/autoscaling.x-k8s.io/v1"
PROVISIONING_REQUESTS = f"{_GROUP}/provisioningrequests"
_CONSUME = (
    "autoscaling.x-k8s.io/consume-provisioning-request",
    "cluster-autoscaler.kubernetes.io/consume-provisioning-request",
)
_MOST = 4096  # characters of a message
_MOST_OF_DETAIL = 32_768  # as the CRD has it


class Metadata(_Metadata, rename="camel"):
    """Which request, in which version, and since when."""

    generation: int = 0
    creation_timestamp: str = ""


class _Reference(Struct):
    name: str = ""


class PodSet(Struct, rename="camel"):
    """So many Pods of a template."""

    count: int = 0
    pod_template_ref: _Reference = field(default_factory=_Reference)


class RequestSpec(Struct, rename="camel"):
    """What is asked for."""

    provisioning_class_name: str = ""
    pod_sets: list[PodSet] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)


class Condition(Struct, rename="camel", frozen=True):
    """One of status.conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class Status(Struct, rename="camel"):
    """What was answered."""

    conditions: list[Condition] = field(default_factory=list)
    provisioning_class_details: dict[str, str] = field(default_factory=dict)


class ProvisioningRequest(Struct):
    """A ProvisioningRequest as the API server sends it."""

    metadata: Metadata
    spec: RequestSpec = field(default_factory=RequestSpec)
    status: Status = field(default_factory=Status)

    @property
    def is_ours(self) -> bool:
        """Whether it is for nos to answer."""
        return self.spec.provisioning_class_name in (CHECK_CAPACITY, ATOMIC)

    @property
    def is_over(self) -> bool:
        """Whether nothing is done for it any more."""
        return any(self.says(kind) for kind in (FAILED, BOOKING_EXPIRED, CAPACITY_REVOKED))

    def condition(self, kind: str) -> Condition:
        """Its condition of that type; an empty one where it has none."""
        return next((c for c in self.status.conditions if c.type == kind), Condition(kind))

    def says(self, kind: str) -> bool:
        """Whether its condition of that type is True."""
        return self.condition(kind).status == "True"


class _TemplateSpec(Spec, rename="camel"):
    priority_class_name: str = ""


class _Template(Struct):
    metadata: PodMetadata = field(default_factory=PodMetadata)
    spec: _TemplateSpec = field(default_factory=_TemplateSpec)


class _PodTemplate(Struct):
    template: _Template = field(default_factory=_Template)


decode_provisioning_request = Decoder(ProvisioningRequest).decode
_pod_template = Decoder(_PodTemplate).decode
_annotations = Decoder(dict[str, str] | None).decode


def request_path(request: ProvisioningRequest, subresource: str = "") -> str:
    """The path of a request, or of one of its subresources."""
    of = request.metadata
    path = f"{_GROUP}/namespaces/{quote(of.namespace, safe='')}/provisioningrequests/{quote(of.name, safe='')}"
    return f"{path}/{subresource}" if subresource else path


def template_path(namespace: str, name: str) -> str:
    """The path of a PodTemplate."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/podtemplates/{quote(name, safe='')}"


def pod_of(template: bytes, namespace: str, name: str) -> tuple[Pod, str]:
    """A Pod as it would be made from a PodTemplate, and its PriorityClass. Raises DecodeError for one that makes no
    sense."""
    found = _pod_template(template).template
    metadata = replace(found.metadata, name=name, namespace=namespace, uid="")
    return Pod(metadata, found.spec), found.spec.priority_class_name


def consumes(pod: Pod) -> str:
    """The namespace/name of the request whose booking the Pod is to use; empty for one that names none."""
    raw = bytes(pod.metadata.annotations)
    if b"consume-provisioning-request" not in raw:
        return ""
    try:
        said = _annotations(raw) or {}
    except DecodeError:
        return ""
    name = next((said[key] for key in _CONSUME if said.get(key)), "")
    return f"{pod.metadata.namespace}/{name}" if name else ""


def answered(request: ProvisioningRequest, kind: str, status: str, reason: str, message: str) -> list[Condition]:
    """Its conditions with this one among them. One that changes no more than its words keeps its time."""
    before = request.condition(kind)
    since = before.last_transition_time if before.status == status else _now()
    said = Condition(kind, status, reason, _cut(message, _MOST), since, request.metadata.generation)
    return [*(c for c in request.status.conditions if c.type != kind), said]


def status_patch(
    request: ProvisioningRequest, conditions: Iterable[Condition], details: Mapping[str, str] | None = None
) -> bytes:
    """A merge patch of the status of a request that is still as we know it; it fails with 409 otherwise."""
    of = request.metadata
    status: dict[str, object] = {"conditions": list(conditions)}
    if details is not None:
        status["provisioningClassDetails"] = {key: value[:_MOST_OF_DETAIL] for key, value in details.items()}
    return encode({"metadata": {"uid": of.uid, "resourceVersion": of.resource_version}, "status": status})


def _cut(said: str, most: int) -> str:
    return said if len(said) <= most else said[: most - 3] + "..."


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
