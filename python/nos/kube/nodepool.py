"""Karpenter's NodePools, as msgspec structs over the API server's JSON: what a node of one is like."""

from collections.abc import Mapping
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos.kube.meta import Metadata as _Metadata
from nos.kube.node import Taint
from nos.kube.selectors import Requirement, matches

NODE_POOLS = "/apis/karpenter.sh/v1/nodepools"
READY = "Ready"

Quantities = dict[str, str | int]


class Metadata(_Metadata, rename="camel"):
    """Which object, in which version, and since and until when."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    creation_timestamp: str = ""
    deletion_timestamp: str = ""


class Condition(Struct, frozen=True, rename="camel"):
    """One of status.conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class NodeClassRef(Struct, frozen=True):
    """What the cloud provider is told of its machines."""

    group: str = ""
    kind: str = ""
    name: str = ""


class TemplateMetadata(Struct, frozen=True):
    """What every node is to carry."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class TemplateSpec(Struct, frozen=True, rename="camel"):
    """What every node is to be like."""

    node_class_ref: NodeClassRef = field(default_factory=NodeClassRef)
    requirements: tuple[Requirement, ...] = ()
    taints: tuple[Taint, ...] = ()
    startup_taints: tuple[Taint, ...] = ()
    termination_grace_period: str = ""


class Template(Struct, frozen=True):
    """A NodePool's nodes."""

    metadata: TemplateMetadata = field(default_factory=TemplateMetadata)
    spec: TemplateSpec = field(default_factory=TemplateSpec)


class Spec(Struct, frozen=True):
    """replicas: of a static pool, whose nodes are made by count alone."""

    template: Template = field(default_factory=Template)
    limits: Quantities = field(default_factory=dict)
    replicas: int | None = None


class Status(Struct, frozen=True):
    """What Karpenter says of it."""

    conditions: tuple[Condition, ...] = ()


class NodePool(Struct):
    """A NodePool as the API server sends it."""

    metadata: Metadata
    spec: Spec = field(default_factory=Spec)
    status: Status = field(default_factory=Status)

    @property
    def unready(self) -> str:
        """Why Karpenter makes no nodes of it; empty where it would, or has not said."""
        denied = [c for c in self.status.conditions if c.status == "False"]
        if not any(c.type == READY for c in denied):
            return ""
        told = [c for c in denied if c.type != READY] or denied
        return "; ".join(f"{c.type}: {c.message or c.reason}" for c in told)

    @property
    def labels(self) -> dict[str, str]:
        """What its nodes carry because of it: what it says, and what its requirements leave no choice about."""
        template = self.spec.template
        certain = {r.key: _only(r.values) for r in template.spec.requirements if r.operator == "In" and _only(r.values)}
        return certain | template.metadata.labels

    def conflict(self, labels: Mapping[str, str]) -> Requirement | None:
        """The first of its requirements that a machine with these labels does not meet. One on a label that is not
        among them is not judged: it is the cloud provider's to know."""
        judged = (r for r in self.spec.template.spec.requirements if r.key in labels)
        return next((r for r in judged if not matches([_strict(r)], labels)), None)


class _List(Struct):
    items: list[NodePool]


decode_node_pool = Decoder(NodePool).decode
decode_node_pools = Decoder(_List).decode


def node_pool_path(name: str) -> str:
    """The path of a NodePool."""
    return f"{NODE_POOLS}/{quote(name, safe='')}"


def annotation_patch(resource_version: str, annotations: Mapping[str, str]) -> bytes:
    """A merge patch that adds annotations if the object is still as we know it, and fails with 409 otherwise."""
    return encode({"metadata": {"resourceVersion": resource_version, "annotations": annotations}})


def _only(values: tuple[str, ...] | None) -> str:
    """The one value; empty where there are more or none."""
    return values[0] if values and len(values) == 1 else ""


def _strict(requirement: Requirement) -> Requirement:
    """Karpenter's `at least` and `at most`, in the operators of everybody else."""
    bound = _only(requirement.values)
    if requirement.operator not in ("Gte", "Lte") or not bound.isdecimal():
        return requirement
    is_least = requirement.operator == "Gte"
    return Requirement(requirement.key, "Gt" if is_least else "Lt", (str(int(bound) + (-1 if is_least else 1)),))
