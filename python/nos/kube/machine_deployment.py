"""Cluster API's MachineDeployments and their Machines, as msgspec structs, and the requests that take a Machine away.

Of both versions that are in use, v1beta1 and v1beta2: what is read here is the same in both, or read from both places.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos.kube.client import Client
from nos.kube.errors import ApiError, ConfigError
from nos.kube.nodepool import Condition, Metadata

DELETE_MACHINE = "cluster.x-k8s.io/delete-machine"  # annotation: the first to go when there are to be fewer
DEPLOYMENT_NAME, SET_NAME = "cluster.x-k8s.io/deployment-name", "cluster.x-k8s.io/set-name"  # labels of a Machine
MACHINE, MACHINE_NAMESPACE = "cluster.x-k8s.io/machine", "cluster.x-k8s.io/cluster-namespace"  # annotations of its Node
_PAUSED = "cluster.x-k8s.io/paused"
_GROUP = "/apis/cluster.x-k8s.io"
_VERSIONS = ("v1beta2", "v1beta1")  # the first that is served is used


class _DeploymentSpec(Struct, frozen=True):
    replicas: int = 0
    paused: bool = False


class _Conditions(Struct, frozen=True):
    conditions: tuple[Condition, ...] = ()


class _DeploymentStatus(_Conditions, frozen=True):
    v1beta2: _Conditions = field(default_factory=_Conditions)  # where v1beta1 has those of v1beta2


class MachineDeployment(Struct):
    """Machines that are all alike, by count."""

    metadata: Metadata
    spec: _DeploymentSpec = field(default_factory=_DeploymentSpec)
    status: _DeploymentStatus = field(default_factory=_DeploymentStatus)

    @property
    def is_paused(self) -> bool:
        """Nobody acts on it; also when its whole cluster is paused."""
        conditions = (*self.status.conditions, *self.status.v1beta2.conditions)
        said = any(one.type == "Paused" and one.status == "True" for one in conditions)
        return self.spec.paused or _PAUSED in self.metadata.annotations or said


class _MachineSpec(Struct, frozen=True):
    provider_id: str = field(default="", name="providerID")


class _NodeRef(Struct, frozen=True):
    name: str = ""


class _Failure(Struct, frozen=True, rename="camel"):
    failure_message: str = ""


class _Deprecated(Struct, frozen=True):
    v1beta1: _Failure = field(default_factory=_Failure)


class _MachineStatus(Struct, frozen=True, rename="camel"):
    phase: str = ""
    node_ref: _NodeRef = field(default_factory=_NodeRef)
    failure_message: str = ""
    deprecated: _Deprecated = field(default_factory=_Deprecated)


class Machine(Struct):
    """A node that is, or is to be."""

    metadata: Metadata
    spec: _MachineSpec = field(default_factory=_MachineSpec)
    status: _MachineStatus = field(default_factory=_MachineStatus)

    @property
    def deployment(self) -> str:
        """The namespace/name of its MachineDeployment; the name is empty where it has none."""
        return f"{self.metadata.namespace}/{self.metadata.labels.get(DEPLOYMENT_NAME, '')}"

    @property
    def failure(self) -> str:
        """Why it will never be a node; empty where it may."""
        if self.status.phase != "Failed":
            return ""
        message = self.status.failure_message or self.status.deprecated.v1beta1.failure_message
        return message or "Cluster API gives its phase as Failed"


class _Deployments(Struct):
    items: list[MachineDeployment]


class _Machines(Struct):
    items: list[Machine]


class _Version(Struct):
    version: str


class _Group(Struct):
    versions: list[_Version]


_group = Decoder(_Group).decode
decode_deployment, decode_deployments = Decoder(MachineDeployment).decode, Decoder(_Deployments).decode
decode_machine, decode_machines = Decoder(Machine).decode, Decoder(_Machines).decode


async def api_root(client: Client) -> str:
    """The path below which its kinds are; ConfigError where they are not served."""
    try:
        served = {one.version for one in _group(await client.request("GET", _GROUP)).versions}
    except ApiError as error:
        if error.status != 404:
            raise
        raise ConfigError("cluster.x-k8s.io is not served; is Cluster API installed in this cluster?") from None
    if found := next((version for version in _VERSIONS if version in served), ""):
        return f"{_GROUP}/{found}"
    raise ConfigError(f"cluster.x-k8s.io is served as {', '.join(sorted(served))}; nos knows {', '.join(_VERSIONS)}")


def path_of(root: str, kind: str, key: str) -> str:
    """The path of an object. kind: as in paths, such as machines. key: namespace/name."""
    namespace, _, name = key.partition("/")
    return f"{root}/namespaces/{quote(namespace, safe='')}/{kind}/{quote(name, safe='')}"


def machine_patch(machine: Machine, annotations: Mapping[str, str | None]) -> bytes:
    """A merge patch of annotations, if it is still the same Machine; None takes one away."""
    return encode({"metadata": {"uid": machine.metadata.uid, "annotations": annotations}})


def replicas_patch(deployment: MachineDeployment, replicas: int, annotation: str, names: Iterable[str]) -> bytes:
    """A merge patch of the number and of a list of names, if it is still as we know it (else 409)."""
    version, listed = deployment.metadata.resource_version, ",".join(sorted(names))
    metadata = {"resourceVersion": version, "annotations": {annotation: listed or None}}
    return encode({"metadata": metadata, "spec": {"replicas": replicas}})
