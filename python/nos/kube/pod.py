"""The few fields of a Pod that scheduling needs, as msgspec structs over the API server's JSON.

Parts that repeat from Pod to Pod stay raw bytes: they are the key under which `decode` remembers their meaning. A Raw
points into the buffer that it came from, so no struct of this module may outlive the event that it was decoded from.
"""

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

NOTHING = Raw(b"null")
PODS = "/api/v1/pods"


class Metadata(Struct, rename="camel", gc=False):
    """Who the Pod is. Labels and annotations may be large and are rarely needed: raw."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Raw = NOTHING
    annotations: Raw = NOTHING
    owner_references: Raw = NOTHING


class Container(Struct, rename="camel", gc=False):
    """A container or init container."""

    name: str = ""
    image: str = ""
    resources: Raw = NOTHING
    ports: Raw = NOTHING
    restart_policy: str | None = None
    restart_policy_rules: Raw = NOTHING
    volume_mounts: Raw = NOTHING


class Spec(Struct, rename="camel"):
    """What was asked for."""

    node_name: str = ""
    scheduler_name: str = ""
    priority: int | None = None
    preemption_policy: str | None = None
    containers: list[Container] = field(default_factory=list)
    init_containers: list[Container] = field(default_factory=list)
    ephemeral_containers: list[Container] = field(default_factory=list)
    volumes: list[dict[str, Raw]] = field(default_factory=list)
    scheduling_gates: list[Raw] = field(default_factory=list)
    node_selector: Raw = NOTHING
    affinity: Raw = NOTHING
    tolerations: Raw = NOTHING
    topology_spread_constraints: Raw = NOTHING
    resource_claims: list[Raw] = field(default_factory=list)
    scheduling_group: Raw = NOTHING
    resources: Raw = NOTHING
    overhead: Raw = NOTHING
    host_network: bool = False
    host_users: bool | None = None


class Condition(Struct, rename="camel", gc=False):
    """One of status.conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class ContainerStatus(Struct, rename="camel", gc=False):
    """What the kubelet gave a container; differs from the spec while a resize is under way."""

    name: str = ""
    allocated_resources: Raw = NOTHING
    resources: Raw = NOTHING


class Status(Struct, rename="camel"):
    """What became of it."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    nominated_node_name: str = ""
    conditions: list[Condition] = field(default_factory=list)
    container_statuses: list[ContainerStatus] = field(default_factory=list)
    init_container_statuses: list[ContainerStatus] = field(default_factory=list)
    allocated_resources: Raw = NOTHING
    resources: Raw = NOTHING


class Pod(Struct):
    """A Pod as the API server sends it."""

    metadata: Metadata
    spec: Spec
    status: Status = field(default_factory=Status)


class _ListMeta(Struct):
    continue_: str = field(default="", name="continue")


class _List(Struct):
    metadata: _ListMeta = field(default_factory=_ListMeta)
    items: list[Pod] = field(default_factory=list)


decode_pod = Decoder(Pod).decode
_pods = Decoder(_List).decode


def decode_pods(raw: bytes) -> tuple[list[Pod], str]:
    """A page of a list of Pods, and the token of the next one; empty after the last."""
    page = _pods(raw)
    return page.items, page.metadata.continue_


def pods_path(namespace: str) -> str:
    """The path of the Pods of a namespace."""
    return f"/api/v1/namespaces/{namespace}/pods"
