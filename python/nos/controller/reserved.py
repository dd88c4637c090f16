"""Volumes and nodes that decisions have set aside for claims, until the API server confirms them.

The core decides on many Pods at once, each by what was known before; so two may have chosen one volume, or have one
unbound claim in common and be on different nodes. Who comes first here is served. For the other another volume that its
node can use is looked for; if there is none its decision does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from nos.controller.storage import Storage
from nos.kube.node import Node
from nos.kube.storage import PersistentVolumeClaim
from nos.kube.storage_index import is_for
from nos.kube.volume_match import Claim
from nos.kube.volume_terms import of_use, usable_on
from nos.kube.volumes import Offer


@dataclass(slots=True)
class Reserved:
    """What one Pod's claims are to get: by claim the volume, empty where one is to be made."""

    node: str
    volumes: dict[str, str] = field(default_factory=dict)


def reserve(storage: Storage, node: Node, offers: tuple[Offer, ...], chosen: list[str]) -> Reserved | None:
    """Set aside what the core has chosen, or as good; None where that cannot be."""
    name_of_node = node.metadata.name
    reserved = Reserved(name_of_node)
    for (key, served), name in zip(offers, chosen, strict=True):
        claim = storage.index.claim(key)
        if claim is not None and claim.bound:  # since the core decided; whether it is of use is seen to later
            reserved.volumes[key] = claim.spec.volume_name
            continue
        volume = _volume(storage, claim, served, name, node) if claim else None
        if claim is None or volume is None or (not volume and not _can_be_made(storage, claim, name_of_node)):
            release(storage, reserved)
            return None
        reserved.volumes[key] = volume
        # Nobody has to look again: while the Pod is assumed the core does not choose its volumes for others.
        if volume:
            storage.index.take(volume, claim)
        else:
            storage.index.select(key, name_of_node)
    return reserved


def release(storage: Storage, reserved: Reserved) -> None:
    """It is written, or nothing comes of it."""
    for key, name in reserved.volumes.items():
        release_one(storage, key, name)


def release_one(storage: Storage, key: str, name: str) -> None:
    """Likewise, of one claim."""
    storage.news(storage.index.release(name, key) if name else storage.index.select(key, ""))


def _volume(storage: Storage, claim: PersistentVolumeClaim, served: Claim, chosen: str, node: Node) -> str | None:
    """The volume for the claim on this node; empty where it is to be made; None where neither can be."""
    index = storage.index
    if theirs := index.volumes_for(claim):  # another of its Pods has been served
        volume = theirs[0]
        return volume.metadata.name if of_use(usable_on(volume), node) else None
    if not chosen:
        return ""
    others = (name for name, terms in served.volumes if of_use(terms, node))
    for name in chain([chosen], others):
        found = index.volume(name)
        if found and found.metadata.deletion_timestamp is None:
            reference = index.claim_of(found)
            if reference is None or is_for(reference, claim):
                return name
    return None


def _can_be_made(storage: Storage, claim: PersistentVolumeClaim, node: str) -> bool:
    return storage.index.selected_node(claim) in (None, node)
