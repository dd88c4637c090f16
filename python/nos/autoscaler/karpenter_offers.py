"""What can be had of Karpenter: a group for each offering of an instance type that a NodePool allows.

In come the settings and the NodePools as they are; out come groups, or why there are none. What the pools' limits
leave is counted over all NodeClaims of a pool, those of Karpenter itself and those of nos.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from nos.autoscaler.backend import ACTUATOR_ANNOTATION, NOS, Group
from nos.autoscaler.karpenter_settings import InstanceTypeSettings, KarpenterSettings, OfferingSettings
from nos.kube import nodeclaim
from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL
from nos.kube.node import Metadata, Node, Spec, Status
from nos.kube.nodeclaim import NodeClaim
from nos.kube.nodepool import NodePool
from nos.kube.quantity import nano, units
from nos.kube.selectors import Requirement
from nos.mig import recognize

POOL_LABEL = "nos.nebuly.com/node-pool"  # on a NodeClaim that nos ordered, and on its Node: the NodePool it is after
_PRODUCT = "nvidia.com/gpu.product"
_MOST = 2**50  # of any resource, as far as the core counts
_NODES = "nodes"  # among a pool's limits: how many
_USUAL = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}  # where neither pool nor instance type tells


class Offer(Struct, frozen=True):
    """A machine that can be had, for a pool."""

    pool: NodePool
    kind: InstanceTypeSettings
    offering: OfferingSettings

    @property
    def id(self) -> str:
        """Of its group."""
        parts = (self.pool.metadata.name, self.kind.name, self.offering.zone, self.offering.capacity_type)
        return "/".join(parts)

    @property
    def pinned(self) -> dict[str, str]:
        """The labels that tell it from all other machines."""
        return {
            nodeclaim.INSTANCE_TYPE: self.kind.name,
            nodeclaim.ZONE: self.offering.zone,
            nodeclaim.CAPACITY_TYPE: self.offering.capacity_type,
        }

    @property
    def labels(self) -> dict[str, str]:
        """What nos says of the machine, beside the pool's labels."""
        return self.kind.labels | {POOL_LABEL: self.pool.metadata.name}

    @property
    def conflict(self) -> Requirement | None:
        """The pool's requirement that does not let it be, if there is one."""
        return self.pool.conflict(self.kind.labels | self.pinned)

    @property
    def is_cut(self) -> bool:
        """Whether nos cuts its GPUs."""
        labels = self.pool.labels | self.kind.labels
        return self.kind.gpus > 0 and labels.get(PARTITIONING_LABEL) in CUT_BY_NOS

    def group(self, target: int, problem: str) -> Group:
        """Its group. target: how many there are. problem: of its pool."""
        uses = {_limit(self.pool, r): a for r, a in self.counted().items() if r in self.pool.spec.limits and a}
        return Group(
            id=self.id,
            template=self._template(),
            price=self.offering.micro_dollars,
            target=target,
            uses=uses,
            object=_title(self.pool.metadata.name),
            drains=True,
            problem=problem or self._problem(),
        )

    def counted(self) -> dict[str, int]:
        """What the limits count of it, in the core's units."""
        return _amounts(self.kind.allocatable | self.kind.capacity) | {_NODES: 1}

    def _template(self) -> Node:
        ref = self.pool.spec.template.spec.node_class_ref
        by_karpenter = {
            f"{ref.group}/{ref.kind.lower()}": ref.name,
            "karpenter.sh/registered": "true",
            "karpenter.sh/initialized": "true",
        }
        return Node(
            metadata=Metadata(labels=_USUAL | self.pool.labels | self.labels | self.pinned | by_karpenter),
            spec=Spec(taints=list(self.pool.spec.template.spec.taints)),
            status=Status(allocatable=dict(self.kind.allocatable)),
        )

    def _problem(self) -> str:
        product = (self.pool.labels | self.kind.labels).get(_PRODUCT, "")
        if not self.is_cut or (product and recognize(product)):
            return ""
        what = f"has the label {_PRODUCT}: {product}, which nos does not know" if product else f"lacks {_PRODUCT}"
        return (
            f"instance type {self.kind.name} is to be cut by nos ({PARTITIONING_LABEL}), but {what}, so that no layout "
            "can be planned; correct its labels in scaling.karpenter.instanceTypes (`nos mig models` lists what can be "
            "cut)"
        )


def offers(settings: KarpenterSettings, pools: Mapping[str, NodePool]) -> Iterator[Offer]:
    """All that the pools allow."""
    for name in settings.node_pools:
        if pool := pools.get(name):
            for kind in settings.instance_types:
                for offering in kind.offerings:
                    offer = Offer(pool, kind, offering)
                    if offer.conflict is None:
                        yield offer


def empty_groups(settings: KarpenterSettings, pools: Mapping[str, NodePool], found: Iterable[Offer]) -> Iterator[Group]:
    """A group without nodes for each pool of which nothing can be had, that says why."""
    served = {offer.pool.metadata.name for offer in found}
    for name in settings.node_pools:
        if name not in served:
            pool = pools.get(name)
            problem = (
                f"{_title(name)}: there is none of that name; create it, or correct scaling.karpenter.nodePools"
                if pool is None
                else _excluded(pool, settings.instance_types)
            )
            template = Node(metadata=Metadata())
            yield Group(id=name, template=template, price=0, target=0, max=0, object=_title(name), problem=problem)


def former_group(name: str, nodes: int) -> Group:
    """The group of nodes that nos ordered once, and that cannot be had any more."""
    problem = (
        "scaling.karpenter or the NodePool has ruled it out since; its nodes stay until somebody deletes their "
        "NodeClaims, or it is there again"
    )
    template, pool = Node(metadata=Metadata()), name.partition("/")[0]
    return Group(id=name, template=template, price=0, target=nodes, max=nodes, object=_title(pool), problem=problem)


def problem_of(pool: NodePool) -> str:
    """Why nothing is ordered from a pool; empty where there is no reason."""
    title = _title(pool.metadata.name)
    actuator = pool.metadata.annotations.get(ACTUATOR_ANNOTATION, NOS)
    if actuator != NOS:
        return (
            f"{title}: its annotation {ACTUATOR_ANNOTATION} says that {actuator} makes its nodes; remove the "
            "annotation, or take the pool out of scaling.karpenter.nodePools"
        )
    if pool.spec.replicas is not None:
        return (
            f"{title}: spec.replicas makes its nodes, all alike; name it among the scale subresources, or give "
            "scaling.karpenter.nodePools a pool without replicas"
        )
    if pool.metadata.deletion_timestamp:
        return f"{title} is being deleted; take it out of scaling.karpenter.nodePools, or create it anew"
    if pool.unready:
        return f"{title} is not ready: {pool.unready}; see kubectl describe nodepool {pool.metadata.name}"
    return ""


def room(
    settings: KarpenterSettings, pools: Iterable[NodePool], claims: Sequence[NodeClaim]
) -> Iterator[tuple[str, int]]:
    """What is left of each limit of each pool, in the core's units."""
    kinds = {kind.name: _amounts(kind.allocatable | kind.capacity) for kind in settings.instance_types}
    for pool in pools:
        left = _amounts(pool.spec.limits)
        for claim in claims:
            if pool_of(claim) == pool.metadata.name:
                for resource, amount in _counted(claim, kinds).items():
                    if resource in left:
                        left[resource] -= amount
        for resource, amount in left.items():
            yield _limit(pool, resource), max(0, amount)


def pool_of(claim: NodeClaim) -> str:
    """The pool that a NodeClaim counts to; empty where it counts to none."""
    labels = claim.metadata.labels
    return labels.get(POOL_LABEL) or labels.get(nodeclaim.NODE_POOL, "")


def _counted(claim: NodeClaim, kinds: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """As much as it can be, as long as nobody knows: Karpenter may leave the type to the cloud provider."""
    found = {_NODES: 1}
    label = claim.metadata.labels.get(nodeclaim.INSTANCE_TYPE)
    may_be = (label,) if label else claim.wanted(nodeclaim.INSTANCE_TYPE)
    told = (_amounts(claim.status.capacity), _amounts(claim.spec.resources.requests))
    for amounts in (*told, *(kinds[name] for name in may_be if name in kinds)):
        for resource, amount in amounts.items():
            found[resource] = max(found.get(resource, 0), amount)
    return found


def _excluded(pool: NodePool, kinds: Sequence[InstanceTypeSettings]) -> str:
    """The first requirement that is in the way, of the first offering: one is enough to see what is meant."""
    name = pool.metadata.name
    offer = Offer(pool, kinds[0], kinds[0].offerings[0])
    guilty = offer.conflict
    asks = f"{guilty.key} {guilty.operator} {', '.join(guilty.values or ())}".strip() if guilty else ""
    return (
        f"{_title(name)}: its requirements exclude every offering of scaling.karpenter.instanceTypes, such as "
        f"{offer.id}: {asks}; correct spec.template.spec.requirements, or add an instance type that it allows"
    )


def _amounts(quantities: Mapping[str, str | int]) -> dict[str, int]:
    return {r: min(units(r, nano(str(quantity))), _MOST) for r, quantity in quantities.items()}


def _limit(pool: NodePool, resource: str) -> str:
    return f"{pool.metadata.name}/{resource}"


def _title(pool: str) -> str:
    return f"NodePool {pool}"
