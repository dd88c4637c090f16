"""The native core: the ledger of the cluster and the scheduler that works on it.

Units: cpu in milli-CPU; memory and ephemeral storage in bytes; every other resource in its own whole units;
a share of one GPU in milli-GPU. Absurd or negative quantities, unknown operators and duplicate names raise ValueError.
Nothing here reads a clock, starts a thread or does I/O: the same calls give the same answers.

What goes in by value is immutable and equal by content, and has each argument of its constructor (`__match_args__`)
as an attribute: what is made of those is equal. GPUs of one model are told apart from others by the GpuModel object:
there is to be one of each.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Self, final, overload

class ClusterBusy(RuntimeError):  # noqa: N818
    """A Cluster was entered from a second thread while a call on it was running."""

@final
class Requirement:
    """One node selector requirement; operator is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, key: str, operator: str, values: Sequence[str] = ()) -> None: ...
    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> list[str]: ...
    def __eq__(self, other: object) -> bool: ...

@final
class SelectorTerm:
    """Requirements that must all hold: on a node's labels, and on its fields (metadata.name only)."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, expressions: Sequence[Requirement] = (), fields: Sequence[Requirement] = ()) -> None: ...
    @property
    def expressions(self) -> list[Requirement]: ...
    @property
    def fields(self) -> list[Requirement]: ...
    def __eq__(self, other: object) -> bool: ...

@final
class Taint:
    """A node's taint; effect is NoSchedule, PreferNoSchedule or NoExecute."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, key: str, value: str = "", effect: str = "NoSchedule") -> None: ...
    @property
    def key(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def effect(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...

@final
class Toleration:
    """As in a Pod: operator is Equal or Exists (an empty one means Equal); an empty key or effect matches all."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, key: str = "", operator: str = "Equal", value: str = "", effect: str = "") -> None: ...
    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str:
        """Equal or Exists."""
    @property
    def value(self) -> str: ...
    @property
    def effect(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...

@final
class HostPort:
    """A port that a Pod takes on its node; the addresses 0.0.0.0 and "" overlap every other one."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, port: int, protocol: str = "TCP", address: str = "0.0.0.0") -> None: ...
    @property
    def port(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def address(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...

@final
class PodLabels:
    """A Pod's namespace and labels: what selectors see of it. Immutable, equal and hashable by content."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, namespace: str = "", labels: Mapping[str, str] = ...) -> None: ...
    @property
    def namespace(self) -> str: ...
    @property
    def labels(self) -> dict[str, str]: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

@final
class PodSelector:
    """Which Pods: those of these namespaces, and of namespaces whose labels match namespace_labels, whose own labels
    match. Requirements (In, NotIn, Exists, DoesNotExist) must all hold; None selects nobody, none at all everybody."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        labels: Sequence[Requirement] | None,
        *,
        namespaces: Sequence[str] = (),
        namespace_labels: Sequence[Requirement] | None = None,
    ) -> None: ...
    @property
    def labels(self) -> list[Requirement] | None: ...
    @property
    def namespaces(self) -> list[str]:
        """Sorted."""
    @property
    def namespace_labels(self) -> list[Requirement] | None: ...
    def __eq__(self, other: object) -> bool: ...

@final
class PodTerm:
    """Pods near by: those that the selector selects, on nodes with the same value of the label topology_key."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, topology_key: str, selector: PodSelector) -> None: ...
    @property
    def topology_key(self) -> str: ...
    @property
    def selector(self) -> PodSelector: ...
    def __eq__(self, other: object) -> bool: ...

@final
class SpreadConstraint:
    """A topology spread constraint; the selector names the Pod's own namespace. required: DoNotSchedule, else
    ScheduleAnyway. honor_affinity, honor_taints: whether only nodes count that the Pod's node affinity allows, or whose
    taints it tolerates."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        topology_key: str,
        selector: PodSelector,
        *,
        max_skew: int,
        min_domains: int = 1,
        required: bool = True,
        honor_affinity: bool = True,
        honor_taints: bool = False,
    ) -> None: ...
    @property
    def topology_key(self) -> str: ...
    @property
    def selector(self) -> PodSelector: ...
    @property
    def max_skew(self) -> int: ...
    @property
    def min_domains(self) -> int: ...
    @property
    def required(self) -> bool: ...
    @property
    def honor_affinity(self) -> bool: ...
    @property
    def honor_taints(self) -> bool: ...
    def __eq__(self, other: object) -> bool: ...

@final
class VolumeClaim:
    """A claim that is bound when its Pod's node is known. volumes: those that would do, best first, each with the nodes
    that it can be used on, an OR of terms (None: every node). provision: where one can be made, an AND of ORs of terms
    (empty: anywhere, None: nowhere)."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        volumes: Sequence[tuple[str, Sequence[SelectorTerm] | None]] = ...,
        *,
        provision: Sequence[Sequence[SelectorTerm]] | None = None,
    ) -> None: ...
    @property
    def volumes(self) -> list[tuple[str, list[SelectorTerm] | None]]: ...
    @property
    def provision(self) -> list[list[SelectorTerm]] | None: ...
    def __eq__(self, other: object) -> bool: ...

@final
class GpuProfile:
    """One way to cut an instance from a GPU: `size` placement units from one of `starts` on. engines: how many of the
    model's engines it has for itself."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        name: str,
        *,
        size: int,
        starts: Sequence[int],
        compute_slices: int,
        max_instances: int,
        memory_mib: int = 0,
        engines: Mapping[str, int] = ...,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def starts(self) -> list[int]: ...
    @property
    def compute_slices(self) -> int: ...
    @property
    def max_instances(self) -> int: ...
    @property
    def memory_mib(self) -> int: ...
    @property
    def engines(self) -> dict[str, int]: ...
    def __eq__(self, other: object) -> bool: ...

_Placement = tuple[str, int]  # a profile's name and its start unit

@final
class GpuModel:
    """What a GPU model can be cut into. Instances do not overlap; of each profile there are at most max_instances;
    compute slices and engines add up to no more than the model's. 1 to 16 units. ValueError for other models."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        id: str,
        *,
        units: int,
        compute_slices: int,
        engines: Mapping[str, int] = ...,
        profiles: Sequence[GpuProfile],
    ) -> None: ...
    @property
    def id(self) -> str: ...
    @property
    def units(self) -> int: ...
    def geometries(self, *, maximal: bool = False) -> list[dict[str, int]]:
        """Instances per profile, for all sets that fit; maximal: those to which no instance could be added, wherever
        the others lie."""
    def room(self, instances: Sequence[_Placement]) -> dict[str, int]:
        """How many of each profile would fit beside these if no other came. ValueError when they cannot be together."""
    @property
    def compute_slices(self) -> int: ...
    @property
    def engines(self) -> dict[str, int]: ...
    @property
    def profiles(self) -> list[GpuProfile]:
        """Each with all engines of the model."""
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Plan:
    """How to recut one GPU. placed and unplaced name what was wanted by its index."""

    @property
    def destroy(self) -> list[_Placement]: ...
    @property
    def create(self) -> list[_Placement]: ...
    @property
    def placed(self) -> list[tuple[int, _Placement]]: ...
    @property
    def unplaced(self) -> list[tuple[int, str]]:
        """With the reason."""

def repartition(
    model: GpuModel, *, used: Sequence[_Placement], free: Sequence[_Placement], wanted: Sequence[str]
) -> Plan:
    """The plan that serves the most units of what is wanted; of those, the most instances; then the fewest destroyed
    and created; then the one that leaves the most room. Exact. Used instances stay. ValueError for an unknown profile
    or start, or when used and free cannot be together."""

@final
class PackedGpu:
    """A GPU and what runs on it; free instances are not named, since they may be destroyed at no cost."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self, model: GpuModel, *, fixed: Sequence[_Placement] = ..., movable: Sequence[_Placement] = ...
    ) -> None: ...
    @property
    def model(self) -> GpuModel: ...
    @property
    def fixed(self) -> list[_Placement]: ...
    @property
    def movable(self) -> list[_Placement]: ...
    def __eq__(self, other: object) -> bool: ...

_Spot = tuple[int, str, int]  # a GPU's index, a profile's name and its start unit

@final
class Repack:
    """What moves where so that what is wanted fits."""

    @property
    def moves(self) -> list[tuple[_Spot, _Spot]]:
        """From and to. All that leave do so before any arrives."""
    @property
    def placed(self) -> list[tuple[int, _Spot]]: ...
    @property
    def unplaced(self) -> list[tuple[int, str]]:
        """With the reason."""
    @property
    def exact(self) -> bool:
        """False when the search was cut short: fewer moves, or more placed, may be possible."""

def repack(gpus: Sequence[PackedGpu], wanted: Sequence[str], *, most_steps: int = 200_000) -> Repack:
    """Serves the wishes in order, each if it fits beside those before it, with the fewest moves. An instance moves at
    most once, to a profile of the same name. most_steps bounds the search for what is proven best; beyond it the answer
    is a good one, and says so. ValueError when what is on a GPU cannot be together."""

@final
class PodSpec:
    """What a Pod asks for: an immutable value, equal and hashable by content.

    requests: effective requests by resource name ("cpu" in milli, others in base units; the "pods" slot is implied).
    gpu_share_milli: 1..999 asks for that share of one GPU instead of whole ones in requests["nvidia.com/gpu"].
    affinity: required node affinity, an OR of terms; None when there is none; an empty list matches no node.
    preferred_affinity: terms with weights. preferred_pod_affinity: likewise; a negative weight is an anti-affinity.
    features: what its node must have. images: normalised names, one per container and image volume.
    spread_by_default: the constraints are the cluster's defaults, and a node may lack some of their keys.
    volume_affinity: what its bound volumes ask of the node, an AND of ORs of terms. claims: those that are bound with
    the node, in the order in which they choose. sole_claims: namespace/name of ReadWriteOncePod claims. volumes: CSI
    driver and handle of what has to be attached.
    waits_for: what has to happen before the Pod can be placed anywhere.
    unsupported: what the Pod uses that nos does not handle; such a Pod waits with a Reason that names it.
    """

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        requests: Mapping[str, int],
        *,
        gpu_share_milli: int = 0,
        node_selector: Mapping[str, str] = ...,
        affinity: Sequence[SelectorTerm] | None = None,
        preferred_affinity: Sequence[tuple[int, SelectorTerm]] = (),
        tolerations: Sequence[Toleration] = (),
        host_ports: Sequence[HostPort] = (),
        features: Sequence[str] = (),
        images: Sequence[str] = (),
        pod_affinity: Sequence[PodTerm] = (),
        pod_anti_affinity: Sequence[PodTerm] = (),
        preferred_pod_affinity: Sequence[tuple[int, PodTerm]] = (),
        spread: Sequence[SpreadConstraint] = (),
        spread_by_default: bool = False,
        volume_affinity: Sequence[Sequence[SelectorTerm]] = (),
        claims: Sequence[VolumeClaim] = (),
        sole_claims: Sequence[str] = (),
        volumes: Sequence[tuple[str, str]] = (),
        waits_for: str = "",
        unsupported: Sequence[str] = (),
    ) -> None: ...
    @property
    def requests(self) -> dict[str, int]:
        """As given, without those of 0."""
    @property
    def gpu_share_milli(self) -> int: ...
    @property
    def node_selector(self) -> dict[str, str]: ...
    @property
    def affinity(self) -> list[SelectorTerm] | None: ...
    @property
    def preferred_affinity(self) -> list[tuple[int, SelectorTerm]]: ...
    @property
    def tolerations(self) -> list[Toleration]: ...
    @property
    def host_ports(self) -> list[HostPort]: ...
    @property
    def features(self) -> list[str]: ...
    @property
    def images(self) -> list[str]: ...
    @property
    def pod_affinity(self) -> list[PodTerm]: ...
    @property
    def pod_anti_affinity(self) -> list[PodTerm]: ...
    @property
    def preferred_pod_affinity(self) -> list[tuple[int, PodTerm]]: ...
    @property
    def spread(self) -> list[SpreadConstraint]: ...
    @property
    def spread_by_default(self) -> bool: ...
    @property
    def volume_affinity(self) -> list[list[SelectorTerm]]: ...
    @property
    def claims(self) -> list[VolumeClaim]: ...
    @property
    def sole_claims(self) -> list[str]: ...
    @property
    def volumes(self) -> list[tuple[str, str]]:
        """Sorted, each once."""
    @property
    def waits_for(self) -> str: ...
    @property
    def unsupported(self) -> list[str]: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

@final
class GpuSpec:
    """A GPU that nos cuts, as its node's agent sees it: its model (None: it cannot be cut), whether MIG mode is on,
    whether the kubelet hands it out whole and to which Pod (uid), and its instances, each with its profile, start,
    whether the kubelet hands it out, and the uid of the Pod that holds it.

    What a Pod is seen to hold is taken, also when no Pod with that uid is on record for this node. Not healthy: the GPU
    stays as it is, and nobody new gets any of it. fixed: it is not recut now, so only what is ready is given to Pods.
    One that cannot be cut is used while it is ready."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        model: GpuModel | None,
        *,
        mig: bool = False,
        ready: bool = False,
        healthy: bool = True,
        fixed: bool = False,
        pod: str = "",
        instances: Sequence[tuple[str, int, bool, str]] = ...,
    ) -> None: ...
    @property
    def model(self) -> GpuModel | None: ...
    @property
    def mig(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def healthy(self) -> bool: ...
    @property
    def fixed(self) -> bool: ...
    @property
    def pod(self) -> str: ...
    @property
    def instances(self) -> list[tuple[str, int, bool, str]]: ...
    def __eq__(self, other: object) -> bool: ...

_Held = tuple[int, str, int]  # GPU slot, profile, start unit

@final
class NodeSpec:
    """What a node offers. allocatable["nvidia.com/gpu"] is its number of GPUs (at most 65,535).

    gpus: one per slot where nos cuts them. Then requests for nvidia.com/mig-* are met by geometry, whatever exists now,
    and what allocatable says of them is not looked at. ValueError when instances cannot be together.
    images: bytes by name, every name of each. features: what Pods may need of it. attach_limits: volumes by CSI driver.
    attached: driver and handle of the volumes on it, whoever uses them. by_dra: extended resources that it offers as
    DRA devices only. gpu_memory_gb: of each of its GPUs, as quotas count it; 0: unknown, which counts 32.
    """

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        allocatable: Mapping[str, int],
        *,
        labels: Mapping[str, str] = ...,
        taints: Sequence[Taint] = (),
        unschedulable: bool = False,
        gpus: Sequence[GpuSpec] = ...,
        images: Mapping[str, int] = ...,
        features: Sequence[str] = (),
        attach_limits: Mapping[str, int] = ...,
        attached: Sequence[tuple[str, str]] = (),
        by_dra: Sequence[str] = (),
        gpu_memory_gb: int = 0,
    ) -> None: ...
    @property
    def allocatable(self) -> dict[str, int]: ...
    @property
    def labels(self) -> dict[str, str]: ...
    @property
    def taints(self) -> list[Taint]: ...
    @property
    def unschedulable(self) -> bool: ...
    @property
    def gpus(self) -> list[GpuSpec]: ...
    @property
    def images(self) -> dict[str, int]:
        """By what stands for their names: # and a hash, which means the same image wherever a name does."""
    @property
    def features(self) -> list[str]:
        """Sorted."""
    @property
    def attach_limits(self) -> dict[str, int]: ...
    @property
    def attached(self) -> list[tuple[str, str]]:
        """Sorted, each once."""
    @property
    def by_dra(self) -> list[str]: ...
    @property
    def gpu_memory_gb(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

@final
class NodeState:
    """A node as the ledger has it now; a copy."""

    @property
    def name(self) -> str: ...
    @property
    def present(self) -> bool:
        """False while Pods are on record for a node that is gone or was not seen yet."""
    @property
    def pods(self) -> int: ...
    @property
    def allocatable(self) -> dict[str, int]: ...
    @property
    def requested(self) -> dict[str, int]: ...
    @property
    def gpu_free_milli(self) -> list[int]:
        """Per GPU slot, what is free of its 1000. None of one with MIG instances that Pods hold or are to get, nor of
        one that nobody can be given."""

@final
class PodState:
    """A Pod as the ledger has it now; a copy."""

    @property
    def uid(self) -> str: ...
    @property
    def phase(self) -> str:
        """waiting, held (room is made for it on a node), assumed (decided, not confirmed by the API server), bound, or
        nominated by another scheduler."""
    @property
    def leaving(self) -> bool:
        """Whether it is to be evicted for another Pod."""
    @property
    def node(self) -> str: ...
    @property
    def gpus(self) -> list[int]: ...
    @property
    def instances(self) -> list[_Held]: ...
    @property
    def volumes(self) -> list[str]:
        """Of an assumed Pod: what was chosen for its claims."""
    @property
    def placed(self) -> bool:
        """Whether all that it asks for has its place on its node. An assumed Pod loses it when its node turns out to be
        other than it was: forget it then."""
    @property
    def ready(self) -> bool:
        """Whether what it holds exists and can be handed to it. Where nos does not cut the GPUs: once it is placed."""
    @property
    def priority(self) -> int: ...

@final
class GangState:
    """A gang as the ledger has it now; a copy."""

    @property
    def known(self) -> bool:
        """False while Pods alone have named it."""
    @property
    def min_members(self) -> int: ...
    @property
    def topology_key(self) -> str: ...
    @property
    def required(self) -> bool: ...
    @property
    def problem(self) -> str: ...
    @property
    def members(self) -> list[str]:
        """Every Pod on record, sorted."""
    @property
    def placed(self) -> int:
        """Of them those that are assumed or bound, and not terminating."""

@final
class QuotaSpec:
    """What some namespaces share: min is guaranteed to them, max never exceeded. Immutable, equal by content.

    Amounts by resource, in the units of requests; nos.nebuly.com/gpu-memory in GB, nos.nebuly.com/gpu-compute in
    sevenths of a GPU. A resource that it does not name is not compared. parent: the name of the quota that it is a part
    of. ValueError when a namespace is named twice.
    """

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        namespaces: Sequence[str],
        *,
        min: Mapping[str, int] = ...,
        max: Mapping[str, int] = ...,
        parent: str = "",
    ) -> None: ...
    @property
    def namespaces(self) -> list[str]:
        """Sorted."""
    @property
    def min(self) -> dict[str, int]: ...
    @property
    def max(self) -> dict[str, int]: ...
    @property
    def parent(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...

@final
class QuotaState:
    """A quota as the ledger has it now; a copy. Amounts by resource, of those that it or a quota below it names."""

    @property
    def used(self) -> dict[str, int]:
        """By the Pods on nodes in its namespaces, and in those of the quotas below it."""
    @property
    def min(self) -> dict[str, int]:
        """No less than what the quotas below it are guaranteed together."""
    @property
    def max(self) -> dict[str, int]: ...
    @property
    def guaranteed(self) -> dict[str, int]:
        """Its share, by min, of what its siblings do not use of theirs: it may take so much beyond min from those who
        are beyond theirs by more."""
    def capacities(self) -> list[tuple[str, bool]]:
        """The uids of the Pods on nodes in its own namespaces, and whether each is over what is guaranteed."""

@final
class Transaction:
    """Records every assume, forget, hold and release on its Cluster until commit; undoes them at the end without one.

    A context manager. One at a time per Cluster; upserts and removals are refused (RuntimeError) while it is open.
    """

    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

class Cluster:
    """The ledger: nodes, their GPUs and the Pods, with every sum kept up to date. copy() is cheap and independent."""

    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self, of: Cluster) -> None:
        """A copy of it."""
    def copy(self) -> Cluster:
        """An independent ledger. Raises RuntimeError while a transaction is open."""
    def upsert_node(self, name: str, spec: NodeSpec) -> None: ...
    def remove_node(self, name: str) -> bool:
        """False when there was none. Its Pods stay on record until they are removed or the node returns."""
    def upsert_pod(
        self,
        uid: str,
        spec: PodSpec,
        *,
        labels: PodLabels = ...,
        priority: int = 0,
        arrival: int = 0,
        node: str = "",
        terminating: bool = False,
        nominated: bool = False,
        gang: str = "",
        gpus: Sequence[int] = (),
        instances: Sequence[_Held] = ...,
        preempts: bool = True,
        wish: str = "",
        movable: bool = False,
    ) -> None:
        """Record a Pod: waiting for nos when node is empty, else bound there (the node may not be known yet).

        arrival orders Pods of one priority (any monotonic number, e.g. the creation time). gpus, instances: what
        it holds where that is known; a node's GpuSpecs know better. terminating: it is being deleted; it is counted
        until it is removed, but not in a spread. nominated: not bound, but another scheduler is about to bind it to the
        node, where no Pod of its priority or a lower one takes its room. gang: the name of the gang that it belongs to;
        while no such gang is known it waits. preempts: others may be evicted for it. wish: of one that waits, the node
        where room was being made for it, as far as the API server knows. movable: it may be evicted so as to run
        elsewhere; its spec says all that it asks of a node, as if it waited. An assumed or bound Pod that is upserted
        without a node stays where it is: no Pod ever comes back from a node; with one, the API server's word wins.
        """
    def remove_pod(self, uid: str) -> bool: ...
    def upsert_gang(
        self, name: str, *, min_members: int, topology_key: str = "", required: bool = False, problem: str = ""
    ) -> None:
        """Pods that start together: so many of them or none, those beyond as they fit, before or after. With a key, all
        in one domain of that node label: where required, else if it can be. problem: why nobody more of it may start,
        in words that follow its name. ValueError for an empty name, a negative number, or a required domain without a
        key."""
    def remove_gang(self, name: str) -> bool:
        """False when there was none. Its waiting Pods wait on."""
    def gang(self, name: str) -> GangState:
        """KeyError when neither upsert_gang nor a Pod named it."""
    def upsert_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Its labels; one that was never named has none."""
    def remove_namespace(self, name: str) -> bool: ...
    def upsert_quota(self, name: str, spec: QuotaSpec) -> None:
        """ValueError when another quota has one of its namespaces, or it would be its own ancestor. A parent may come
        later: until then the quota has none."""
    def remove_quota(self, name: str) -> bool: ...
    def quota(self, name: str) -> QuotaState:
        """KeyError when unknown."""
    def set_habit(self, name: str, habit: int) -> bool:
        """How much the quota has had lately, in any unit: of borrowers that are beyond their min by the same part the
        one with less goes first. False when there is no such quota."""
    def changed_quotas(self) -> list[str]:
        """Those whose amounts, or whose Pods that are over, may have changed since the last call."""
    def assume(
        self,
        uid: str,
        node: str,
        gpus: Sequence[int] = (),
        instances: Sequence[_Held] = ...,
        volumes: Sequence[str] = (),
    ) -> None:
        """Count a waiting Pod on a node before the API server knows. KeyError for unknown names, ValueError when it
        is not waiting, a GPU slot is not free enough, its instances do not fit or are not those it asks for, or one of
        the volumes (for its claims; "" for one that is to be made) is chosen for another assumed Pod."""
    def forget(self, uid: str) -> bool:
        """Return an assumed Pod to the waiting ones; False when it is not assumed."""
    def hold(self, uid: str, node: str) -> None:
        """Keep a waiting Pod's room on a node from everybody until it is released or placed. KeyError for unknown
        names, ValueError when it does not wait."""
    def release(self, uid: str) -> bool:
        """Return a held Pod to the waiting ones; it wishes for that node. False when it is not held."""
    def protect(self, uid: str, on: bool) -> None:
        """Whether nobody may count on the Pod's eviction now: it was refused. KeyError when unknown."""
    def upsert_budget(self, name: str, selector: PodSelector, allowed: int) -> None:
        """A PodDisruptionBudget: how many of the Pods that it selects may be evicted now."""
    def remove_budget(self, name: str) -> bool: ...
    def expect(self, spec: PodSpec, pods: int = 1) -> None:
        """Count Pods as if they had arrived: a demand known in advance. The scores nos and fgd learn from arrivals."""
    def restore(
        self,
        uid: str,
        node: str,
        *,
        assumed: bool = False,
        gpus: Sequence[int] = (),
        instances: Sequence[_Held] = ...,
        volumes: Sequence[str] = (),
        leaving: bool = False,
    ) -> None:
        """Put a waiting Pod where it was, bound or assumed: with these GPUs and instances, as far as they are there,
        and no more. leaving: it is to be evicted for another one. A profile may be # and its number in the model.
        KeyError when unknown, ValueError when it does not wait, or nos does not cut the GPU of an instance."""
    def set_demand(
        self,
        *,
        counts: Sequence[tuple[int, int, int, int, int]],
        instances: Sequence[tuple[str, int]],
        arrivals: int,
    ) -> None:
        """The demand seen so far, in the place of all that was learned: what Pods ask for (cpu, memory, GPUs,
        gpu_share_milli) and how many of each; MIG instances by what requests call the profile; and how many Pods ever
        came. In 256ths of a Pod, but for the last. Schedulers, which follow it in steps, begin anew."""
    def demand(self) -> dict[str, Any]:
        """The demand seen so far, as `set_demand` takes it."""
    def edits(self) -> list[tuple[str, dict[str, object]]]:
        """The calls (method, keyword arguments) that make an equal ledger out of an empty one: new Schedulers on both
        decide the same from then on, as long as both see the same. So does one that has been at work from when the
        demand is set (`set_demand`): it follows the demand in steps. Names that begin with # stand in for what has
        gone, and go at the end. RuntimeError while a transaction is open."""
    def transaction(self) -> Transaction: ...
    def node(self, name: str) -> NodeState:
        """KeyError when unknown."""
    def nodes(self) -> list[NodeState]: ...
    def targets(self, name: str) -> list[tuple[bool, list[_Placement]]]:
        """What the node's GPUs are to become, by slot: MIG mode, and the instances to have. All that Pods hold is among
        them, and of the free ones those that do not stand in the way. A GPU that is not healthy, or cannot be cut,
        stays as it is. Empty where nos does not cut. KeyError when unknown."""
    def pod(self, uid: str) -> PodState:
        """KeyError when unknown."""
    def __contains__(self, uid: str) -> bool: ...
    @property
    def node_count(self) -> int: ...
    @property
    def pod_count(self) -> int: ...
    @property
    def waiting_count(self) -> int: ...
    @property
    def gpu_capacity_milli(self) -> int: ...
    @property
    def gpu_used_milli(self) -> int: ...
    def check(self) -> None:
        """Recompute every sum from scratch; AssertionError names the first that differs."""

@final
class Policy:
    """How nodes are chosen. score: nos, fgd, best-fit or first-fit."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, score: str = "nos") -> None: ...
    @property
    def score(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...

@final
class Bind:
    """Decision: this Pod goes to this node, on these GPU slots and MIG instances."""

    @property
    def uid(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def gpus(self) -> list[int]: ...
    @property
    def instances(self) -> list[_Held]: ...
    @property
    def volumes(self) -> list[str]:
        """Per claim of its spec the volume to bind, "" where one is to be made."""
    @property
    def ready(self) -> bool:
        """False: the node's GPUs have to be cut first, see Cluster.targets."""

@final
class Reason:
    """Why a Pod was not bound. Equal Pods of one cycle share one object."""

    @property
    def code(self) -> str:
        """One of a closed set, fit for a metric label: Unsupported, NoNodes, NodeAffinity, Taint, Unschedulable,
        HostPort, TooManyPods, InsufficientCpu, InsufficientMemory, InsufficientStorage, InsufficientGpu, NoGeometry,
        InsufficientResource, VolumeNotReady, VolumeInUse, VolumeLimit, VolumeAffinity, TopologySpread, PodAffinity,
        PodAntiAffinity, NodeFeature, OnlyByDra, MakingRoom, GangTooSmall, GangDoesNotFit, GangInvalid, QuotaMax,
        QuotaExhausted."""
    @property
    def message(self) -> str:
        """For people: node counts as kube-scheduler gives them, then the nearest fix."""
    @property
    def counts(self) -> dict[str, int]:
        """Nodes per cause; a node that lacks two things counts under both."""

@final
class Eviction:
    """Decision: this Pod, on this node, is to be evicted, as the Pod for_uid gets its room."""

    @property
    def uid(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def why(self) -> str:
        """priority: of the other Pod. reclaim: its quota takes back what it lent."""
    @property
    def for_uid(self) -> str: ...

@final
class Outcome:
    """What one cycle decided. Every Bind is already assumed in the Cluster."""

    @property
    def binds(self) -> list[Bind]: ...
    @property
    def evictions(self) -> list[Eviction]:
        """All that are wanted now, those that an earlier cycle wanted too."""
    @property
    def held(self) -> list[tuple[str, str]]:
        """Pods (uid) for whom room is made, and on which node. Nobody else gets it. They are among the waiting, too,
        with the code MakingRoom, and among the binds of the cycle that finds the room there."""
    @property
    def waiting(self) -> list[tuple[str, Reason]]: ...

@final
class Scheduler:
    """Decides on one Cluster, and remembers what it scored there so that equal Pods and unchanged nodes are not
    scored twice. A what-if is a Scheduler on a copy."""

    def __init__(self, cluster: Cluster, policy: Policy = ...) -> None: ...
    def schedule(self) -> Outcome:
        """Place every waiting Pod that fits: those for whom room was made, then highest priority first, then earliest
        arrival, then uid. Hold those that fit nowhere, but would once others are evicted, who are chosen so that the
        fewest and least important go, and none who could stay. Where some are left over, MIG instances of this cycle
        are planned once more, large ones first, if that lets more in and nobody out. Releases the GIL; the Cluster
        refuses entry from other threads (ClusterBusy) meanwhile."""
    def place(self, uid: str) -> Bind | None:
        """Decide on one waiting Pod alone, whatever its turn; the Bind is already assumed. KeyError when it does not
        wait."""
    def may_reclaim(self, uid: str, victim: str) -> bool:
        """Whether the one's quota may take back what it is guaranteed from the other, who is on a node. KeyError when
        one of them is unknown, or the victim is on no node."""
    def feasible(self, spec: PodSpec, labels: PodLabels = ..., *, priority: int = 0) -> list[str]:
        """Names of the nodes where such a Pod would fit now, in node order, whatever its quota."""
    def fragmentation_ratio(self) -> float:
        """Of the free GPU, the part that will probably never be handed out to the demand seen here: 0 none, 1 all. Free
        units beside MIG instances count as well; what each typical profile could not take of them is lost. Changes no
        decision."""

@final
class GpuUse:
    """What becomes of the GPU of one node, in milli-GPU. Beside MIG instances in use, a GPU's other units are free."""

    @property
    def node(self) -> str: ...
    @property
    def all(self) -> int: ...
    @property
    def free(self) -> int: ...
    @property
    def withheld(self) -> int:
        """Neither taken nor free: it is unfit, or a stranger has it."""
    @property
    def stranded(self) -> dict[str, int]:
        """Of what is free, what the demand seen lately cannot take: for want of geometry, cpu or memory, each part
        counted once, under what is scarcest. A mean over the kinds of Pods that ask for GPU, by how many of each came:
        what such Pods could not take if they alone came from now on."""

def gpu_use(cluster: Cluster) -> list[GpuUse]:
    """Of the nodes with GPUs that are there, in node order."""

@final
class NodeGroup:
    """Nodes that can be had, all alike.

    node: what each offers; it gets the label kubernetes.io/hostname with its name, unless there is one. Where nos cuts
    the GPUs there is one GpuSpec per slot. price: of each, micro-dollars per hour. room: how many more can be had.
    uses: what each takes of limits that groups share. ValueError when one of these is negative or absurd.
    """

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, id: str, node: NodeSpec, *, price: int, room: int, uses: Mapping[str, int] = ...) -> None: ...
    @property
    def id(self) -> str: ...
    @property
    def price(self) -> int: ...
    @property
    def room(self) -> int: ...
    @property
    def node(self) -> NodeSpec: ...
    @property
    def uses(self) -> dict[str, int]: ...
    def __eq__(self, other: object) -> bool: ...

@final
class NewNode:
    """A node that is to be ordered, as it is in the Cluster already."""

    @property
    def group(self) -> str: ...
    @property
    def name(self) -> str:
        """The group's id, # and a number."""
    @property
    def pods(self) -> list[str]:
        """The uids of those who are to run there."""
    @property
    def cuts(self) -> list[tuple[bool, list[_Placement]]]:
        """What its GPUs are to become, by slot, as in Cluster.targets."""

@final
class ScaleUp:
    """Which nodes let those run that wait."""

    @property
    def nodes(self) -> list[NewNode]: ...
    @property
    def binds(self) -> list[Bind]:
        """Who found a place on nodes that are there already."""
    @property
    def left(self) -> list[tuple[str, str]]:
        """Who still waits though a node might help (uid), and what forbids it in each group, for people."""
    @property
    def price(self) -> int:
        """Of the nodes, micro-dollars per hour."""
    @property
    def bound(self) -> int:
        """Nothing that places as much is cheaper than this, micro-dollars per hour; 0 where nothing better is known."""
    @property
    def first_fit_price(self) -> int:
        """What first-fit-decreasing takes for what it places, which may be fewer Pods."""
    @property
    def exact(self) -> bool:
        """Whether it is proven that no plan places more, or as much at a lower price."""

def scale_up(
    cluster: Cluster,
    groups: Sequence[NodeGroup],
    *,
    limits: Mapping[str, int] = ...,
    policy: Policy = ...,
    most_steps: int = ...,
) -> ScaleUp:
    """Plan nodes for the Pods that a cycle cannot place, by repartition and evictions neither.

    As many Pods as can be of the highest priority get a place, then of the next priority, and so on; gangs as a whole.
    Of the plans that do, one of the lowest price; of these the fewest nodes. limits: how much there is of what groups
    share. most_steps bounds the search for what is proven best; beyond it the plan is a good one.

    The cluster is edited, so it should be a copy: afterwards it is as it would be, new nodes and assumed Pods included.
    Releases the GIL. ValueError when two groups have one id, or one uses a limit that is not there.
    """

@final
class Removable:
    """A node that may go if its Pods have a place elsewhere. price: what it costs, micro-dollars per hour, 0 to 10^12.
    limit: the name in `spare` that says how many like it may go; "": no limit."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, node: str, *, price: int, limit: str = "") -> None: ...
    @property
    def node(self) -> str: ...
    @property
    def price(self) -> int: ...
    @property
    def limit(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...

@final
class Removal:
    """One step of a scale-down: these nodes go once these Pods are elsewhere. Feasible after those before it."""

    @property
    def nodes(self) -> list[str]:
        """More than one where a gang moves as a whole, or one new node takes the place of several."""
    @property
    def moves(self) -> list[tuple[str, str]]:
        """A Pod's uid, and a node where there is room for it. No Pod moves twice."""
    @property
    def new(self) -> list[NewNode]:
        """The cheaper node that takes their place, mostly none. It has to be there first."""
    @property
    def saved(self) -> int:
        """Micro-dollars per hour, after the price of what is new."""

@final
class ScaleDown:
    """Which nodes are not needed."""

    @property
    def steps(self) -> list[Removal]: ...
    @property
    def saved(self) -> int:
        """By all steps, micro-dollars per hour."""
    @property
    def kept(self) -> list[tuple[str, str]]:
        """Nodes that could have been removed and stay, and why, for people."""

def scale_down(
    cluster: Cluster,
    nodes: Sequence[Removable],
    *,
    movable: Collection[str],
    ignored: Collection[str] = (),
    spare: Mapping[str, int] = ...,
    groups: Sequence[NodeGroup] = (),
    limits: Mapping[str, int] = ...,
    move_price: int = 0,
    policy: Policy = ...,
    most_steps: int = 100_000,
) -> ScaleDown:
    """Which of these nodes to empty, and where their Pods go, after the waiting Pods are placed. Edits `cluster`, which
    is to be a copy: afterwards it is the cluster as it would be.

    movable: uids of Pods that may be moved. ignored: uids of those that go with their node. A node stays where any
    other Pod is that is not terminating, where a budget does not allow an eviction, or where a gang would lose Pods
    that it needs: it moves as a whole, from at most three nodes, or not at all. spare: how many nodes may go, by limit.
    move_price: what it costs to move a Pod, micro-dollars per hour; a node with Pods goes only if it costs more than
    its moves, an empty one in any case. most_steps bounds the search, in attempts to place a Pod. Of at most six nodes
    the best set is found, if it finds a place for the Pods of that set. Releases the GIL. ValueError for a node named
    twice, a negative price, a limit without spare, or groups that make no sense.

    groups, limits: as in scale_up, nodes that can be had. Of the nodes that are left up to three go in exchange for a
    new one if their Pods fit there and on what is free, and if that saves more than the moves cost.
    """
