"""What a Pod asks for while it waits, and what it takes once it has a node."""

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

from nos import _core
from nos.kube.decode import containers as of_containers
from nos.kube.decode.amounts import countable, rounded
from nos.kube.decode.containers import ContainerKey
from nos.kube.pod import Pod
from nos.kube.requests import effective_requests
from nos.kube.selectors import NodeSelector, core_terms
from nos.kube.unsupported import unsupported
from nos.kube.volumes import PodVolumes, unread

_log = logging.getLogger(__name__)


class _Toleration(Struct):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


class _NodeAffinity(Struct, rename="camel"):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class _Affinity(Struct, rename="camel"):
    node_affinity: _NodeAffinity | None = None


_tolerations = Decoder(list[_Toleration] | None).decode
_labels = Decoder(dict[str, str] | None).decode
_affinity = Decoder(_Affinity | None).decode


class Template(NamedTuple):
    """The bytes of a waiting Pod that decide what it asks for. It outlives the event that it came with."""

    containers: tuple[ContainerKey, ...]
    init_containers: tuple[ContainerKey, ...]
    overhead: bytes
    resources: bytes
    node_selector: bytes
    affinity: bytes
    tolerations: bytes
    unsupported: tuple[str, ...]


def template(pod: Pod) -> Template:
    """What decides what a waiting Pod asks for; equal ones are one object."""
    spec = pod.spec
    return _shared(
        Template(
            tuple(map(of_containers.key, spec.containers)),
            tuple(map(of_containers.key, spec.init_containers)),
            bytes(spec.overhead),
            bytes(spec.resources),
            bytes(spec.node_selector),
            bytes(spec.affinity),
            bytes(spec.tolerations),
            unsupported(pod),
        )
    )


def waiting_spec(pod: Pod, *, volumes: PodVolumes | None = None) -> _core.PodSpec:
    """What a Pod that waits for a node asks for. volumes: what its volumes ask for; None: nobody has looked."""
    return spec_of(template(pod), volumes=volumes or unread(pod))


@lru_cache(maxsize=4096)
def spec_of(template: Template, *, volumes: PodVolumes) -> _core.PodSpec:
    """As waiting_spec, of what was kept of a Pod."""
    not_handled = (*template.unsupported, *volumes.unsupported)
    requests: Mapping[str, int] = {}
    try:
        ask = of_containers.ask(template.containers, template.init_containers, template.overhead, template.resources)
        requests = rounded(effective_requests(ask))
        return _core.PodSpec(
            requests,
            node_selector=_labels(template.node_selector) or {},
            affinity=_required_nodes(template.affinity),
            tolerations=_known_tolerations(template.tolerations),
            host_ports=of_containers.host_ports(template.containers, template.init_containers),
            unsupported=not_handled,
        )
    except (ValueError, OverflowError, msgspec.DecodeError) as error:
        return _core.PodSpec({}, unsupported=(*not_handled, str(error)))


def bound_spec(pod: Pod, *, volumes: PodVolumes | None = None) -> _core.PodSpec:
    """What a Pod that has a node takes there: requests, allocations, host ports, and of its volumes what is there."""
    del volumes  # until the core counts them
    spec, status = pod.spec, pod.status
    given = {s.name: (bytes(s.allocated_resources), bytes(s.resources)) for s in status.container_statuses}
    given |= {s.name: (bytes(s.allocated_resources), bytes(s.resources)) for s in status.init_container_statuses}
    pending = next((c.reason for c in status.conditions if c.type == "PodResizePending"), "")
    return _bound_spec(
        tuple(of_containers.key(c, *given.get(c.name, (b"null", b"null"))) for c in spec.containers),
        tuple(of_containers.key(c, *given.get(c.name, (b"null", b"null"))) for c in spec.init_containers),
        bytes(spec.overhead),
        bytes(spec.resources),
        bytes(status.allocated_resources),
        bytes(status.resources),
        pending == "Infeasible",
    )


def created(timestamp: str | None) -> int:
    """A creationTimestamp in seconds; 0 where there is none."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp()) if timestamp else 0
    except ValueError:
        return 0


@lru_cache(maxsize=4096)
def _shared(template: Template) -> Template:
    return template


@lru_cache(maxsize=4096)
def _bound_spec(
    containers: tuple[ContainerKey, ...],
    init_containers: tuple[ContainerKey, ...],
    overhead: bytes,
    resources: bytes,
    allocated: bytes,
    actual: bytes,
    resize_infeasible: bool,
) -> _core.PodSpec:
    try:
        ask = of_containers.ask(containers, init_containers, overhead, resources, allocated, actual, resize_infeasible)
        requests = rounded(effective_requests(ask))
        ports = of_containers.host_ports(containers, init_containers)
    except (ValueError, msgspec.DecodeError) as error:
        _log.warning("a bound Pod's requests cannot be counted: %s", error)
        return _core.PodSpec({})
    try:
        return _core.PodSpec(requests, host_ports=ports)
    except (ValueError, OverflowError) as error:
        _log.warning("a bound Pod's requests count as the most that can be counted: %s", error)
        return _core.PodSpec(countable(requests))


def _required_nodes(affinity: bytes) -> list[_core.SelectorTerm] | None:
    decoded = _affinity(affinity)
    nodes = decoded.node_affinity if decoded else None
    required = nodes.required_during_scheduling_ignored_during_execution if nodes else None
    return None if required is None else core_terms(required.node_selector_terms)


def _known_tolerations(tolerations: bytes) -> list[_core.Toleration]:
    return [
        _core.Toleration(t.key, t.operator or "Equal", t.value, t.effect)
        for t in _tolerations(tolerations) or ()
        if t.operator in ("", "Equal", "Exists")  # kube-scheduler, too, lets an unknown operator tolerate nothing
    ]
