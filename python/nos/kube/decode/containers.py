"""What a Pod's containers ask for and were given, and the host ports that they take."""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.json import Decoder

from nos import _core
from nos.kube.decode.amounts import amounts
from nos.kube.pod import Container
from nos.kube.requests import Ask, Resources
from nos.kube.requests import Container as ContainerAsk


class _Requirements(Struct):
    requests: dict[str, str] | None = None


class _Port(Struct, rename="camel"):
    container_port: int = 0
    host_port: int = 0
    protocol: str = "TCP"
    host_ip: str = field(default="", name="hostIP")


_requirements = Decoder(_Requirements | None).decode
_quantities = Decoder(dict[str, str] | None).decode
_ports = Decoder(list[_Port] | None).decode


class ContainerKey(NamedTuple):
    """The bytes of one container that matter; allocated and actual: of a Pod on a node."""

    resources: bytes
    ports: bytes
    sidecar: bool
    allocated: bytes = b"null"
    actual: bytes = b"null"


def key(container: Container, allocated: bytes = b"null", actual: bytes = b"null") -> ContainerKey:
    """What matters of a container."""
    sidecar = container.restart_policy == "Always"
    return ContainerKey(bytes(container.resources), bytes(container.ports), sidecar, allocated, actual)


def ask(
    containers: Iterable[ContainerKey],
    init_containers: Iterable[ContainerKey],
    overhead: bytes,
    resources: bytes,
    allocated: bytes = b"null",
    actual: bytes = b"null",
    resize_infeasible: bool = False,
) -> Ask:
    """All that decides the Pod's effective requests."""
    return Ask(
        containers=[_container(key) for key in containers],
        init_containers=[_container(key) for key in init_containers],
        overhead=amounts(_quantities(overhead)),
        pod=_requests(resources),
        pod_allocated=amounts(_quantities(allocated)),
        pod_actual=None if actual == b"null" else _requests(actual) or {},
        resize_infeasible=resize_infeasible,
    )


def host_ports(containers: Iterable[ContainerKey], init_containers: Iterable[ContainerKey]) -> list[_core.HostPort]:
    """The ports of the node that the Pod takes for as long as it runs."""
    running = [*containers, *(key for key in init_containers if key.sidecar)]
    return [
        _core.HostPort(port.host_port, port.protocol, port.host_ip or "0.0.0.0")
        for key in running
        for port in _ports(key.ports) or ()
        if port.host_port
    ]


def _container(key: ContainerKey) -> ContainerAsk:
    return ContainerAsk(
        requests=_requests(key.resources) or {},
        restartable=key.sidecar,
        allocated=amounts(_quantities(key.allocated)),
        actual=_requests(key.actual),
    )


def _requests(requirements: bytes) -> Resources | None:
    decoded = _requirements(requirements)
    return amounts(decoded.requests) if decoded else None
