"""What nos has to be told to order nodes from Karpenter: which NodePools, and what machines there are at which price.

Karpenter's API has no list of instance types, and no prices: those are the cloud provider's own.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from nos.autoscaler.template import GPU, check_allocatable, check_quantities
from nos.kube.quantity import NANO, nano

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")]  # may be a label's value


class OfferingSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Where a machine can be had, and for how much. price: dollars per hour."""

    zone: _Name
    price: Annotated[float, Meta(ge=0, le=1_000_000)]
    capacity_type: Literal["on-demand", "spot", "reserved"] = "on-demand"

    @property
    def micro_dollars(self) -> int:
        """The price, as the core counts it."""
        return round(self.price * 1_000_000)


class InstanceTypeSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A kind of machine.

    allocatable: what its Node offers to Pods. capacity: what the machine has, which the pools' limits count; what is
    not said is as in allocatable. labels: what its Node carries beside the pool's labels.
    """

    name: _Name
    allocatable: dict[str, str]
    offerings: Annotated[tuple[OfferingSettings, ...], Meta(min_length=1)]
    capacity: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_allocatable(f"{self.name}: allocatable", self.allocatable)
        check_quantities(f"{self.name}: capacity", self.capacity)
        _each_once(
            f"{self.name}: offerings: zone and capacityType",
            (f"{one.zone}, {one.capacity_type}" for one in self.offerings),
        )

    @property
    def gpus(self) -> int:
        """How many it has."""
        return nano(self.allocatable.get(GPU, "0")) // NANO


class KarpenterSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Nodes can be had of each pool in each offering of each instance type that the pool's requirements allow."""

    node_pools: Annotated[tuple[_Name, ...], Meta(min_length=1)]
    instance_types: Annotated[tuple[InstanceTypeSettings, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        _each_once("nodePools", self.node_pools)
        _each_once("instanceTypes: name", (one.name for one in self.instance_types))


def _each_once(what: str, values: Iterable[str]) -> None:
    for value, times in Counter(values).items():
        if times > 1:
            raise ValueError(f"{what}: {value} is there {times} times; give each once")
