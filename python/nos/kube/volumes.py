"""What a Pod's volumes ask of its node, and what a node's CSI drivers offer, as kube-scheduler sees it.

The values are plain and can be hashed: they are part of the key under which `decode` remembers a spec. `used` is what
the Pod itself says of volumes; `asked` and `held` look it up in the index of storage objects, and note in `seen` what
they have looked at, so that the caller knows when to look again.

Two differences to kube-scheduler: a claim that a Pod names twice is bound once; and in-tree volumes that a CSI driver
has taken over are told apart by the names of their PersistentVolumes, and their node affinity is taken as it stands.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct
from msgspec.json import Decoder

from nos.kube.pod import Pod
from nos.kube.selectors import NodeTerm
from nos.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from nos.kube.storage_index import Key, StorageIndex
from nos.kube.volume_match import NO_PROVISIONER, Claim, claim_to_serve, request
from nos.kube.volume_terms import usable_on, zones

# Volumes that every node can mount, or whose failure to mount is not a matter of scheduling.
_ANYWHERE = frozenset(
    (
        *("configMap", "secret", "downwardAPI", "projected", "emptyDir", "image", "gitRepo", "hostPath"),
        *("csi", "nfs", "cephfs", "azureFile", "flexVolume"),
    )
)
_MIGRATED = {  # CSI drivers, by the in-tree provisioner that they have replaced
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
}
_DELAYED = "WaitForFirstConsumer"
_SOLE = "ReadWriteOncePod"


@dataclass(frozen=True, slots=True)
class PodVolumes:
    """What became of the volumes of a Pod; the fields are those of nos._core.PodSpec."""

    affinity: tuple[tuple[NodeTerm, ...], ...] = ()
    claims: tuple[Claim, ...] = ()
    sole_claims: tuple[str, ...] = ()
    volumes: tuple[tuple[str, str], ...] = ()
    features: tuple[str, ...] = ()
    waits_for: str = ""
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeVolumes:
    """What is known of a node's CSI drivers; the fields are those of nos._core.NodeSpec."""

    features: tuple[str, ...] = ()
    attach_limits: tuple[tuple[str, int], ...] = ()
    attached: tuple[tuple[str, str], ...] = ()


class ClaimUse(NamedTuple):
    """A claim that a Pod uses: namespace/name, and whether it was made for this Pod alone."""

    key: str
    ephemeral: bool


@dataclass(frozen=True, slots=True)
class Used:
    """What a Pod says of volumes."""

    pod: str = ""  # namespace/name
    uid: str = ""
    claims: tuple[ClaimUse, ...] = ()
    unsupported: tuple[str, ...] = ()


class Offer(NamedTuple):
    """How a claim that has to be bound can be served."""

    key: str
    claim: Claim


class Asked(NamedTuple):
    """What a Pod's volumes ask for, and the claims that are to be bound, in the order of `volumes.claims`."""

    volumes: PodVolumes
    to_bind: tuple[str, ...] = ()

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The claims that are to be bound."""
        return tuple(map(Offer, self.to_bind, self.volumes.claims))


class _ClaimSource(Struct, rename="camel"):
    claim_name: str = ""


_claim = Decoder(_ClaimSource).decode
_name = Decoder(str).decode


def used(pod: Pod) -> Used:
    """What the Pod says. It outlives the event that the Pod came with."""
    if not pod.spec.volumes:
        return _NOTHING
    claims: list[ClaimUse] = []
    unsupported: list[str] = []
    namespace = pod.metadata.namespace
    for volume in pod.spec.volumes:
        for kind, source in volume.items():
            if kind == "persistentVolumeClaim":
                claims.append(ClaimUse(f"{namespace}/{_claim(source).claim_name}", False))
            elif kind == "ephemeral":
                claims.append(ClaimUse(f"{namespace}/{pod.metadata.name}-{_name(volume['name'])}", True))
            elif kind != "name" and kind not in _ANYWHERE:
                unsupported.append(f"{kind} volume")
    if not claims and not unsupported:
        return _NOTHING
    return Used(f"{namespace}/{pod.metadata.name}", pod.metadata.uid, tuple(dict.fromkeys(claims)), tuple(unsupported))


def unread(pod: Pod) -> PodVolumes:
    """Of a Pod whose claims nobody can look up."""
    found = used(pod)
    kinds = ("persistent volume claim", "ephemeral volume: claim")
    claims = (f"{kinds[use.ephemeral]} {use.key.partition('/')[2]}" for use in found.claims)
    return PodVolumes(unsupported=(*claims, *found.unsupported))


def asked(used: Used, index: StorageIndex, seen: set[Key]) -> Asked:
    """What a Pod that waits asks of its node for the sake of its volumes."""
    look = _Look(index, seen)
    for use in used.claims:
        if waits_for := look.trouble(used, use):
            return Asked(PodVolumes(waits_for=waits_for, unsupported=used.unsupported))
    affinity: list[tuple[NodeTerm, ...]] = []
    unbound: list[PersistentVolumeClaim] = []
    for use in used.claims:
        claim = look.claim(use.key)
        assert claim is not None
        if not claim.bound:
            if waits_for := look.not_delayed(claim):
                return Asked(PodVolumes(waits_for=waits_for, unsupported=used.unsupported))
            unbound.append(claim)
        elif (volume := look.volume(claim.spec.volume_name)) is None:
            missing = f'persistentvolume "{claim.spec.volume_name}" not found'
            return Asked(PodVolumes(waits_for=missing, unsupported=used.unsupported))
        else:
            affinity += _where(volume, zoned=not use.ephemeral)
    unbound = sorted({claim.metadata.key: claim for claim in unbound}.values(), key=request)
    attached = look.attached(used)
    volumes = PodVolumes(
        affinity=tuple(dict.fromkeys(affinity)),
        claims=tuple(look.to_serve(claim) for claim in unbound),
        sole_claims=look.sole_claims(used),
        volumes=look.counted(attached),
        features=look.features(driver for driver, _ in attached),
        unsupported=used.unsupported,
    )
    return Asked(volumes, tuple(claim.metadata.key for claim in unbound))


def held(used: Used, index: StorageIndex, seen: set[Key]) -> PodVolumes:
    """What a Pod that has a node holds there."""
    look = _Look(index, seen)
    return PodVolumes(sole_claims=look.sole_claims(used), volumes=look.counted(look.attached(used)))


def offered(node: str, index: StorageIndex) -> NodeVolumes:
    """What a node's CSI drivers offer. It depends on the key of that node alone."""
    csi_node = index.csi_node(node)
    drivers = csi_node.spec.drivers or () if csi_node else ()
    limits = {d.name: d.allocatable.count for d in drivers if d.allocatable and d.allocatable.count is not None}
    return NodeVolumes(
        features=tuple(sorted({_feature(driver.name) for driver in drivers})),
        attach_limits=tuple(sorted(limits.items())),
        attached=tuple(sorted(set(_attachments(node, index)))),
    )


def _attachments(node: str, index: StorageIndex) -> Iterator[tuple[str, str]]:
    for attachment in index.attachments_of(node):
        volume = index.volume(attachment.spec.source.persistent_volume_name or "")
        if attachment.spec.attacher and volume and volume.spec.csi:
            yield attachment.spec.attacher, volume.spec.csi.volume_handle


def _where(volume: PersistentVolume, *, zoned: bool) -> Iterator[tuple[NodeTerm, ...]]:
    if (terms := usable_on(volume)) is not None:
        yield terms
    if zoned:  # kube-scheduler does not look at the zones of ephemeral volumes
        yield from zones(volume)


@dataclass(slots=True)
class _Look:
    """The index, and what was looked at."""

    index: StorageIndex
    seen: set[Key] = field(default_factory=set)

    def claim(self, key: str) -> PersistentVolumeClaim | None:
        self.seen.add(Key("claim", key))
        return self.index.claim(key)

    def volume(self, name: str) -> PersistentVolume | None:
        self.seen.add(Key("volume", name))
        return self.index.volume(name)

    def storage_class(self, name: str) -> StorageClass | None:
        self.seen.add(Key("class", name))
        return self.index.storage_class(name)

    def trouble(self, used: Used, use: ClaimUse) -> str:
        """Why the claim cannot be used by anybody, or not by this Pod; in the words of kube-scheduler."""
        claim, name = self.claim(use.key), use.key.partition("/")[2]
        if claim is None:
            if use.ephemeral:
                return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
            return f'persistentvolumeclaim "{name}" not found'
        if claim.status.phase == "Lost":
            volume = claim.spec.volume_name
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
        if claim.metadata.deletion_timestamp is not None:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if use.ephemeral and not _owned(claim, used.uid):
            return f"PVC {use.key} was not created for pod {used.pod} (pod is not owner)"
        return ""

    def not_delayed(self, claim: PersistentVolumeClaim) -> str:
        """Why its volume is not ours to choose."""
        found = self.storage_class(claim.class_name) if claim.class_name else None
        if found is None or found.volume_binding_mode != _DELAYED or claim.spec.volume_name:
            return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def to_serve(self, claim: PersistentVolumeClaim) -> Claim:
        found = self.storage_class(claim.class_name)
        assert found is not None
        return claim_to_serve(claim, found, self.index)

    def attached(self, used: Used) -> list[tuple[str, str]]:
        """CSI driver and handle of all that has to be attached, also of what is not made yet."""
        return [found for use in used.claims if (found := self._attachment(used, use))]

    def counted(self, attached: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Those whose number some node limits: Pods that differ in others are alike."""
        return tuple(sorted({found for found in attached if self._is_limited(found[0])}))

    def _is_limited(self, driver: str) -> bool:
        self.seen.add(Key("limit", driver))
        return self.index.is_limited(driver)

    def _attachment(self, used: Used, use: ClaimUse) -> tuple[str, str] | None:
        claim = self.claim(use.key)
        if claim is None or (use.ephemeral and not _owned(claim, used.uid)):
            return None
        volume = self.volume(claim.spec.volume_name) if claim.spec.volume_name else None
        if volume is None:
            found = self.storage_class(claim.class_name) if claim.class_name else None
            driver = found.provisioner if found else ""
            if driver in ("", NO_PROVISIONER):
                return None
            return _MIGRATED.get(driver, driver), f"of claim {use.key}"
        if volume.spec.csi:
            return volume.spec.csi.driver, volume.spec.csi.volume_handle
        driver = _in_tree_driver(volume)
        return (driver, f"of volume {volume.metadata.name}") if driver else None

    def features(self, drivers: Iterable[str]) -> tuple[str, ...]:
        """What the node must have: the drivers that say that no Pod can do without them."""
        needed = set()
        for name in drivers:
            self.seen.add(Key("driver", name))
            driver = self.index.driver(name)
            if driver and driver.spec.prevent_pod_scheduling_if_missing:
                needed.add(_feature(name))
        return tuple(sorted(needed))

    def sole_claims(self, used: Used) -> tuple[str, ...]:
        """Claims that no other Pod may use. Those made for one Pod are nobody else's anyway."""
        found = (self.claim(use.key) for use in used.claims if not use.ephemeral)
        return tuple(sorted({c.metadata.key for c in found if c and _SOLE in c.spec.access_modes}))


def _owned(claim: PersistentVolumeClaim, uid: str) -> bool:
    return any(owner.controller and owner.uid == uid for owner in claim.metadata.owner_references or ())


def _in_tree_driver(volume: PersistentVolume) -> str:
    spec = volume.spec
    for source, provisioner in (
        (spec.aws_elastic_block_store, "kubernetes.io/aws-ebs"),
        (spec.azure_disk, "kubernetes.io/azure-disk"),
        (spec.cinder, "kubernetes.io/cinder"),
        (spec.gce_persistent_disk, "kubernetes.io/gce-pd"),
        (spec.portworx_volume, "kubernetes.io/portworx-volume"),
    ):
        if source is not None:
            return _MIGRATED[provisioner]
    return ""


def _feature(driver: str) -> str:
    return f"CSI driver {driver}"


_NOTHING = Used()
