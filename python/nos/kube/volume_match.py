"""How an unbound claim can be served: which of the volumes that exist would do, and where one can be made.

As FindMatchingVolume and the VolumeBinding plugin of kube-scheduler have it, for all nodes at once: the nodes are left
as terms, and the core picks for each node the first volume that it can use.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from nos import _core
from nos.kube.quantity import nano
from nos.kube.selectors import NodeTerm, core_terms, matches
from nos.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from nos.kube.storage_index import StorageIndex, quantity
from nos.kube.volume_terms import Terms, allowed, not_on_nodes, on_node, reached, usable_on

NO_PROVISIONER = "kubernetes.io/no-provisioner"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim whose volume is chosen with the node; see nos._core.VolumeClaim. There may be thousands of volumes, so
    its hash is computed once."""

    volumes: tuple[tuple[str, tuple[NodeTerm, ...] | None], ...] = ()
    provision: tuple[tuple[NodeTerm, ...], ...] | None = None
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.volumes, self.provision)))

    def __hash__(self) -> int:
        return self._hash


@lru_cache(maxsize=1024)
def core_claim(claim: Claim) -> _core.VolumeClaim:
    """The core's spelling."""
    return _core.VolumeClaim(
        [(name, None if terms is None else core_terms(terms)) for name, terms in claim.volumes],
        provision=None if claim.provision is None else [core_terms(terms) for terms in claim.provision],
    )


class _Want(NamedTuple):
    """What decides how a claim can be served, beside its class and what is for it alone."""

    storage: int  # nano
    modes: tuple[str, ...]
    volume_mode: str
    attributes_class: str
    selector: str


def request(claim: PersistentVolumeClaim) -> int:
    """How much it asks for, in nano-bytes."""
    try:
        return nano(claim.spec.resources.requests.storage or "0")
    except ValueError:
        return 0


def claim_to_serve(claim: PersistentVolumeClaim, storage_class: StorageClass, index: StorageIndex) -> Claim:
    """How the claim can be served. It depends on the keys of the claim and of its class."""
    key = claim.metadata.key
    if (node := index.selected_node(claim)) is not None:  # its volume is being made there
        provision = _provision(claim, storage_class, index)
        return Claim(provision=None if provision is None else (on_node(node), *provision))
    want = _want(claim)
    if prebound := [volume for volume in index.volumes_for(claim) if _fits(volume, want, storage_class)]:
        volume = prebound[0]
        served = Claim(((volume.metadata.name, usable_on(volume)),), _provision(claim, storage_class, index))
    else:
        served = _shared(claim, want, storage_class, index)
    if (avoided := index.avoided_nodes(key)) and served.provision is not None:
        return Claim(served.volumes, (not_on_nodes(avoided), *served.provision))
    return served


def _shared(claim: PersistentVolumeClaim, want: _Want, storage_class: StorageClass, index: StorageIndex) -> Claim:
    """What would do for all claims that want the same."""
    remembered = index.remembered.setdefault(claim.class_name, {})
    if (served := remembered.get(want)) is None:
        volumes = sorted(
            (
                volume
                for volume in index.volumes_of(claim.class_name)
                if volume.status.phase == "Available"
                and index.claim_of(volume) is None
                and _fits(volume, want, storage_class)
                and set(want.modes) <= set(volume.spec.access_modes)
                and _selects(claim, volume)
            ),
            key=lambda volume: (_size(volume), volume.metadata.name),
        )
        offers = tuple((volume.metadata.name, usable_on(volume)) for volume in volumes)
        served = remembered[want] = Claim(offers, _provision(claim, storage_class, index))
    return served


def _want(claim: PersistentVolumeClaim) -> _Want:
    spec = claim.spec
    selector = repr(spec.selector.requirements()) if spec.selector else ""
    return _Want(request(claim), spec.access_modes, spec.volume_mode, spec.volume_attributes_class_name or "", selector)


def _fits(volume: PersistentVolume, want: _Want, storage_class: StorageClass) -> bool:
    """What holds for a volume that is for this claim already as well."""
    spec = volume.spec
    return (
        volume.class_name == storage_class.metadata.name
        and volume.metadata.deletion_timestamp is None
        and _size(volume) >= want.storage
        and spec.volume_mode == want.volume_mode
        and (spec.volume_attributes_class_name or "") == want.attributes_class
    )


def _selects(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    selector = claim.spec.selector
    return selector is None or matches(selector.requirements(), volume.metadata.labels or {})


def _size(volume: PersistentVolume) -> int:
    try:
        return nano(volume.spec.capacity.storage)
    except ValueError:
        return 0


def _provision(
    claim: PersistentVolumeClaim, storage_class: StorageClass, index: StorageIndex
) -> tuple[Terms, ...] | None:
    """Where a volume can be made for the claim: an AND of ORs of terms; None: nowhere."""
    if storage_class.provisioner in ("", NO_PROVISIONER):
        return None
    rules = (allowed(storage_class), _room(claim, storage_class, index))
    provision = tuple(terms for terms in rules if terms is not None)
    return provision if all(provision) else None


def _room(claim: PersistentVolumeClaim, storage_class: StorageClass, index: StorageIndex) -> Terms | None:
    """Where there is room for one, by what a driver that keeps track of its capacity reports."""
    driver = index.driver(storage_class.provisioner)
    if driver is None or not driver.spec.storage_capacity or claim.spec.resources.requests.storage is None:
        return None
    size = quantity(claim.spec.resources.requests.storage)
    return reached(
        capacity
        for capacity in index.capacities_of(storage_class.metadata.name)
        if (limit := capacity.maximum_volume_size or capacity.capacity) is not None and quantity(limit) >= size
    )
