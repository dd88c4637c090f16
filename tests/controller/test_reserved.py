"""Volumes set aside for claims: who comes first is served, and nobody gets what is another's."""

from __future__ import annotations

from nos.controller.ledger import Ledger
from nos.controller.reserved import Reserved, release, reserve
from nos.kube.node import Node
from nos.kube.volumes import asked, used
from tests.controller.in_loop import in_loop, settled
from tests.controller.test_ledger import node
from tests.controller.test_storage import pod, put, synced
from tests.kube.stored import claim, storage_class, term, volume


def world() -> Ledger:
    """Two disks on node a, one on node b, one everywhere; two claims, and one that a driver can serve."""
    ledger = synced(Ledger("nos-scheduler"))
    put(ledger, "classes", storage_class("local"), storage_class("fast", "csi.example.com"))
    disks = [volume(f"a-{n}", nodes=[term(disk="a")]) for n in (1, 2)]
    put(ledger, "volumes", *disks, volume("b-1", nodes=[term(disk="b")]), volume("nfs", size="9Gi"))
    put(ledger, "claims", claim("one"), claim("two"), claim("made", "fast"))
    return ledger


def on(name: str) -> Node:
    found = node(name)
    found.metadata.labels["disk"] = name
    return found


def reserved(ledger: Ledger, at: str, *choices: tuple[str, str]) -> dict[str, str] | None:
    """What is set aside for claims, each with the volume that the core has chosen for it."""
    offers = [asked(used(pod("p", name)), ledger.storage.index, set()).offers[0] for name, _ in choices]
    found = reserve(ledger.storage, on(at), tuple(offers), [chosen for _, chosen in choices])
    return found.volumes if found else None


@in_loop
async def test_what_the_core_has_chosen_is_set_aside() -> None:
    ledger = world()
    assert reserved(ledger, "a", ("one", "a-1"), ("two", "a-2")) == {"ml/one": "a-1", "ml/two": "a-2"}


@in_loop
async def test_another_volume_of_the_node_is_as_good() -> None:
    ledger = world()
    stale = asked(used(pod("p", "two")), ledger.storage.index, set()).offers
    assert reserved(ledger, "a", ("one", "a-1")) == {"ml/one": "a-1"}
    found = reserve(ledger.storage, on("a"), stale, ["a-1"])  # decided before the first was set aside
    assert found
    assert found.volumes == {"ml/two": "a-2"}


@in_loop
async def test_none_is_left() -> None:
    ledger = world()
    stale = asked(used(pod("p", "two")), ledger.storage.index, set()).offers
    put(ledger, "claims", claim("big", size="9Gi"))
    assert reserved(ledger, "b", ("one", "b-1"), ("big", "nfs"))
    assert reserve(ledger.storage, on("b"), stale, ["b-1"]) is None


@in_loop
async def test_all_or_nothing() -> None:
    ledger = world()
    stale = asked(used(pod("p", "two")), ledger.storage.index, set()).offers
    put(ledger, "claims", claim("big", size="9Gi"), claim("bigger", size="9Gi"))
    assert reserved(ledger, "b", ("big", "nfs")) == {"ml/big": "nfs"}
    offers = asked(used(pod("p", "one", "two")), ledger.storage.index, set()).offers
    assert reserve(ledger.storage, on("b"), offers, ["b-1", "b-1"]) is None
    found = reserve(ledger.storage, on("b"), stale, ["b-1"])  # the first claim of the Pod before has let go of it
    assert found
    assert found.volumes == {"ml/two": "b-1"}


@in_loop
async def test_pods_that_share_a_claim_get_the_same() -> None:
    ledger = world()
    stale = asked(used(pod("q", "one")), ledger.storage.index, set()).offers
    assert reserved(ledger, "a", ("one", "a-1"))
    for name, volumes in (("a", {"ml/one": "a-1"}), ("b", None)):
        found = reserve(ledger.storage, on(name), stale, ["b-1"])
        assert (found.volumes if found else None) == volumes
    stale = asked(used(pod("q", "made")), ledger.storage.index, set()).offers
    assert reserved(ledger, "a", ("made", "")) == {"ml/made": ""}
    assert reserve(ledger.storage, on("b"), stale, [""]) is None
    assert reserve(ledger.storage, on("a"), stale, [""]) == Reserved("a", {"ml/made": ""})


@in_loop
async def test_what_is_released_is_offered_again() -> None:
    ledger = world()
    ledger.nodes.changed(on("b"))
    ledger.pods.changed(pod("waits", "two"))
    found = Reserved("b", reserved(ledger, "b", ("one", "b-1")) or {})
    put(ledger, "volumes", volume("extra", size="8Gi"))  # whoever looks now does not find it
    await settled()
    (offer,) = ledger.waiting["u-waits"].facts.asked.offers
    assert "b-1" not in dict(offer.claim.volumes)
    release(ledger.storage, found)
    await settled()
    (offer,) = ledger.waiting["u-waits"].facts.asked.offers
    assert "b-1" in dict(offer.claim.volumes)
