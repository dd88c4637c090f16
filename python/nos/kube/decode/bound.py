"""What a Pod takes of the node that it has, and whom it keeps away from there."""

import logging
from functools import lru_cache
from typing import NamedTuple

import msgspec

from nos import _core
from nos.kube.decode import containers as of_containers
from nos.kube.decode.affinity import Affinity, names_pods
from nos.kube.decode.amounts import countable, rounded
from nos.kube.decode.containers import ContainerKey
from nos.kube.pod import Pod
from nos.kube.requests import effective_requests
from nos.kube.volumes import PodVolumes

_log = logging.getLogger(__name__)


class Bound(NamedTuple):
    """The bytes of a Pod on a node that matter to others. It outlives the event that it came with."""

    containers: tuple[ContainerKey, ...]
    init_containers: tuple[ContainerKey, ...]
    overhead: bytes
    resources: bytes
    allocated: bytes
    actual: bytes
    resize_infeasible: bool
    affinity: bytes
    namespace: str


def bound_spec(pod: Pod, *, volumes: PodVolumes | None = None) -> _core.PodSpec:
    """Requests and allocations, host ports, what is attached for it, and what it says of Pods near by, for that binds
    those who come later. The rest has done its part, and is left out so that Pods go on sharing specs."""
    return bound_spec_of(bound(pod), volumes=volumes or PodVolumes())


def bound(pod: Pod) -> Bound:
    """What decides that, beside its volumes."""
    spec, status = pod.spec, pod.status
    given = {s.name: (bytes(s.allocated_resources), bytes(s.resources)) for s in status.container_statuses}
    given |= {s.name: (bytes(s.allocated_resources), bytes(s.resources)) for s in status.init_container_statuses}
    pending = next((c.reason for c in status.conditions if c.type == "PodResizePending"), "")
    affinity = bytes(spec.affinity)
    if not names_pods(affinity):
        affinity = b"null"
    return Bound(
        tuple(of_containers.key(c, *given.get(c.name, (b"null", b"null"))) for c in spec.containers),
        tuple(of_containers.key(c, *given.get(c.name, (b"null", b"null"))) for c in spec.init_containers),
        bytes(spec.overhead),
        bytes(spec.resources),
        bytes(status.allocated_resources),
        bytes(status.resources),
        pending == "Infeasible",
        affinity,
        pod.metadata.namespace if affinity != b"null" else "",
    )


@lru_cache(maxsize=4096)
def bound_spec_of(bound: Bound, *, volumes: PodVolumes) -> _core.PodSpec:
    """As bound_spec, of what was kept of a Pod."""
    required, anti, preferred = _of_pods(bound)
    requests: dict[str, int] = {}
    ports: list[_core.HostPort] = []
    try:
        requests = rounded(effective_requests(of_containers.ask(*bound[:7])))
        ports = of_containers.host_ports(bound.containers, bound.init_containers)
    except (ValueError, msgspec.DecodeError) as error:
        _log.warning("a bound Pod's requests cannot be counted: %s", error)

    def spec(requests: dict[str, int], ports: list[_core.HostPort]) -> _core.PodSpec:
        return _core.PodSpec(
            requests,
            host_ports=ports,
            pod_affinity=required,
            pod_anti_affinity=anti,
            preferred_pod_affinity=preferred,
            sole_claims=volumes.sole_claims,
            volumes=volumes.volumes,
        )

    try:
        return spec(requests, ports)
    except (ValueError, OverflowError) as error:
        _log.warning("a bound Pod's requests count as the most that can be counted: %s", error)
        return spec(countable(requests), [])


def _of_pods(
    bound: Bound,
) -> tuple[list[_core.PodTerm], list[_core.PodTerm], list[tuple[int, _core.PodTerm]]]:
    try:
        affinity = Affinity(bound.affinity, bound.namespace)
        return affinity.required_pods(), affinity.required_anti_pods(), affinity.preferred_pods()
    except (ValueError, OverflowError, msgspec.DecodeError) as error:
        _log.warning("what a bound Pod says of Pods near by is left out: %s", error)
        return [], [], []
