"""ElasticQuotas and CompositeElasticQuotas, as msgspec structs over the API server's JSON, and what they bound.

The two kinds differ in whose Pods count: those of the quota's own namespace, or those of the namespaces that it lists.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from nos.kube.decode.amounts import countable
from nos.kube.meta import Metadata as _Metadata
from nos.kube.quantity import NANO, nano, units

ELASTIC, COMPOSITE = "ElasticQuota", "CompositeElasticQuota"
READY = "Ready"
_GROUP = "/apis/nos.nebuly.com/v1alpha1"
_PLURALS = {ELASTIC: "elasticquotas", COMPOSITE: "compositeelasticquotas"}
ELASTIC_QUOTAS, COMPOSITE_QUOTAS = (f"{_GROUP}/{plural}" for plural in _PLURALS.values())


class Metadata(_Metadata, rename="camel"):
    """Which quota, in which version, and since when."""

    generation: int = 0
    creation_timestamp: str = ""


class Spec(Struct, frozen=True):
    """What it promises and allows. Amounts are quantities, or whole numbers."""

    min: dict[str, str | int] | None = None
    max: dict[str, str | int] | None = None
    namespaces: tuple[str, ...] | None = None
    parent: str = ""


class Condition(Struct, frozen=True, rename="camel"):
    """One of status.conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""


class Status(Struct, frozen=True, rename="camel"):
    """What was last written of it. usage is for people."""

    observed_generation: int = 0
    used: dict[str, str | int] | None = None
    usage: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def ready(self) -> Condition:
        """The condition of that type; an empty one where there is none."""
        return next((c for c in self.conditions if c.type == READY), Condition())


class Quota(Struct):
    """A quota as the API server sends it."""

    kind: str
    metadata: Metadata
    spec: Spec = field(default_factory=Spec)
    status: Status = field(default_factory=Status)

    @property
    def name(self) -> str:
        """What the core and people call it: no other quota has this name."""
        return name_of(self.kind, self.metadata.key)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those whose Pods it claims."""
        if self.kind == COMPOSITE:
            return tuple(dict.fromkeys(self.spec.namespaces or ()))
        return (self.metadata.namespace,)

    @property
    def parent(self) -> str:
        """namespace/name of the quota that it is part of, of either kind; empty where it is part of none."""
        parent = self.spec.parent
        return parent if "/" in parent or not parent else f"{self.metadata.namespace}/{parent}"


class Bounds(NamedTuple):
    """min and max in the core's units, and what of them could not be taken as it stands."""

    min: dict[str, int]
    max: dict[str, int]
    faults: tuple[str, ...]


class _Found(Struct):
    metadata: Metadata
    spec: Spec | None = None
    status: Status | None = None


_found = Decoder(_Found).decode


def decode_elastic(raw: bytes | Raw) -> Quota:
    """An ElasticQuota."""
    return _quota(ELASTIC, raw)


def decode_composite(raw: bytes | Raw) -> Quota:
    """A CompositeElasticQuota."""
    return _quota(COMPOSITE, raw)


def _quota(kind: str, raw: bytes | Raw) -> Quota:
    found = _found(raw)
    return Quota(kind, found.metadata, found.spec or Spec(), found.status or Status())


def name_of(kind: str, key: str) -> str:
    """What the core, and people, call the quota with that namespace/name."""
    return f"{kind} {key}"


def quota_path(quota: Quota, subresource: str = "") -> str:
    """The path of a quota, or of its subresource."""
    namespace, name = quote(quota.metadata.namespace, safe=""), quote(quota.metadata.name, safe="")
    path = f"{_GROUP}/namespaces/{namespace}/{_PLURALS[quota.kind]}/{name}"
    return f"{path}/{subresource}" if subresource else path


def bounds(spec: Spec) -> Bounds:
    """An amount that makes no sense is left out, so that what is sound still counts. The CRDs refuse most of these."""
    faults: list[str] = []
    lower, upper = _amounts("min", spec.min, faults), _amounts("max", spec.max, faults)
    for resource, most in upper.items():
        if lower.get(resource, 0) > most:
            faults.append(f"The max of {resource} is below its min, which counts as max: raise max or lower min")
            lower[resource] = most
    return Bounds(lower, upper, tuple(faults))


def _amounts(which: str, quantities: Mapping[str, str | int] | None, faults: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for resource, text in (quantities or {}).items():
        try:
            amount = nano(str(text))
        except ValueError as error:
            faults.append(f"The {which} of {resource} does not count, {error}: give a quantity of 0 or more")
            continue
        if "/" in resource and amount % NANO:
            faults.append(f"The {which} of {resource} is not a whole number, so it does not count: round it up")
            continue
        found[resource] = units(resource, amount)
    counted = countable(found)
    faults += [
        f"The {which} of {r} counts as {most}: nos counts no more" for r, most in counted.items() if found[r] > most
    ]
    return counted
