"""Dynamic resource allocation, as far as to tell which nodes have devices for an extended resource.

nos allocates no devices. But a node whose GPUs are known only as ResourceSlices is not one without GPUs, and a Pod that
asks for them is to be told so. The selectors of a DeviceClass are CEL; of them only the drivers that they name count.
"""

import re

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from nos.kube.meta import Metadata
from nos.kube.node import Node
from nos.kube.selectors import NodeSelector, NodeTerm, node_matches

RESOURCE_API = "/apis/resource.k8s.io/v1"
DEVICE_CLASSES = f"{RESOURCE_API}/deviceclasses"
RESOURCE_SLICES = f"{RESOURCE_API}/resourceslices"

_IMPLICIT = "deviceclass.resource.kubernetes.io/"
_DRIVER = re.compile(r"""device\.driver\s*==\s*["']([^"']+)["']""")


class DeviceClass(Struct, frozen=True):
    """The extended resources that ask for devices of a class, and the drivers whose devices it may select (empty: those
    of any)."""

    metadata: Metadata
    resources: tuple[str, ...]
    drivers: frozenset[str]


class Devices(Struct, frozen=True):
    """A ResourceSlice: whose devices, on which nodes; nowhere when it has none."""

    metadata: Metadata
    driver: str
    nodes: frozenset[str]
    terms: tuple[NodeTerm, ...]
    everywhere: bool

    def on(self, node: Node) -> bool:
        """Whether the node can use some of them."""
        return self.everywhere or node.metadata.name in self.nodes or node_matches(self.terms, node)


class _Cel(Struct):
    expression: str = ""


class _Selector(Struct):
    cel: _Cel = field(default_factory=_Cel)


class _ClassSpec(Struct, rename="camel"):
    selectors: list[_Selector] | None = None
    extended_resource_name: str | None = None


class _DeviceClass(Struct):
    metadata: Metadata
    spec: _ClassSpec = field(default_factory=_ClassSpec)


class _Where(Struct, rename="camel"):
    node_name: str | None = None
    node_selector: NodeSelector | None = None
    all_nodes: bool | None = None


class _SliceSpec(_Where, rename="camel"):
    driver: str = ""
    devices: list[_Where] | None = None
    per_device_node_selection: bool | None = None


class _Slice(Struct):
    metadata: Metadata
    spec: _SliceSpec = field(default_factory=_SliceSpec)


_class = Decoder(_DeviceClass).decode
_slice = Decoder(_Slice).decode


def decode_device_class(raw: bytes | Raw) -> DeviceClass:
    """A class offers the resource that it names, and one under its own name."""
    found = _class(raw)
    named = found.spec.extended_resource_name
    expressions = (selector.cel.expression for selector in found.spec.selectors or ())
    return DeviceClass(
        found.metadata,
        (*((named,) if named else ()), _IMPLICIT + found.metadata.name),
        frozenset(driver for expression in expressions for driver in _DRIVER.findall(expression)),
    )


def decode_resource_slice(raw: bytes | Raw) -> Devices:
    """Its devices are forgotten, but for where they are."""
    found = _slice(raw)
    devices = found.spec.devices or ()
    wheres = devices if found.spec.per_device_node_selection else [found.spec] if devices else ()
    return Devices(
        found.metadata,
        found.spec.driver,
        frozenset(where.node_name for where in wheres if where.node_name),
        tuple(
            dict.fromkeys(
                term
                for where in wheres
                if where.node_selector
                for term in where.node_selector.node_selector_terms or ()
            )
        ),
        any(where.all_nodes for where in wheres),
    )
