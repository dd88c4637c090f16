"""A GPUNode: how the GPUs of a node are to be cut (spec, ours) and how they are (status, its agent's).

The object as msgspec structs, and the request that writes its spec. `nos.kube.cut` says what a report means.
"""

from urllib.parse import quote

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos.kube.node import Metadata, decode_node

GPU_NODES = "/apis/nos.nebuly.com/v1alpha1/gpunodes"
PARTITIONING_LABEL = "nos.nebuly.com/gpu-partitioning"
LAYOUT_ANNOTATION = "nos.nebuly.com/layout"  # on a new node: how its GPUs are to be cut, see nos.kube.new_node
STARTUP_TAINT = "nos.nebuly.com/not-cut"  # NoSchedule; on a new node until that is so
CUT_BY_NOS = frozenset({"mig", "hybrid"})  # values of that label; mps slices share a GPU, which is never cut

Target = tuple[bool, list[tuple[str, int]]]  # MIG mode, and profile and start of each instance


class WantedInstance(Struct, frozen=True):
    """An instance that is to exist."""

    profile: str
    start: int


class WantedGpu(Struct, frozen=True):
    """A GPU as it is to be cut."""

    index: int
    mig: bool
    instances: tuple[WantedInstance, ...] = ()


class Spec(Struct, frozen=True):
    """What the controller wants."""

    gpus: tuple[WantedGpu, ...] = ()

    def gpu(self, index: int) -> WantedGpu | None:
        """The entry of a GPU; one that has none stays as it is."""
        return next((gpu for gpu in self.gpus if gpu.index == index), None)


class Profile(Struct, frozen=True, rename={"compute_slices": "computeSlices", "max_instances": "maxInstances"}):
    """What the node's driver says of a profile."""

    name: str
    size: int
    starts: tuple[int, ...]
    compute_slices: int
    max_instances: int
    memory_mib: int = field(default=0, name="memoryMiB")
    engines: dict[str, int] = field(default_factory=dict)


class Model(Struct, frozen=True, rename={"compute_slices": "computeSlices"}):
    """What the node's driver says of a product."""

    product: str
    units: int
    compute_slices: int
    profiles: tuple[Profile, ...]
    engines: dict[str, int] = field(default_factory=dict)


class Instance(Struct, frozen=True):
    """An instance that exists."""

    uuid: str
    profile: str
    start: int
    ready: bool = False
    pod: str = ""


class Gpu(Struct, frozen=True):
    """A GPU as it is."""

    index: int
    uuid: str
    product: str
    mig: bool
    ready: bool = False
    memory_mib: int = field(default=0, name="memoryMiB")
    unhealthy: str = ""
    pod: str = ""
    message: str = ""
    instances: tuple[Instance, ...] = ()


class Condition(Struct, frozen=True, rename="camel"):
    """One of status.conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""


class Status(Struct, frozen=True, rename="camel"):
    """What the agent reported last. gpu_count, product and cut are for people."""

    observed_generation: int = 0
    gpu_count: int = 0
    product: str = ""
    cut: str = ""
    models: tuple[Model, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def gpu(self, index: int) -> Gpu | None:
        """The report of a GPU."""
        return next((gpu for gpu in self.gpus if gpu.index == index), None)


class GPUNode(Struct):
    """A GPUNode as the API server sends it."""

    metadata: Metadata
    spec: Spec = field(default_factory=Spec)
    status: Status = field(default_factory=Status)

    @property
    def answered(self) -> bool:
        """The report is about the present spec, not about one before it."""
        return self.status.observed_generation >= self.metadata.generation

    @property
    def unready(self) -> str:
        """Why the agent can do nothing at all; empty where it can."""
        ready = next((c for c in self.status.conditions if c.type == "Ready"), None)
        return f"{ready.reason}: {ready.message}" if ready and ready.status == "False" else ""

    def failure(self, index: int) -> str:
        """Why the agent could not make the GPU as the present spec wants it; empty where it has not said so."""
        if not self.answered:
            return ""
        gpu = self.status.gpu(index)
        if gpu is None:
            return f"GPU {index} is not in the report"
        return self.unready or gpu.unhealthy or gpu.message


decode_gpu_node = Decoder(GPUNode).decode


def gpu_node_path(name: str) -> str:
    """The path of the GPUNode of a node."""
    return f"{GPU_NODES}/{quote(name, safe='')}"


def creation(node: str, found: bytes) -> bytes:
    """The GPUNode of a Node, as its agent makes it: it wants nothing yet, and goes when the Node goes.

    found: the Node, as the API server sends it.
    """
    owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": decode_node(found).metadata.uid}
    metadata = {"name": node, "ownerReferences": [owner]}
    return encode({"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode", "metadata": metadata, "spec": {}})


def wanted_gpu(index: int, target: Target) -> WantedGpu:
    """What a GPU is to become, as a spec has it."""
    mig, instances = target
    return WantedGpu(index, mig, tuple(WantedInstance(profile, start) for profile, start in instances))


def spec_patch(spec: Spec, resource_version: str) -> bytes:
    """A merge patch that writes the spec if the GPUNode is still as we know it, and fails with 409 otherwise."""
    return encode({"metadata": {"resourceVersion": resource_version}, "spec": spec})
