"""Storage objects as the API server has them, those we have assumed something of as we assumed it, and who needs what.

Each change says what it is a change of, as keys: a claim, a volume, a node, a driver, a driver's limits, or a class,
which stands for all that decides where its claims can be served: itself, its volumes, its capacities. Who computed
something from the index has noted such keys, and computes it again when one of them is told of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from nos.kube.quantity import nano, units
from nos.kube.storage import (
    ClaimRef,
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    Stored,
    VolumeAttachment,
)


class Key(NamedTuple):
    """What something depends on; kind: claim, volume, class, node, driver or limit."""

    kind: str
    name: str


class StorageIndex:
    """All storage objects, by what they are looked up by."""

    def __init__(self) -> None:
        self._tables: dict[type[Any], dict[str, Any]] = {}
        self._by_class: dict[str, dict[str, PersistentVolume]] = {}
        self._by_claim: dict[str, set[str]] = {}  # volumes whose claimRef names it
        self._capacities: dict[str, dict[str, CSIStorageCapacity]] = {}  # by class
        self._attachments: dict[str, dict[str, VolumeAttachment]] = {}  # by node
        self._attached_to: dict[str, set[str]] = {}  # nodes, by volume
        self._limits: Counter[str] = Counter()  # nodes that limit a driver's volumes
        self._taken: dict[str, ClaimRef] = {}  # volumes assumed for a claim
        self._selected: dict[str, str] = {}  # nodes assumed for a claim
        self._avoided: dict[str, frozenset[str]] = {}  # nodes where a claim could not be served
        self.remembered: dict[str, dict[Any, Any]] = {}  # what was made of a class, until something of it changes

    # What there is.

    def claim(self, key: str) -> PersistentVolumeClaim | None:
        """By namespace/name."""
        return self._table(PersistentVolumeClaim).get(key)

    def volume(self, name: str) -> PersistentVolume | None:
        """By name."""
        return self._table(PersistentVolume).get(name)

    def storage_class(self, name: str) -> StorageClass | None:
        """By name."""
        return self._table(StorageClass).get(name)

    def driver(self, name: str) -> CSIDriver | None:
        """By name."""
        return self._table(CSIDriver).get(name)

    def csi_node(self, name: str) -> CSINode | None:
        """By the node's name."""
        return self._table(CSINode).get(name)

    def keys_of(self, kind: type[Any]) -> set[str]:
        """Of all objects of a kind."""
        return set(self._table(kind))

    def volumes_of(self, class_name: str) -> Iterable[PersistentVolume]:
        """All of that class."""
        return self._by_class.get(class_name, {}).values()

    def capacities_of(self, class_name: str) -> Iterable[CSIStorageCapacity]:
        """All of that class."""
        return self._capacities.get(class_name, {}).values()

    def attachments_of(self, node: str) -> Iterable[VolumeAttachment]:
        """All of that node."""
        return self._attachments.get(node, {}).values()

    def is_limited(self, driver: str) -> bool:
        """Whether any node limits how many volumes of the driver it takes."""
        return driver in self._limits

    def claim_of(self, volume: PersistentVolume) -> ClaimRef | None:
        """Whom the volume is for, or is going to be; None where it is free."""
        return volume.spec.claim_ref or self._taken.get(volume.metadata.name)

    def volumes_for(self, claim: PersistentVolumeClaim) -> list[PersistentVolume]:
        """Those that are for this claim already, by name."""
        names = self._by_claim.get(claim.metadata.key, set())
        found = (self.volume(name) for name in sorted(names))
        return [v for v in found if v and (ref := self.claim_of(v)) and is_for(ref, claim)]

    def selected_node(self, claim: PersistentVolumeClaim) -> str | None:
        """Where the claim's volume is to be made, or is going to be."""
        selected = claim.metadata.annotations.selected_node
        return self._selected.get(claim.metadata.key) if selected is None else selected

    def avoided_nodes(self, key: str) -> frozenset[str]:
        """Where the claim is not to be served for now."""
        return self._avoided.get(key, frozenset())

    # How it changes. All return what that is a change of.

    def put(self, item: Stored) -> set[Key]:
        """An object is there, in this state. One that is older than what is known changes nothing."""
        table, key = self._table(type(item)), item.metadata.key
        before = table.get(key)
        if before is not None:
            if before.metadata.uid == item.metadata.uid and _is_older(item, before):
                return set()
            if before == item:
                before.metadata.resource_version = item.metadata.resource_version
                return set()
            changed = self._take_out(before)
        else:
            changed = set()
        table[key] = item
        return self._forget_made(changed | self._enter(item))

    def drop(self, item: Stored) -> set[Key]:
        """An object is gone."""
        before = self._table(type(item)).pop(item.metadata.key, None)
        return self._forget_made(self._take_out(before)) if before is not None else set()

    def drop_key(self, kind: type[Any], key: str) -> set[Key]:
        """Likewise, where no more than that is known of it."""
        before = self._table(kind).get(key)
        return self.drop(before) if before is not None else set()

    def take(self, name: str, claim: PersistentVolumeClaim) -> set[Key]:
        """The volume is going to be for the claim."""
        metadata = claim.metadata
        return self._assume(name, ClaimRef(metadata.namespace, metadata.name, metadata.uid))

    def release(self, name: str, claim_key: str) -> set[Key]:
        """Nothing has come of that, or it is written."""
        taken = self._taken.get(name)
        return self._assume(name, None) if taken and taken.key == claim_key else set()

    def _assume(self, name: str, reference: ClaimRef | None) -> set[Key]:
        volume = self.volume(name)
        changed = self._take_out(volume) if volume else set()
        if reference:
            self._taken[name] = reference
        else:
            self._taken.pop(name, None)
        if volume:
            changed |= self._enter(volume)
        return self._forget_made(changed)

    def select(self, claim_key: str, node: str) -> set[Key]:
        """The claim's volume is going to be made on the node; empty: nothing has come of that, or it is written."""
        if node:
            self._selected[claim_key] = node
        else:
            self._selected.pop(claim_key, None)
        return {Key("claim", claim_key)}

    def avoid(self, claim_key: str, nodes: frozenset[str]) -> set[Key]:
        """The claim is not to be served on these nodes, for now."""
        if nodes:
            self._avoided[claim_key] = nodes
        else:
            self._avoided.pop(claim_key, None)
        return {Key("claim", claim_key)}

    def _table(self, kind: type[Any]) -> dict[str, Any]:
        return self._tables.setdefault(kind, {})

    def _enter(self, item: Stored) -> set[Key]:
        name = item.metadata.key
        match item:
            case PersistentVolumeClaim():
                return {Key("claim", name)}
            case PersistentVolume():
                self._by_class.setdefault(item.class_name, {})[name] = item
                if reference := self.claim_of(item):
                    self._by_claim.setdefault(reference.key, set()).add(name)
                return self._of_volume(item)
            case CSINode():
                fresh = {driver for driver in _limited(item) if driver not in self._limits}
                self._limits.update(_limited(item))
                return {Key("node", name), *(Key("limit", driver) for driver in fresh)}
            case CSIDriver():
                return self._of_driver(name)
            case CSIStorageCapacity():
                self._capacities.setdefault(item.storage_class_name, {})[name] = item
                return {Key("class", item.storage_class_name)}
            case VolumeAttachment():
                self._attachments.setdefault(item.spec.node_name, {})[name] = item
                if volume := item.spec.source.persistent_volume_name:
                    self._attached_to.setdefault(volume, set()).add(item.spec.node_name)
                return {Key("node", item.spec.node_name)}
        return {Key("class", name)}

    def _take_out(self, item: Stored) -> set[Key]:
        name = item.metadata.key
        match item:
            case PersistentVolumeClaim():
                return {Key("claim", name)}
            case PersistentVolume():
                _discard(self._by_class, item.class_name, name)
                if (reference := self.claim_of(item)) and (names := self._by_claim.get(reference.key)):
                    names.discard(name)
                    if not names:
                        del self._by_claim[reference.key]
                return self._of_volume(item)
            case CSINode():
                self._limits.subtract(_limited(item))
                idle = {driver for driver in _limited(item) if not self._limits[driver]}
                for driver in idle:
                    del self._limits[driver]
                return {Key("node", name), *(Key("limit", driver) for driver in idle)}
            case CSIDriver():
                return self._of_driver(name)
            case CSIStorageCapacity():
                _discard(self._capacities, item.storage_class_name, name)
                return {Key("class", item.storage_class_name)}
            case VolumeAttachment():
                _discard(self._attachments, item.spec.node_name, name)
                volume = item.spec.source.persistent_volume_name
                others = self._attachments.get(item.spec.node_name, {}).values()
                if volume and all(other.spec.source.persistent_volume_name != volume for other in others):
                    self._attached_to.get(volume, set()).discard(item.spec.node_name)
                    if not self._attached_to.get(volume, True):
                        del self._attached_to[volume]
                return {Key("node", item.spec.node_name)}
        return {Key("class", name)}

    def _of_volume(self, volume: PersistentVolume) -> set[Key]:
        name = volume.metadata.name
        nodes = {Key("node", node) for node in self._attached_to.get(name, ())}
        return {Key("volume", name), Key("class", volume.class_name)} | nodes

    def _of_driver(self, name: str) -> set[Key]:
        classes = self._table(StorageClass).values()
        return {Key("driver", name), *(Key("class", c.metadata.name) for c in classes if c.provisioner == name)}

    def _forget_made(self, changed: set[Key]) -> set[Key]:
        for key in changed:
            if key.kind == "class":
                self.remembered.pop(key.name, None)
        return changed


def is_for(reference: ClaimRef, claim: PersistentVolumeClaim) -> bool:
    """Whether a claimRef means this claim; a user's may lack the uid."""
    return reference.key == claim.metadata.key and reference.uid in ("", claim.metadata.uid)


def quantity(text: str | None) -> int:
    """In whole units, rounded up; 0 for what is none."""
    try:
        return units("storage", nano(text or "0"))
    except ValueError:
        return 0


def _limited(node: CSINode) -> set[str]:
    return {d.name for d in node.spec.drivers or () if d.allocatable and d.allocatable.count is not None}


def _discard(table: dict[str, dict[str, Any]], first: str, second: str) -> None:
    inner = table.get(first, {})
    inner.pop(second, None)
    if not inner:
        table.pop(first, None)


def _is_older(item: Stored, known: Stored) -> bool:
    """A watch event that was under way when our own write was answered. Versions of one kind are numbers that grow."""
    mine, theirs = item.metadata.resource_version, known.metadata.resource_version
    return mine.isdigit() and theirs.isdigit() and int(mine) < int(theirs)
