"""What backends share that have a number to set, and nodes that come of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from msgspec import DecodeError, Struct, field
from msgspec.json import Decoder, encode

from nos.autoscaler.backend import ACTUATOR_ANNOTATION, NOS, BackendError, Instance, OrderRefusedError, State
from nos.kube.client import MERGE, Client
from nos.kube.conflict import retry_on_conflict
from nos.kube.errors import ApiError, ConfigError, Unreachable
from nos.kube.gpunode import STARTUP_TAINT
from nos.kube.node import Node
from nos.kube.scale import read_scale, write_scale

_NOT_READY = frozenset(
    {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.cloudprovider.kubernetes.io/uninitialized",
        "node.cluster.x-k8s.io/uninitialized",
        STARTUP_TAINT,
    }
)
_REFUSALS = frozenset((400, 403, 422))
_CLUSTER_AUTOSCALER = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-"  # annotations: its min-size, max-size


class _Metadata(Struct, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


class _Object(Struct):
    metadata: _Metadata


class _Items(Struct):
    items: list[Node]


_object, _items = Decoder(_Object).decode, Decoder(_Items).decode


def state_of(node: Node) -> State:
    """How far a Node has come."""
    if node.metadata.deletion_timestamp:
        return State.GOING
    return State.COMING if any(taint.key in _NOT_READY for taint in node.spec.taints) else State.UP


def missing(group: str, wanted: int, there: int) -> list[Instance]:
    """Those that are to come and are nothing yet but a number."""
    return [Instance(f"{group}#{number}", group, State.COMING) for number in range(1, wanted - there + 1)]


async def nodes(client: Client, selector: Mapping[str, str]) -> list[Node]:
    """Those with these labels."""
    wanted = ",".join(f"{key}={value}" for key, value in selector.items())
    return _items(await client.request("GET", "/api/v1/nodes", params={"labelSelector": wanted})).items


async def raise_to(client: Client, path: str, what: str, target: int, more: int) -> None:
    """Let it have `more` than `target`, if that is what it has; and note that nos does that. Who else writes the object
    may be writing its status: only another number ends it, with a BackendError."""

    async def write() -> None:
        scale = await read_scale(client, path)
        if scale.spec.replicas != target:
            raise BackendError(f"{what} has {scale.spec.replicas} replicas, not {target}: somebody else has changed it")
        await write_scale(client, path, scale, target + more)

    await retry_on_conflict(lambda: _claim(client, path, what))
    await retry_on_conflict(write)


async def problem_of(client: Client, path: str) -> str:
    """Why nos must not scale the object at the path; empty where it may."""
    return owned_by_others(_object(await client.request("GET", path)).metadata.annotations)


def owned_by_others(annotations: Mapping[str, str]) -> str:
    """Why nos must not scale what has these annotations; empty where it may."""
    actuator = annotations.get(ACTUATOR_ANNOTATION, "")
    if actuator not in ("", NOS):
        return f"{actuator} makes its nodes, says its annotation {ACTUATOR_ANNOTATION}; if that is over, remove it"
    theirs = next((key for key in annotations if key.startswith(_CLUSTER_AUTOSCALER)), "")
    if theirs:
        return f"Cluster Autoscaler makes its nodes, says its annotation {theirs}; if nos is to do so, remove it"
    return ""


async def _claim(client: Client, path: str, what: str) -> None:
    metadata = _object(await client.request("GET", path)).metadata
    if problem := owned_by_others(metadata.annotations):
        raise OrderRefusedError(f"{what}: {problem}")
    if not metadata.annotations.get(ACTUATOR_ANNOTATION):
        noted = {"resourceVersion": metadata.resource_version, "annotations": {ACTUATOR_ANNOTATION: NOS}}
        await client.request("PATCH", path, body=encode({"metadata": noted}), content_type=MERGE)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Errors of the API server in the words of a backend."""
    try:
        yield
    except Unreachable as error:
        raise BackendError(f"{what}: the API server does not answer: {error}") from None
    except DecodeError as error:
        raise BackendError(f"{what}: not what it should be: {error}") from None
    except ConfigError as error:
        raise BackendError(f"{what}: {error}") from None
    except ApiError as error:
        raise (OrderRefusedError if error.status in _REFUSALS else BackendError)(f"{what}: {error}") from None
