"""What scheduling needs of a Namespace: its labels, for selectors of namespaces look at them."""

from msgspec import Struct, field
from msgspec.json import Decoder

from nos.kube.meta import Metadata

NAMESPACES = "/api/v1/namespaces"


class _Metadata(Metadata, rename="camel"):
    labels: dict[str, str] = field(default_factory=dict)


class Namespace(Struct):
    """A Namespace as the API server sends it."""

    metadata: _Metadata


decode_namespace = Decoder(Namespace).decode
