"""The few fields of a Node that scheduling needs, as msgspec structs over the API server's JSON."""

from msgspec import Struct, field
from msgspec.json import Decoder


class Metadata(Struct, rename="camel"):
    """The node's name and labels."""

    name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = field(default_factory=dict)


class Taint(Struct, gc=False):
    """A taint as the API has it."""

    key: str = ""
    value: str = ""
    effect: str = ""


class Spec(Struct):
    """What keeps Pods off the node."""

    taints: list[Taint] = field(default_factory=list)
    unschedulable: bool = False


class Status(Struct):
    """What the node offers."""

    allocatable: dict[str, str] = field(default_factory=dict)


class Node(Struct):
    """A Node as the API server sends it."""

    metadata: Metadata
    spec: Spec = field(default_factory=Spec)
    status: Status = field(default_factory=Status)


decode_node = Decoder(Node).decode
