"""What selects Pods: Services, and the controllers that make them. Only the selectors are kept."""

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from nos.kube.meta import Metadata
from nos.kube.selectors import LabelSelector, Requirement, equal

SERVICES = "/api/v1/services"
REPLICATION_CONTROLLERS = "/api/v1/replicationcontrollers"
REPLICA_SETS = "/apis/apps/v1/replicasets"
STATEFUL_SETS = "/apis/apps/v1/statefulsets"


class Workload(Struct, frozen=True):
    """One that selects Pods of its namespace: those for which all requirements hold, none where there are none."""

    metadata: Metadata
    requirements: tuple[Requirement, ...]


class _MapSpec(Struct):
    selector: dict[str, str] | None = None


class _ByMap(Struct):
    metadata: Metadata
    spec: _MapSpec = field(default_factory=_MapSpec)


class _SelectorSpec(Struct):
    selector: LabelSelector | None = None


class _BySelector(Struct):
    metadata: Metadata
    spec: _SelectorSpec = field(default_factory=_SelectorSpec)


_by_map = Decoder(_ByMap).decode
_by_selector = Decoder(_BySelector).decode


def decode_by_map(raw: bytes | Raw) -> Workload:
    """A Service or ReplicationController."""
    found = _by_map(raw)
    return Workload(found.metadata, tuple(equal(found.spec.selector or {})))


def decode_by_selector(raw: bytes | Raw) -> Workload:
    """A ReplicaSet or StatefulSet."""
    found = _by_selector(raw)
    return Workload(found.metadata, found.spec.selector.requirements() if found.spec.selector else ())
