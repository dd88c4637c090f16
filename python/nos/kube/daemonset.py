"""DaemonSets, of which the Pods matter that they will put on a node that is still to come."""

from msgspec import Struct, field
from msgspec.json import Decoder

from nos.kube.pod import Metadata, Pod, Spec

DAEMON_SETS = "/apis/apps/v1/daemonsets"


class _Template(Struct):
    metadata: Metadata = field(default_factory=Metadata)
    spec: Spec = field(default_factory=Spec)


class _Spec(Struct):
    template: _Template = field(default_factory=_Template)


class _DaemonSet(Struct):
    metadata: Metadata = field(default_factory=Metadata)
    spec: _Spec = field(default_factory=_Spec)


class _ListMeta(Struct):
    continue_: str = field(default="", name="continue")


class _List(Struct):
    metadata: _ListMeta = field(default_factory=_ListMeta)
    items: list[_DaemonSet] = field(default_factory=list)


_list = Decoder(_List).decode


def decode_daemons(raw: bytes) -> tuple[list[Pod], str]:
    """A page of a list: a Pod as each would make it, named as the DaemonSet; and the token of the next page."""
    page = _list(raw)
    for item in page.items:
        item.spec.template.metadata.name = item.metadata.name
        item.spec.template.metadata.namespace = item.metadata.namespace
    return [Pod(item.spec.template.metadata, item.spec.template.spec) for item in page.items], page.metadata.continue_
