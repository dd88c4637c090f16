"""The index of storage objects: whom a change concerns, and what is assumed until the API server confirms it."""

from __future__ import annotations

from nos.kube.selectors import NodeTerm, Requirement
from nos.kube.storage_index import Key, StorageIndex
from nos.kube.volume_match import Claim
from nos.kube.volumes import asked, used
from tests.kube.stored import (
    attachment,
    bound,
    capacity,
    claim,
    csi,
    csi_driver,
    csi_node,
    index,
    pod,
    put,
    storage_class,
    volume,
)

LOCAL = [storage_class("local")]
CSI = [storage_class("fast", "csi.example.com")]


def only(of: StorageIndex, name: str = "data") -> Claim:
    (found,) = asked(used(pod(name)), of, set()).volumes.claims
    return found


def names(found: Claim) -> list[str]:
    return [name for name, _ in found.volumes]


def looked_at(of: StorageIndex, *claims: str) -> set[Key]:
    seen: set[Key] = set()
    asked(used(pod(*claims)), of, seen)
    return seen


def test_each_change_that_matters_is_told_and_no_other() -> None:
    of = index(
        classes=[*CSI, *LOCAL], claims=[claim("data", "fast"), bound("done", "v")], volumes=[volume("v", "fast")]
    )
    free, pinned = looked_at(of, "data"), looked_at(of, "done")
    assert looked_at(of, "missing") & put(of, "claims", claim("missing", "fast"))
    for kind, change, tells_free, tells_pinned in (
        ("claims", claim("data", "fast", size="2Gi"), True, False),
        ("claims", claim("data", "fast", size="2Gi", resourceVersion="9"), False, False),  # nothing in it is new
        ("claims", claim("other", "fast"), False, False),
        ("volumes", volume("w", "fast"), True, False),
        ("volumes", volume("w", "fast", phase="Bound"), True, False),
        ("volumes", volume("l", "local"), False, False),
        ("volumes", volume("v", "fast", **csi("h")), True, True),
        ("classes", storage_class("fast", "csi.example.com", allowedTopologies=[{}]), True, False),
        ("drivers", csi_driver("csi.example.com", storageCapacity=True), True, False),
        ("drivers", csi_driver("other.example.com", storageCapacity=True), False, False),
        ("capacities", capacity("c", "fast", "1Gi", {}), True, False),
        ("capacities", capacity("d", "local", "1Gi", {}), False, False),
        ("csi_nodes", csi_node("n", csi_example_com=1), True, False),  # the first that limits this driver
        ("csi_nodes", csi_node("m", csi_example_com=1), False, False),
    ):
        told = put(of, kind, change)
        assert (bool(told & free), bool(told & pinned)) == (tells_free, tells_pinned), change


def test_a_change_of_nothing_is_known_for_the_next_write() -> None:
    of = index(claims=[claim("data")])
    assert not put(of, "claims", claim("data", resourceVersion="9"))
    found = of.claim("ml/data")
    assert found
    assert found.metadata.resource_version == "9"


def test_an_attachment_tells_its_node_and_so_does_its_volume() -> None:
    of = index()
    assert put(of, "attachments", attachment("a", "n", "v")) == {Key("node", "n")}
    assert Key("node", "n") in put(of, "volumes", volume("v", **csi("h")))
    assert put(of, "csi_nodes", csi_node("n")) == {Key("node", "n")}


# What is assumed.


def test_a_volume_that_is_taken_is_offered_to_its_claim_alone() -> None:
    of = index(classes=LOCAL, claims=[claim("data"), claim("rival")], volumes=[volume("v"), volume("w")])
    mine, theirs = (of.claim(f"ml/{name}") for name in ("data", "rival"))
    assert mine
    assert theirs
    seen = looked_at(of, "rival")
    assert seen & of.take("v", mine)
    assert (names(only(of)), names(only(of, "rival"))) == (["v"], ["w"])
    assert not of.release("v", "ml/rival")
    assert seen & of.release("v", "ml/data")
    assert (names(only(of)), names(only(of, "rival"))) == (["v", "w"], ["v", "w"])
    of.take("v", theirs)
    put(of, "volumes", volume("v", claimRef={"namespace": "ml", "name": "data", "uid": "uid-of-data"}))
    assert names(only(of)) == ["v"]  # what is written counts more than what we meant to write
    of.release("v", "ml/rival")
    assert (names(only(of)), names(only(of, "rival"))) == (["v"], ["w"])


def test_a_node_that_is_assumed_for_a_claim_pins_all_its_pods() -> None:
    of = index(classes=CSI, claims=[claim("data", "fast")])
    assert looked_at(of, "data") & of.select("ml/data", "n1")
    assert only(of).provision == ((NodeTerm(match_fields=(Requirement("metadata.name", "In", ("n1",)),)),),)
    of.select("ml/data", "")
    assert only(of).provision == ()


def test_a_node_may_be_avoided_for_a_while() -> None:
    of = index(classes=CSI, claims=[claim("data", "fast"), claim("other", "fast")])
    assert looked_at(of, "data") & of.avoid("ml/data", frozenset({"n2", "n1"}))
    fields = tuple(Requirement("metadata.name", "NotIn", (name,)) for name in ("n1", "n2"))
    assert only(of).provision == ((NodeTerm(match_fields=fields),),)
    assert only(of, "other").provision == ()
    of.avoid("ml/data", frozenset())
    assert only(of).provision == ()


def test_an_older_state_does_not_undo_what_was_written() -> None:
    of = index(volumes=[volume("v", claimRef={"namespace": "ml", "name": "data"}) | {}])
    old = volume("v")
    old["metadata"]["resourceVersion"] = "5"
    assert put(of, "volumes", old) == set()
    old["metadata"]["uid"] = "another volume of that name"
    assert put(of, "volumes", old) != set()
