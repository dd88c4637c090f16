"""A GPUNode: how the GPUs of a node are to be cut (spec, ours) and how they are (status, its agent's).

Decoded into msgspec structs; `gpu_specs` turns a status into what the core counts with.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos import _core
from nos.kube.node import Metadata, decode_node

GPU_NODES = "/apis/nos.nebuly.com/v1alpha1/gpunodes"
PARTITIONING_LABEL = "nos.nebuly.com/gpu-partitioning"
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


class GPUNode(Struct):
    """A GPUNode as the API server sends it."""

    metadata: Metadata
    spec: Spec = field(default_factory=Spec)
    status: Status = field(default_factory=Status)


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


def gpu_specs(status: Status, uid_of: Callable[[str], str]) -> list[_core.GpuSpec]:
    """By GPU index, as the core counts. `uid_of`: namespace/name of a Pod to its uid, or to anything that is no uid.

    A GPU that is unhealthy or missing from the report is not cut, nor is one of a product that the driver says nothing
    of. ValueError where the report contradicts itself.
    """
    models = {model.product: model for model in status.models}
    specs = [_core.GpuSpec(None)] * (max((gpu.index for gpu in status.gpus), default=-1) + 1)
    for gpu in status.gpus:
        model = models.get(gpu.product)
        if gpu.unhealthy or model is None:
            specs[gpu.index] = _core.GpuSpec(None, ready=gpu.ready, pod=_holder(gpu.pod, uid_of))
            continue
        specs[gpu.index] = _core.GpuSpec(
            _core_model(encode(model)),
            mig=gpu.mig,
            ready=gpu.ready,
            pod=_holder(gpu.pod, uid_of),
            instances=[(i.profile, i.start, i.ready, _holder(i.pod, uid_of)) for i in gpu.instances],
        )
    return specs


def wanted(targets: Sequence[Target]) -> Spec:
    """A node's targets as the spec of its GPUNode has them."""
    return Spec(
        tuple(
            WantedGpu(index, mig, tuple(WantedInstance(profile, start) for profile, start in instances))
            for index, (mig, instances) in enumerate(targets)
        )
    )


def spec_patch(spec: Spec, resource_version: str) -> bytes:
    """A merge patch that writes the spec if the GPUNode is still as we know it, and fails with 409 otherwise."""
    metadata: Mapping[str, str] = {"resourceVersion": resource_version}
    return encode({"metadata": metadata, "spec": spec})


def _holder(pod: str, uid_of: Callable[[str], str]) -> str:
    return uid_of(pod) if pod else ""


@lru_cache(maxsize=256)
def _core_model(encoded: bytes) -> _core.GpuModel:
    """Equal reports give one model: the core then keeps one table, and one sum of room."""
    model = _model(encoded)
    return _core.GpuModel(
        model.product,
        units=model.units,
        compute_slices=model.compute_slices,
        engines=model.engines,
        profiles=[
            _core.GpuProfile(
                p.name,
                size=p.size,
                starts=p.starts,
                compute_slices=p.compute_slices,
                max_instances=p.max_instances,
                memory_mib=p.memory_mib,
                engines=p.engines,
            )
            for p in model.profiles
        ],
    )


_model = Decoder(Model).decode
