"""Settings of what Cluster Autoscaler is answered."""

from typing import Annotated

from msgspec import Meta, Struct, field

from nos.autoscaler.template import TemplateSettings

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_Count = Annotated[int, Meta(ge=0, le=1_000_000)]
_Name = Annotated[str, Meta(min_length=1, max_length=253)]


class GroupSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A node group of Cluster Autoscaler's own cloud provider. id: as it says it. price: dollars per hour and node.
    node_selector: the labels by which its nodes are known."""

    id: _Name
    max: _Count
    price: Annotated[float, Meta(ge=0, le=1_000_000)]
    node_selector: Annotated[dict[str, str], Meta(min_length=1)]
    template: TemplateSettings
    min: _Count = 0

    def __post_init__(self) -> None:
        for key, value in self.node_selector.items():
            if self.template.labels.get(key, value) != value:
                raise ValueError(f"{self.id}: nodeSelector and template.labels do not agree on {key}")


class ClusterAutoscalerSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """address: host:port to serve on. cert_file, key_file: who nos is; read anew when they change. client_ca_file: only
    clients whose certificate it has signed are answered. allow_insecure: without TLS, on this machine alone.

    groups: of which nos says only whether they are to grow. fronts: the backend whose groups Cluster Autoscaler scales
    through nos. layouts: by group of that backend and by a name, the instances of each of its GPUs, such as
    `3g.40gb@0,3g.40gb@4`: each is one more group for Cluster Autoscaler.
    """

    address: str
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    allow_insecure: bool = False
    groups: tuple[GroupSettings, ...] = ()
    fronts: str = ""
    layouts: dict[str, dict[_Name, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        host, colon, port = self.address.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"address: {self.address!r} is no host:port such as 0.0.0.0:8086")
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("certFile and keyFile: name both or none")
        if not self.cert_file and not self.allow_insecure:
            raise ValueError("certFile and keyFile are missing: Cluster Autoscaler speaks to its expander by TLS alone")
        if not self.cert_file and self.client_ca_file:
            raise ValueError("clientCaFile needs certFile and keyFile")
        if not self.cert_file and host.strip("[]") not in _LOOPBACK:
            raise ValueError(f"allowInsecure: {self.address} can be reached by others; serve on 127.0.0.1 or use TLS")
        if self.layouts and not self.fronts:
            raise ValueError("layouts: they are of the groups of a backend; name it in fronts")
        seen: set[str] = set()
        for group in self.groups:
            if group.id in seen:
                raise ValueError(f"groups: {group.id} is there twice; give each once")
            seen.add(group.id)
