"""The few fields of a Node that scheduling needs, as msgspec structs over the API server's JSON."""

from functools import lru_cache

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

NODES = "/api/v1/nodes"


class Metadata(Struct, rename="camel"):
    """Who the node is."""

    name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Taint(Struct, rename="camel", gc=False):
    """A taint as the API has it."""

    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: str = ""


class Spec(Struct):
    """What keeps Pods off the node, and what the platform calls its machine."""

    taints: list[Taint] = field(default_factory=list)
    unschedulable: bool = False
    provider_id: str = field(default="", name="providerID")


class Image(Struct, rename="camel", frozen=True, gc=False):
    """An image that the node has. It may have many names, or none."""

    names: tuple[str, ...] | None = None
    size_bytes: int = 0


class Status(Struct, rename="camel"):
    """What the node offers."""

    allocatable: dict[str, str] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    declared_features: list[str] = field(default_factory=list)


class Node(Struct):
    """A Node as the API server sends it."""

    metadata: Metadata
    spec: Spec = field(default_factory=Spec)
    status: Status = field(default_factory=Status)


_node = Decoder(Node).decode


def decode_node(raw: bytes | Raw) -> Node:
    """Nodes have many images, and mostly the same: those share one object, for Nodes are kept."""
    node = _node(raw)
    node.status.images = list(map(_shared, node.status.images))
    return node


@lru_cache(maxsize=65_536)
def _shared(image: Image) -> Image:
    return image
