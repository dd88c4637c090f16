"""PriorityClasses: what a Pod's priority will be once the API server has taken it in."""

from msgspec import Struct, field
from msgspec.json import Decoder

from nos.kube.meta import Metadata

PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


class _PriorityClass(Struct, rename="camel"):
    metadata: Metadata
    value: int = 0
    global_default: bool = False


class _List(Struct):
    items: list[_PriorityClass] = field(default_factory=list)


_list = Decoder(_List).decode


def decode_priorities(raw: bytes) -> dict[str, int]:
    """Their values by name; under "" that of a Pod that names none."""
    items = _list(raw).items
    default = min((item.value for item in items if item.global_default), default=0)
    return {item.metadata.name: item.value for item in items} | {"": default}
