"""What the makers of nodes call them: the provider id of each Node."""

from msgspec import Struct, field
from msgspec.json import Decoder

from nos.kube.client import Client
from nos.kube.node import NODES


class _Metadata(Struct):
    name: str


class _Spec(Struct):
    provider_id: str = field(default="", name="providerID")


class _Node(Struct):
    metadata: _Metadata
    spec: _Spec = field(default_factory=_Spec)


class _Nodes(Struct):
    items: list[_Node]


_nodes = Decoder(_Nodes).decode


async def provider_ids(client: Client) -> dict[str, str]:
    """By the name of each Node; empty where it has none. Raises ApiError, Unreachable and msgspec.DecodeError."""
    found = _nodes(await client.request("GET", NODES))
    return {node.metadata.name: node.spec.provider_id for node in found.items}
