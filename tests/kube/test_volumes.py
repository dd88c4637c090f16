"""What volumes ask of a node: the rules of kube-scheduler's VolumeBinding, VolumeZone, VolumeRestrictions and
NodeVolumeLimits plugins, one test each."""

from __future__ import annotations

from typing import Any

import pytest

from nos.kube.node import Metadata, Node
from nos.kube.selectors import NodeTerm, Requirement
from nos.kube.storage_index import StorageIndex
from nos.kube.volume_match import Claim
from nos.kube.volume_terms import of_use
from nos.kube.volumes import Asked, NodeVolumes, PodVolumes, asked, held, offered, unread, used
from tests.kube.stored import (
    ZONE,
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
    term,
    volume,
)

LOCAL = [storage_class("local")]
CSI = [storage_class("fast", "csi.example.com")]


def ask(of: StorageIndex, *claims: str, **more: Any) -> Asked:
    return asked(used(pod(*claims, **more)), of, set())


def only(of: StorageIndex, name: str = "data") -> Claim:
    (found,) = ask(of, name).volumes.claims
    return found


def names(found: Claim) -> list[str]:
    return [name for name, _ in found.volumes]


def label(key: str, *values: str) -> NodeTerm:
    return NodeTerm((Requirement(key, "In", values),))


# What cannot be placed yet.


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        (
            [bound("data", "gone", phase="Lost")],
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "gone"',
        ),
        ([claim("data", deletionTimestamp="2026-01-01T00:00:00Z")], 'persistentvolumeclaim "data" is being deleted'),
        ([claim("data", "slow")], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim("data", "")], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim("data", None)], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim("data", "no-such-class")], "pod has unbound immediate PersistentVolumeClaims"),
        # Bound by hand to a volume, which the PV controller has not confirmed.
        ([claim("data", volumeName="v")], "pod has unbound immediate PersistentVolumeClaims"),
        ([bound("data", "gone")], 'persistentvolume "gone" not found'),
    ],
)
def test_waits_in_the_words_of_kube_scheduler(claims: list[dict[str, Any]], says: str) -> None:
    of = index(claims=claims, classes=[*LOCAL, storage_class("slow", "csi.example.com", wait=False)])
    assert ask(of, "data") == Asked(PodVolumes(waits_for=says))


def test_an_ephemeral_volume_has_a_claim_of_its_own() -> None:
    of = index(classes=LOCAL)
    waits = 'waiting for ephemeral volume controller to create the persistentvolumeclaim "train-scratch"'
    assert ask(of, ephemeral=("scratch",)).volumes.waits_for == waits
    put(of, "claims", claim("train-scratch", ownerReferences=[{"uid": "another", "controller": True}]))
    waits = "PVC ml/train-scratch was not created for pod ml/train (pod is not owner)"
    assert ask(of, ephemeral=("scratch",)).volumes.waits_for == waits
    put(of, "claims", claim("train-scratch", ownerReferences=[{"uid": "uid-of-train", "controller": True}]))
    assert ask(of, ephemeral=("scratch",)).to_bind == ("ml/train-scratch",)


def test_volumes_of_every_node_and_those_not_handled() -> None:
    everywhere = {"emptyDir": {}, "configMap": {"name": "c"}, "hostPath": {"path": "/x"}, "csi": {"driver": "inline"}}
    assert used(pod(**everywhere)) == used(pod())
    inline = pod("data", rbd={"image": "i"}, gcePersistentDisk={"pdName": "d"})
    assert used(inline).unsupported == ("rbd volume", "gcePersistentDisk volume")
    assert ask(index(), "data", rbd={}).volumes.unsupported == ("rbd volume",)
    assert unread(inline).unsupported == ("persistent volume claim data", "rbd volume", "gcePersistentDisk volume")


# Bound claims.


def test_a_bound_volume_is_used_where_its_affinity_lets_it() -> None:
    of = index(claims=[bound("data", "v")], volumes=[volume("v", nodes=[term(disk="a"), term(disk="b")])])
    found = ask(of, "data")
    assert found.volumes.affinity == ((label("disk", "a"), label("disk", "b")),)
    assert found.to_bind == ()


def test_fields_in_a_volumes_affinity_are_not_looked_at() -> None:
    fields = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    of = index(claims=[bound("data", "v")], volumes=[volume("v", nodes=[term(disk="a") | fields])])
    assert ask(of, "data").volumes.affinity == ((label("disk", "a"),),)
    put(of, "volumes", volume("v", nodes=[term(disk="a"), fields]))  # this term lets in every node
    assert ask(of, "data").volumes.affinity == ()
    put(of, "volumes", volume("v", nodes=[{}]))  # and this one none
    assert ask(of, "data").volumes.affinity == ((),)


@pytest.mark.parametrize(
    ("on_volume", "on_node", "fits"),
    [
        ({ZONE: "a"}, {ZONE: "a"}, True),
        ({ZONE: "a"}, {ZONE: "b"}, False),
        ({ZONE: "a__b"}, {ZONE: "b"}, True),
        ({ZONE: "a__ b"}, {ZONE: "b"}, True),
        ({ZONE: "a____b"}, {ZONE: "c"}, True),  # an empty value: the label is not looked at
        ({ZONE: "a"}, {}, True),  # a node without any zone or region is one that has no zones
        ({ZONE: "a"}, {"topology.kubernetes.io/region": "r"}, False),
        ({"failure-domain.beta.kubernetes.io/zone": "a"}, {ZONE: "a"}, True),
        ({"failure-domain.beta.kubernetes.io/zone": "a"}, {ZONE: "b"}, False),
        (
            {"failure-domain.beta.kubernetes.io/zone": "a"},
            {"failure-domain.beta.kubernetes.io/zone": "b", ZONE: "a"},
            False,
        ),
        ({ZONE: "a"}, {"failure-domain.beta.kubernetes.io/zone": "a"}, False),
        ({ZONE: "a", "topology.kubernetes.io/region": "r"}, {ZONE: "a", "topology.kubernetes.io/region": "s"}, False),
        ({"disk": "a"}, {"disk": "b", ZONE: "z"}, True),
    ],
)
def test_zones(on_volume: dict[str, str], on_node: dict[str, str], fits: bool) -> None:
    of = index(claims=[bound("data", "v")], volumes=[volume("v", labels=on_volume)])
    node = Node(Metadata(name="n", labels=on_node))
    assert all(of_use(terms, node) for terms in ask(of, "data").volumes.affinity) == fits


def test_the_zones_of_ephemeral_volumes_are_not_looked_at() -> None:
    owner = [{"uid": "uid-of-train", "controller": True}]
    done = {"pv.kubernetes.io/bind-completed": "yes"}
    made = claim("train-scratch", volumeName="v", annotations=done, ownerReferences=owner)
    of = index(claims=[made], volumes=[volume("v", labels={ZONE: "a"}, nodes=[term(disk="a")])])
    assert ask(of, ephemeral=("scratch",)).volumes.affinity == ((label("disk", "a"),),)


def test_a_read_write_once_pod_claim_is_for_one_pod() -> None:
    of = index(claims=[bound("data", "v", accessModes=["ReadWriteOncePod"]), bound("more", "w")])
    put(of, "volumes", volume("v"), volume("w"))
    assert ask(of, "data", "more").volumes.sole_claims == ("ml/data",)
    assert held(used(pod("data", "more")), of, set()).sole_claims == ("ml/data",)
    owner = [{"uid": "uid-of-train", "controller": True}]
    put(of, "claims", bound("train-own", "v", accessModes=["ReadWriteOncePod"], ownerReferences=owner))
    assert held(used(pod(ephemeral=("own",))), of, set()).sole_claims == ()  # nobody else may use it anyway


# Claims to bind, by volumes that exist.


def test_volumes_that_would_do_smallest_first() -> None:
    block = {"volumeMode": "Block"}
    reserved = {"claimRef": {"namespace": "ml", "name": "other", "uid": "u"}}
    of = index(
        classes=LOCAL,
        claims=[claim("data", size="2Gi")],
        volumes=[
            volume("large", size="3Gi", nodes=[term(disk="b")]),
            volume("same-a", size="2048Mi", nodes=[term(disk="a")]),
            volume("same-b", size="2Gi"),
            volume("too-small", size="2147483647"),  # 2Gi - 1
            volume("elsewhere", "other", size="2Gi"),
            volume("old-class", "", size="2Gi", annotations={"volume.beta.kubernetes.io/storage-class": "local"}),
            volume("block", size="2Gi", **block),
            volume("read-only", size="2Gi", accessModes=["ReadOnlyMany"]),
            volume("reserved", size="2Gi", **reserved),
            volume("released", size="2Gi", phase="Released"),
            volume("leaving", size="2Gi", deletionTimestamp="2026-01-01T00:00:00Z"),
            volume("tuned", size="2Gi", volumeAttributesClassName="gold"),
        ],
    )
    a, b = (label("disk", "a"),), (label("disk", "b"),)
    assert only(of) == Claim((("old-class", None), ("same-a", a), ("same-b", None), ("large", b)), None)
    put(of, "claims", claim("data", size="2Gi", volumeAttributesClassName="gold"))
    assert names(only(of)) == ["tuned"]
    put(of, "claims", claim("data", **block))
    assert names(only(of)) == ["block"]
    put(of, "claims", claim("data", accessModes=["ReadWriteOnce", "ReadOnlyMany"]))
    assert names(only(of)) == []


def test_a_claim_may_select_volumes_by_their_labels() -> None:
    of = index(
        classes=LOCAL, volumes=[volume("a", labels={"tier": "gold"}), volume("b", labels={"tier": "tin"}), volume("c")]
    )
    selector = {"matchLabels": {"tier": "gold"}}
    put(of, "claims", claim("data", selector=selector))
    assert names(only(of)) == ["a"]
    selector = {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}
    put(of, "claims", claim("data", selector=selector))
    assert names(only(of)) == ["b", "c"]


@pytest.mark.parametrize("uid", ["", "uid-of-data"])
def test_a_volume_that_is_for_the_claim_is_the_only_one(uid: str) -> None:
    """Neither its phase, nor its labels, nor its access modes are looked at; its size, mode and class are."""
    reference = {"namespace": "ml", "name": "data", "uid": uid}
    theirs = {"claimRef": reference, "phase": "Pending", "accessModes": ["ReadOnlyMany"]}
    of = index(classes=LOCAL, claims=[claim("data", selector={"matchLabels": {"tier": "gold"}})])
    put(of, "volumes", volume("free", labels={"tier": "gold"}), volume("theirs", size="9Gi", **theirs))
    assert names(only(of)) == ["theirs"]
    put(of, "volumes", volume("theirs", size="1Mi", **theirs))
    assert names(only(of)) == ["free"]
    put(of, "volumes", volume("theirs", "other", **theirs))
    assert names(only(of)) == ["free"]


def test_a_volume_that_is_for_an_older_claim_of_that_name_is_not_ours() -> None:
    of = index(classes=LOCAL, claims=[claim("data")])
    put(of, "volumes", volume("v", claimRef={"namespace": "ml", "name": "data", "uid": "of-another-life"}))
    assert names(only(of)) == []


def test_claims_choose_in_the_order_of_their_size() -> None:
    claims = [claim("c", size="3Gi"), claim("a", size="1Gi"), claim("b", size="2000Mi")]
    of = index(classes=LOCAL, claims=claims)
    assert ask(of, "c", "a", "b", "a").to_bind == ("ml/a", "ml/b", "ml/c")


# Claims to bind, by volumes that are made.


def test_where_a_volume_can_be_made() -> None:
    of = index(classes=LOCAL, claims=[claim("data")])
    assert only(of).provision is None
    put(of, "classes", storage_class("local", "csi.example.com"))
    assert only(of).provision == ()
    topologies = [
        {"matchLabelExpressions": [{"key": ZONE, "values": ["a", "b"]}, {"key": "rack", "values": ["1"]}]},
        {"matchLabelExpressions": [{"key": ZONE, "values": ["c"]}]},
        {},  # an empty term selects no node
    ]
    put(of, "classes", storage_class("local", "csi.example.com", allowedTopologies=topologies))
    both = NodeTerm((Requirement(ZONE, "In", ("a", "b")), Requirement("rack", "In", ("1",))))
    assert only(of).provision == ((both, label(ZONE, "c")),)
    put(of, "classes", storage_class("local", "csi.example.com", allowedTopologies=[{}]))
    assert only(of).provision is None


def test_room_for_a_volume_where_the_driver_keeps_track_of_it() -> None:
    of = index(classes=CSI, claims=[claim("data", "fast", size="10Gi")])
    put(
        of,
        "capacities",
        capacity("a", "fast", "10Gi", {"matchLabels": {ZONE: "a"}}),
        capacity("b", "fast", "10Gi", {"matchLabels": {ZONE: "b"}}, most="9Gi"),  # in pieces
        capacity("c", "fast", "9Gi", {"matchLabels": {ZONE: "c"}}, most="10Gi"),
        capacity("d", "fast", "9Gi", {"matchLabels": {ZONE: "d"}}),
        capacity("e", "fast", None, {"matchLabels": {ZONE: "e"}}),
        capacity("f", "fast", "99Gi", None),  # reached from nowhere
        capacity("g", "slow", "99Gi", {"matchLabels": {ZONE: "g"}}),
    )
    assert only(of).provision == ()  # nobody says that this driver keeps track
    put(of, "drivers", csi_driver("csi.example.com", storageCapacity=False))
    assert only(of).provision == ()
    put(of, "drivers", csi_driver("csi.example.com", storageCapacity=True))
    assert only(of).provision == ((label(ZONE, "a"), label(ZONE, "c")),)
    put(of, "capacities", capacity("h", "fast", "10Gi", {}))  # reached from everywhere
    assert only(of).provision == ()


def test_no_room_anywhere() -> None:
    of = index(
        classes=CSI, claims=[claim("data", "fast")], drivers=[csi_driver("csi.example.com", storageCapacity=True)]
    )
    assert only(of).provision is None


def test_a_volume_that_is_being_made_pins_its_pod() -> None:
    selected = {"volume.kubernetes.io/selected-node": "n1"}
    of = index(classes=CSI, claims=[claim("data", "fast", annotations=selected)], volumes=[volume("v", "fast")])
    on_n1 = NodeTerm(match_fields=(Requirement("metadata.name", "In", ("n1",)),))
    assert only(of) == Claim((), ((on_n1,),))
    put(of, "classes", storage_class("fast"))  # it cannot be made at all
    assert only(of) == Claim((), None)


# What is attached.


def test_volumes_of_limited_drivers_are_counted_made_or_not() -> None:
    of = index(classes=CSI, claims=[bound("a", "v"), claim("b", "fast"), bound("c", "w", storageClassName="fast")])
    put(of, "volumes", volume("v", **csi("h-1")))
    both = (("csi.example.com", "h-1"), ("csi.example.com", "of claim ml/b"))
    assert ask(of, "a", "b").volumes.volumes == ()  # while nobody limits them
    put(of, "csi_nodes", csi_node("n", csi_example_com=2))
    assert ask(of, "a", "b").volumes.volumes == both
    assert held(used(pod("a", "b", "gone", "c")), of, set()).volumes == (*both, ("csi.example.com", "of claim ml/c"))
    put(of, "csi_nodes", csi_node("n"))
    assert ask(of, "a", "b").volumes.volumes == ()


@pytest.mark.parametrize(
    ("source", "driver"),
    [
        ("awsElasticBlockStore", "ebs.csi.aws.com"),
        ("gcePersistentDisk", "pd.csi.storage.gke.io"),
        ("azureDisk", "disk.csi.azure.com"),
        ("cinder", "cinder.csi.openstack.org"),
        ("portworxVolume", "pxd.portworx.com"),
    ],
)
def test_volumes_of_drivers_that_have_moved_out_of_the_tree(source: str, driver: str) -> None:
    of = index(claims=[bound("data", "v")], volumes=[volume("v", **{source: {"volumeID": "x"}})])
    put(of, "csi_nodes", csi_node("n", **{driver.replace(".", "_"): 9}))
    assert ask(of, "data").volumes.volumes == ((driver, "of volume v"),)


def test_volumes_that_are_no_matter_of_attaching() -> None:
    of = index(classes=LOCAL, claims=[bound("a", "v"), claim("b")], volumes=[volume("v", nfs={"server": "s"})])
    put(of, "csi_nodes", csi_node("n", csi_example_com=2))
    assert ask(of, "a", "b").volumes.volumes == ()


def test_a_driver_may_insist_on_being_there() -> None:
    of = index(classes=CSI, claims=[claim("data", "fast")])
    assert ask(of, "data").volumes.features == ()
    put(of, "drivers", csi_driver("csi.example.com", preventPodSchedulingIfMissing=True))
    assert ask(of, "data").volumes.features == ("CSI driver csi.example.com",)


def test_what_a_node_offers() -> None:
    of = index(csi_nodes=[csi_node("n", csi_example_com=3, other_example_com=None)])
    put(of, "volumes", volume("v", **csi("h-1")), volume("w", **csi("h-2")), volume("x", nfs={"server": "s"}))
    put(of, "attachments", *(attachment(f"a-{v}", "n", v) for v in ("v", "x", "gone")), attachment("b", "m", "w"))
    features = ("CSI driver csi.example.com", "CSI driver other.example.com")
    assert offered("n", of) == NodeVolumes(features, (("csi.example.com", 3),), (("csi.example.com", "h-1"),))
    assert offered("m", of) == NodeVolumes(attached=(("csi.example.com", "h-2"),))
    assert offered("o", of) == NodeVolumes()
