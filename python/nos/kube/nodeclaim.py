"""Karpenter's NodeClaims: one for each machine, from the order to its end. Structs, and the requests that make and end
one. Its spec cannot change."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos.kube.node import Taint
from nos.kube.nodepool import Condition, Metadata, NodePool, Quantities
from nos.kube.selectors import Requirement

NODE_CLAIMS = "/apis/karpenter.sh/v1/nodeclaims"
NODE_POOL = "karpenter.sh/nodepool"  # label; Karpenter consolidates and expires only what carries it
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"
CAPACITY_TYPE = "karpenter.sh/capacity-type"

LAUNCHED, REGISTERED, INITIALIZED = "Launched", "Registered", "Initialized"  # conditions, in their order
NOT_TRIED = "AwaitingReconciliation"  # reason of a condition that nobody has worked on yet


class Resources(Struct, frozen=True):
    """What the machine must have."""

    requests: Quantities = field(default_factory=dict)


class Spec(Struct, frozen=True):
    """What was ordered."""

    requirements: tuple[Requirement, ...] = ()
    resources: Resources = field(default_factory=Resources)


class Status(Struct, frozen=True, rename="camel"):
    """What came of it."""

    node_name: str = ""
    capacity: Quantities = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


class NodeClaim(Struct):
    """A NodeClaim as the API server sends it."""

    metadata: Metadata
    spec: Spec = field(default_factory=Spec)
    status: Status = field(default_factory=Status)

    def condition(self, kind: str) -> Condition:
        """The condition of that type; an empty one where there is none."""
        return next((c for c in self.status.conditions if c.type == kind), Condition())

    @property
    def created(self) -> float:
        """Unix time."""
        return datetime.fromisoformat(self.metadata.creation_timestamp).timestamp()

    def wanted(self, label: str) -> tuple[str, ...]:
        """The values that it may have of a label; empty: any."""
        return next((r.values or () for r in self.spec.requirements if r.key == label and r.operator == "In"), ())


class _List(Struct):
    items: list[NodeClaim]


decode_node_claim = Decoder(NodeClaim).decode
decode_node_claims = Decoder(_List).decode


def node_claim_path(name: str) -> str:
    """The path of a NodeClaim."""
    return f"{NODE_CLAIMS}/{quote(name, safe='')}"


def creation(
    name: str,
    pool: NodePool,
    *,
    pinned: Mapping[str, str],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    startup_taints: Sequence[Taint],
    requests: Mapping[str, str],
) -> bytes:
    """A NodeClaim after a pool's template, without the pool's label: it is not Karpenter's to consolidate or replace.

    pinned: labels with the one value that they are to have. Labels and annotations go on to the Node.
    """
    template = pool.spec.template
    # The pool's word on a pinned label is spent, and a cloud provider may look at the first requirement alone.
    open_requirements = [r for r in template.spec.requirements if r.key not in pinned]
    pins = [Requirement(key, "In", (value,)) for key, value in pinned.items()]
    spec: dict[str, object] = {
        "nodeClassRef": template.spec.node_class_ref,
        "requirements": [_requirement(r) for r in (*pins, *open_requirements)],
        "resources": {"requests": dict(requests)},
        "taints": [_taint(taint) for taint in template.spec.taints],
        "startupTaints": [_taint(taint) for taint in (*template.spec.startup_taints, *startup_taints)],
        "expireAfter": "Never",
    }
    if template.spec.termination_grace_period:
        spec["terminationGracePeriod"] = template.spec.termination_grace_period
    metadata = {
        "name": name,
        "labels": {k: v for k, v in (pool.labels | dict(labels)).items() if k not in pinned},
        "annotations": template.metadata.annotations | dict(annotations),
    }
    return encode({"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": metadata, "spec": spec})


def deletion(claim: NodeClaim, *, unchanged: bool) -> bytes:
    """DeleteOptions under the precondition of its uid, and of its version where it must be as we know it."""
    preconditions = {"uid": claim.metadata.uid}
    if unchanged:
        preconditions["resourceVersion"] = claim.metadata.resource_version
    return encode({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions})


def _requirement(requirement: Requirement) -> dict[str, object]:
    values = {"values": requirement.values} if requirement.values else {}  # Exists has none
    return {"key": requirement.key, "operator": requirement.operator, **values}


def _taint(taint: Taint) -> dict[str, str]:
    return {"key": taint.key, "effect": taint.effect} | ({"value": taint.value} if taint.value else {})
