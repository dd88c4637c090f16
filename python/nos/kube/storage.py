"""The few fields of storage objects that scheduling needs, as msgspec structs over the API server's JSON.

All that is decoded matters, but for the resourceVersion: two states of an object that are equal here mean the same.
"""

from urllib.parse import quote

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos.kube.selectors import LabelSelector, NodeSelector

CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CSI_NODES = "/apis/storage.k8s.io/v1/csinodes"
CSI_DRIVERS = "/apis/storage.k8s.io/v1/csidrivers"
CAPACITIES = "/apis/storage.k8s.io/v1/csistoragecapacities"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"

SELECTED_NODE = "volume.kubernetes.io/selected-node"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


class Owner(Struct, frozen=True, gc=False):
    """One of metadata.ownerReferences."""

    uid: str = ""
    controller: bool = False


class Annotations(Struct, frozen=True, gc=False):
    """Those that say how far the binding of a claim or volume has come."""

    selected_node: str | None = field(default=None, name=SELECTED_NODE)
    bind_completed: str | None = field(default=None, name=_BIND_COMPLETED)
    bound_by_controller: str | None = field(default=None, name=BOUND_BY_CONTROLLER)
    beta_class: str | None = field(default=None, name=_BETA_CLASS)


class Metadata(Struct, rename="camel", eq=False):
    """Which object it is. Labels: of volumes, which claims may select by them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    owner_references: tuple[Owner, ...] | None = None
    labels: dict[str, str] | None = None
    annotations: Annotations = field(default_factory=Annotations)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def _content(self) -> tuple[object, ...]:
        deleted = self.deletion_timestamp is not None
        return self.name, self.namespace, self.uid, deleted, self.owner_references, self.labels, self.annotations

    @property
    def key(self) -> str:
        """namespace/name, or the name of what has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class _Requests(Struct, frozen=True, gc=False):
    storage: str | None = None


class _Resources(Struct, frozen=True, gc=False):
    requests: _Requests = field(default_factory=_Requests)


class ClaimSpec(Struct, rename="camel", frozen=True):
    """What a claim asks for."""

    access_modes: tuple[str, ...] = ()
    resources: _Resources = field(default_factory=_Resources)
    selector: LabelSelector | None = None
    storage_class_name: str | None = None
    volume_name: str = ""
    volume_mode: str = "Filesystem"
    volume_attributes_class_name: str | None = None


class Phase(Struct, frozen=True, gc=False):
    """The status of a claim or volume."""

    phase: str = ""


class PersistentVolumeClaim(Struct):
    """A claim as the API server sends it."""

    metadata: Metadata
    spec: ClaimSpec = field(default_factory=ClaimSpec)
    status: Phase = field(default_factory=Phase)

    @property
    def class_name(self) -> str:
        """Empty where it names none."""
        beta = self.metadata.annotations.beta_class
        return (self.spec.storage_class_name or "") if beta is None else beta

    @property
    def bound(self) -> bool:
        """The PV controller has bound it for good."""
        return bool(self.spec.volume_name) and self.metadata.annotations.bind_completed is not None


class ClaimRef(Struct, frozen=True, gc=False):
    """The claim that a volume is for."""

    namespace: str = ""
    name: str = ""
    uid: str = ""

    @property
    def key(self) -> str:
        """namespace/name of the claim."""
        return f"{self.namespace}/{self.name}"


class CsiSource(Struct, rename="camel", frozen=True, gc=False):
    """What a CSI driver knows the volume by."""

    driver: str = ""
    volume_handle: str = ""


class _Affinity(Struct, frozen=True):
    required: NodeSelector | None = None


class _Capacity(Struct, frozen=True, gc=False):
    storage: str = "0"


class _Source(Struct, frozen=True, gc=False):
    """Whatever it says: that it is there is enough."""


class VolumeSpec(Struct, rename="camel", frozen=True):
    """What a volume offers. Of the in-tree sources that CSI drivers have taken over only whether they are there."""

    access_modes: tuple[str, ...] = ()
    capacity: _Capacity = field(default_factory=_Capacity)
    claim_ref: ClaimRef | None = None
    csi: CsiSource | None = None
    node_affinity: _Affinity | None = None
    storage_class_name: str = ""
    volume_mode: str = "Filesystem"
    volume_attributes_class_name: str | None = None
    aws_elastic_block_store: _Source | None = None
    azure_disk: _Source | None = None
    cinder: _Source | None = None
    gce_persistent_disk: _Source | None = None
    portworx_volume: _Source | None = None


class PersistentVolume(Struct):
    """A volume as the API server sends it."""

    metadata: Metadata
    spec: VolumeSpec = field(default_factory=VolumeSpec)
    status: Phase = field(default_factory=Phase)

    @property
    def class_name(self) -> str:
        """Empty where it has none."""
        beta = self.metadata.annotations.beta_class
        return self.spec.storage_class_name if beta is None else beta


class TopologyRequirement(Struct, frozen=True, gc=False):
    """A label and the values that it may have."""

    key: str = ""
    values: tuple[str, ...] = ()


class TopologyTerm(Struct, rename="camel", frozen=True):
    """Requirements that must all hold."""

    match_label_expressions: tuple[TopologyRequirement, ...] | None = None


class StorageClass(Struct, rename="camel"):
    """A storage class as the API server sends it."""

    metadata: Metadata
    provisioner: str = ""
    volume_binding_mode: str = "Immediate"
    allowed_topologies: tuple[TopologyTerm, ...] | None = None


class _Allocatable(Struct, frozen=True, gc=False):
    count: int | None = None


class NodeDriver(Struct, frozen=True):
    """A CSI driver on a node."""

    name: str = ""
    allocatable: _Allocatable | None = None


class _NodeDrivers(Struct, frozen=True):
    drivers: tuple[NodeDriver, ...] | None = None


class CSINode(Struct):
    """What CSI drivers a node has."""

    metadata: Metadata
    spec: _NodeDrivers = field(default_factory=_NodeDrivers)


class _DriverSpec(Struct, rename="camel", frozen=True, gc=False):
    storage_capacity: bool | None = None
    prevent_pod_scheduling_if_missing: bool | None = None


class CSIDriver(Struct):
    """A CSI driver, as the cluster is told of it."""

    metadata: Metadata
    spec: _DriverSpec = field(default_factory=_DriverSpec)


class CSIStorageCapacity(Struct, rename="camel"):
    """How much more a storage class can provision on some nodes."""

    metadata: Metadata
    storage_class_name: str = ""
    node_topology: LabelSelector | None = None
    capacity: str | None = None
    maximum_volume_size: str | None = None


class _Attached(Struct, rename="camel", frozen=True, gc=False):
    persistent_volume_name: str | None = None


class _AttachmentSpec(Struct, rename="camel", frozen=True):
    attacher: str = ""
    node_name: str = ""
    source: _Attached = field(default_factory=_Attached)


class VolumeAttachment(Struct):
    """A volume that is attached to a node, or is to be."""

    metadata: Metadata
    spec: _AttachmentSpec = field(default_factory=_AttachmentSpec)


Stored = (
    PersistentVolumeClaim
    | PersistentVolume
    | StorageClass
    | CSINode
    | CSIDriver
    | CSIStorageCapacity
    | VolumeAttachment
)

decode_claim = Decoder(PersistentVolumeClaim).decode
decode_volume = Decoder(PersistentVolume).decode
decode_class = Decoder(StorageClass).decode
decode_csi_node = Decoder(CSINode).decode
decode_csi_driver = Decoder(CSIDriver).decode
decode_capacity = Decoder(CSIStorageCapacity).decode
decode_attachment = Decoder(VolumeAttachment).decode


def claim_path(key: str) -> str:
    """The path of a claim, by namespace/name."""
    namespace, _, name = key.partition("/")
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/persistentvolumeclaims/{quote(name, safe='')}"


def volume_path(name: str) -> str:
    """The path of a volume."""
    return f"{VOLUMES}/{quote(name, safe='')}"


def selected_node_patch(claim: PersistentVolumeClaim, node: str) -> bytes:
    """A merge patch that asks for the claim's volume on the node; 409 where the claim is not as we know it."""
    metadata = {
        "uid": claim.metadata.uid,
        "resourceVersion": claim.metadata.resource_version,
        "annotations": {SELECTED_NODE: node},
    }
    return encode({"metadata": metadata})


def claim_ref_patch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bytes:
    """A merge patch that gives the volume to the claim, as the PV controller does it; 409 as above."""
    metadata: dict[str, object] = {
        "uid": volume.metadata.uid,
        "resourceVersion": volume.metadata.resource_version,
    }
    if volume.spec.claim_ref is None:  # else a user has bound it by hand, and the PV controller would not unbind it
        metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.metadata.namespace,
        "name": claim.metadata.name,
        "uid": claim.metadata.uid,
        "resourceVersion": claim.metadata.resource_version,
    }
    return encode({"metadata": metadata, "spec": {"claimRef": reference}})
