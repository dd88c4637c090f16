"""JSON to core: what a Pod or a Node means to the scheduler.

In comes a decoded struct, out goes a value of `nos._core`. Pods of one template differ only in names, so the meaning of
a spec is remembered under the raw bytes that decide it, and equal Pods share one PodSpec: the core then scores them
once. A spec that the core refuses (absurd quantities, unknown operators) never raises here: a waiting Pod becomes one
that waits with a Reason, a bound one counts as much as can be counted, and a node takes no newcomers.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
from msgspec import Struct, field
from msgspec.json import Decoder

from nos import _core
from nos.kube.node import Node
from nos.kube.pod import Container, Pod
from nos.kube.quantity import nano, units
from nos.kube.requests import Ask, Resources, effective_requests
from nos.kube.requests import Container as ContainerAsk
from nos.kube.unsupported import unsupported

GPUS_ANNOTATION = "nos.nebuly.com/gpus"
INSTANCES_ANNOTATION = "nos.nebuly.com/instances"

_log = logging.getLogger(__name__)
_GPU, _MIG = "nvidia.com/gpu", "nvidia.com/mig-"
_MOST = 2**50  # of any resource, as far as the core counts
_MOST_GPUS = 65_535
_PLACEMENT = re.compile(r"([0-9]{1,4}):([0-9a-z.+-]{1,32})@([0-9]{1,2})")


class _Requirements(Struct):
    requests: dict[str, str] | None = None


class _Port(Struct, rename="camel"):
    container_port: int = 0
    host_port: int = 0
    protocol: str = "TCP"
    host_ip: str = field(default="", name="hostIP")


class _Toleration(Struct):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


class _Requirement(Struct):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class _Term(Struct, rename="camel"):
    match_expressions: list[_Requirement] | None = None
    match_fields: list[_Requirement] | None = None


class _NodeSelector(Struct, rename="camel"):
    node_selector_terms: list[_Term] | None = None


class _NodeAffinity(Struct, rename="camel"):
    required_during_scheduling_ignored_during_execution: _NodeSelector | None = None


class _Affinity(Struct, rename="camel"):
    node_affinity: _NodeAffinity | None = None


class _Decision(Struct):
    gpus: str = field(default="", name=GPUS_ANNOTATION)
    instances: str = field(default="", name=INSTANCES_ANNOTATION)


_decision = Decoder(_Decision).decode
_requirements = Decoder(_Requirements | None).decode
_quantities = Decoder(dict[str, str] | None).decode
_ports = Decoder(list[_Port] | None).decode
_tolerations = Decoder(list[_Toleration] | None).decode
_labels = Decoder(dict[str, str] | None).decode
_affinity = Decoder(_Affinity | None).decode

# The bytes of one container that matter: resources, ports, sidecar or not; allocated and given, of a Pod on a node.
_ContainerKey = tuple[bytes, bytes, bool, bytes, bytes]


def waiting_spec(pod: Pod) -> _core.PodSpec:
    """What a Pod that waits for a node asks for."""
    spec = pod.spec
    return _waiting_spec(
        tuple(map(_key, spec.containers)),
        tuple(map(_key, spec.init_containers)),
        bytes(spec.overhead),
        bytes(spec.resources),
        bytes(spec.node_selector),
        bytes(spec.affinity),
        bytes(spec.tolerations),
        unsupported(pod),
    )


def bound_spec(pod: Pod) -> _core.PodSpec:
    """What a Pod that has a node takes there: requests, allocations and host ports."""
    spec, status = pod.spec, pod.status
    given = {s.name: (bytes(s.allocated_resources), bytes(s.resources)) for s in status.container_statuses}
    given |= {s.name: (bytes(s.allocated_resources), bytes(s.resources)) for s in status.init_container_statuses}
    pending = next((c.reason for c in status.conditions if c.type == "PodResizePending"), "")
    return _bound_spec(
        tuple(_key(c, *given.get(c.name, (b"null", b"null"))) for c in spec.containers),
        tuple(_key(c, *given.get(c.name, (b"null", b"null"))) for c in spec.init_containers),
        bytes(spec.overhead),
        bytes(spec.resources),
        bytes(status.allocated_resources),
        bytes(status.resources),
        pending == "Infeasible",
    )


def gpus(pod: Pod) -> tuple[int, ...]:
    """The GPU slots that the decision on the Pod names; none where it names none or makes no sense."""
    if GPUS_ANNOTATION.encode() not in bytes(pod.metadata.annotations):
        return ()
    return _slots(_decision(pod.metadata.annotations).gpus)


def instances(pod: Pod) -> tuple[tuple[int, str, int], ...]:
    """The MIG instances that the decision on the Pod names: GPU slot, profile, start; none where it makes no sense."""
    if INSTANCES_ANNOTATION.encode() not in bytes(pod.metadata.annotations):
        return ()
    return _placements(_decision(pod.metadata.annotations).instances)


def created(timestamp: str | None) -> int:
    """A creationTimestamp in seconds; 0 where there is none."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp()) if timestamp else 0
    except ValueError:
        return 0


def node_spec(node: Node, gpus: Sequence[_core.GpuSpec] | None = None) -> _core.NodeSpec:
    """What a node offers. One that makes no sense offers nothing, and says so in the log.

    gpus: where nos cuts them, how they are; then they count, and not what the Node's status says, which lags behind.
    """
    labels, name = node.metadata.labels, node.metadata.name
    try:
        allocatable = _countable(_rounded(_amounts(node.status.allocatable) or {}))
        if gpus is not None:
            allocatable = {r: a for r, a in allocatable.items() if not r.startswith(_MIG)} | {_GPU: len(gpus)}
        return _core.NodeSpec(
            allocatable,
            gpus=gpus or (),
            labels=labels,
            taints=[_core.Taint(t.key, t.value, t.effect) for t in node.spec.taints],
            unschedulable=node.spec.unschedulable,
        )
    except (ValueError, OverflowError) as error:
        _log.warning("node %s takes no Pods: %s", name, error)
        return _core.NodeSpec({}, labels=labels, unschedulable=True)


@lru_cache(maxsize=4096)
def _slots(text: str) -> tuple[int, ...]:
    slots = text.split(",")
    if not all(slot.isascii() and slot.isdigit() and len(slot) <= 5 for slot in slots):
        return ()
    return tuple(dict.fromkeys(map(int, slots)))


@lru_cache(maxsize=4096)
def _placements(text: str) -> tuple[tuple[int, str, int], ...]:
    found = [_PLACEMENT.fullmatch(part) for part in text.split(",")]
    if not all(found):
        return ()
    return tuple(dict.fromkeys((int(match[1]), match[2], int(match[3])) for match in found if match))


def _key(container: Container, allocated: bytes = b"null", actual: bytes = b"null") -> _ContainerKey:
    sidecar = container.restart_policy == "Always"
    return bytes(container.resources), bytes(container.ports), sidecar, allocated, actual


@lru_cache(maxsize=4096)
def _waiting_spec(
    containers: tuple[_ContainerKey, ...],
    init_containers: tuple[_ContainerKey, ...],
    overhead: bytes,
    resources: bytes,
    node_selector: bytes,
    affinity: bytes,
    tolerations: bytes,
    not_handled: tuple[str, ...],
) -> _core.PodSpec:
    requests: Mapping[str, int] = {}
    try:
        requests = _rounded(effective_requests(_ask(containers, init_containers, overhead, resources)))
        return _core.PodSpec(
            requests,
            node_selector=_labels(node_selector) or {},
            affinity=_terms(affinity),
            tolerations=_known_tolerations(tolerations),
            host_ports=_host_ports(containers, init_containers),
            unsupported=not_handled,
        )
    except (ValueError, OverflowError, msgspec.DecodeError) as error:
        return _core.PodSpec({}, unsupported=(*not_handled, str(error)))


@lru_cache(maxsize=4096)
def _bound_spec(
    containers: tuple[_ContainerKey, ...],
    init_containers: tuple[_ContainerKey, ...],
    overhead: bytes,
    resources: bytes,
    allocated: bytes,
    actual: bytes,
    resize_infeasible: bool,
) -> _core.PodSpec:
    try:
        ask = _ask(containers, init_containers, overhead, resources, allocated, actual, resize_infeasible)
        requests = _rounded(effective_requests(ask))
        ports = _host_ports(containers, init_containers)
    except (ValueError, msgspec.DecodeError) as error:
        _log.warning("a bound Pod's requests cannot be counted: %s", error)
        return _core.PodSpec({})
    try:
        return _core.PodSpec(requests, host_ports=ports)
    except (ValueError, OverflowError) as error:
        _log.warning("a bound Pod's requests count as the most that can be counted: %s", error)
        return _core.PodSpec(_countable(requests))


def _ask(
    containers: Iterable[_ContainerKey],
    init_containers: Iterable[_ContainerKey],
    overhead: bytes,
    resources: bytes,
    allocated: bytes = b"null",
    actual: bytes = b"null",
    resize_infeasible: bool = False,
) -> Ask:
    return Ask(
        containers=[_container(key) for key in containers],
        init_containers=[_container(key) for key in init_containers],
        overhead=_amounts(_quantities(overhead)),
        pod=_requests(resources),
        pod_allocated=_amounts(_quantities(allocated)),
        pod_actual=None if actual == b"null" else _requests(actual) or {},
        resize_infeasible=resize_infeasible,
    )


def _container(key: _ContainerKey) -> ContainerAsk:
    resources, _, sidecar, allocated, actual = key
    return ContainerAsk(
        requests=_requests(resources) or {},
        restartable=sidecar,
        allocated=_amounts(_quantities(allocated)),
        actual=_requests(actual),
    )


def _requests(requirements: bytes) -> Resources | None:
    decoded = _requirements(requirements)
    return _amounts(decoded.requests) if decoded else None


def _amounts(quantities: Mapping[str, str] | None) -> Resources | None:
    if quantities is None:
        return None
    amounts = {}
    for resource, text in quantities.items():
        try:
            amounts[resource] = nano(text)
        except ValueError as error:
            raise ValueError(f"{resource}: {error}") from None
    return amounts


def _rounded(amounts: Resources) -> dict[str, int]:
    return {resource: units(resource, amount) for resource, amount in amounts.items()}


def _countable(requests: Mapping[str, int]) -> dict[str, int]:
    return {r: min(amount, _MOST_GPUS if r == _GPU else _MOST) for r, amount in requests.items()}


def _terms(affinity: bytes) -> list[_core.SelectorTerm] | None:
    decoded = _affinity(affinity)
    required = (
        decoded.node_affinity.required_during_scheduling_ignored_during_execution
        if decoded and decoded.node_affinity
        else None
    )
    if required is None:
        return None
    return [
        _core.SelectorTerm(_all_of(term.match_expressions), _all_of(term.match_fields))
        for term in required.node_selector_terms or ()
        if term.match_expressions or term.match_fields  # an empty term matches no node
    ]


def _all_of(requirements: list[_Requirement] | None) -> list[_core.Requirement]:
    return [_core.Requirement(r.key, r.operator, r.values or ()) for r in requirements or ()]


def _known_tolerations(tolerations: bytes) -> list[_core.Toleration]:
    return [
        _core.Toleration(t.key, t.operator or "Equal", t.value, t.effect)
        for t in _tolerations(tolerations) or ()
        if t.operator in ("", "Equal", "Exists")  # kube-scheduler, too, lets an unknown operator tolerate nothing
    ]


def _host_ports(containers: Iterable[_ContainerKey], init_containers: Iterable[_ContainerKey]) -> list[_core.HostPort]:
    running = [*containers, *(key for key in init_containers if key[2])]
    return [
        _core.HostPort(port.host_port, port.protocol, port.host_ip or "0.0.0.0")
        for key in running
        for port in _ports(key[1]) or ()
        if port.host_port
    ]
