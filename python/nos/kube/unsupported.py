"""What a Pod uses that nos does not handle yet: such a Pod waits with a Reason that names it. Volumes: see `volumes`.

The rule is to fail closed. What can keep a Pod off a node and is not modelled is named here; what is only a preference
(preferred affinities, ScheduleAnyway spreads) is left out of account; what has no say in the choice of a node is fine.
"""

from collections.abc import Iterator

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from nos.kube.pod import Container, Pod

POD_GROUP_LABEL = "nos.nebuly.com/pod-group"


class _Terms(Struct, rename="camel"):
    required_during_scheduling_ignored_during_execution: list[Raw] = field(default_factory=list)


class _Affinity(Struct, rename="camel"):
    pod_affinity: _Terms = field(default_factory=_Terms)
    pod_anti_affinity: _Terms = field(default_factory=_Terms)


class _Spread(Struct, rename="camel"):
    when_unsatisfiable: str = ""


_affinity = Decoder(_Affinity | None).decode
_spreads = Decoder(list[_Spread] | None).decode
_labels = Decoder(dict[str, str] | None).decode


def unsupported(pod: Pod) -> tuple[str, ...]:
    """What the Pod uses that nos does not handle, in words; empty for a Pod that it can place."""
    return tuple(_found(pod))


def _found(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    if affinity := _affinity(spec.affinity):
        if affinity.pod_affinity.required_during_scheduling_ignored_during_execution:
            yield "pod affinity"
        if affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution:
            yield "pod anti-affinity"
    if any(
        spread.when_unsatisfiable != "ScheduleAnyway" for spread in _spreads(spec.topology_spread_constraints) or ()
    ):
        yield "topology spread"
    if spec.resource_claims:
        yield "resource claims"
    if bytes(spec.scheduling_group) != b"null":
        yield "pod group (spec.schedulingGroup)"
    elif POD_GROUP_LABEL.encode() in bytes(pod.metadata.labels) and POD_GROUP_LABEL in (
        _labels(pod.metadata.labels) or ()
    ):
        yield f"pod group (label {POD_GROUP_LABEL})"
    # Three features that a kubelet must declare before a Pod may use them (NodeDeclaredFeatures).
    if spec.host_network and spec.host_users is False:
        yield "host network in a user namespace"
    containers = spec.containers + spec.init_containers
    if any(b"RestartAllContainers" in bytes(c.restart_policy_rules) for c in containers):
        yield "restart rule RestartAllContainers"
    if any(_has_mount_options(c) for c in containers):
        yield "bind mount options"


def _has_mount_options(container: Container) -> bool:
    return b'"bindMountOptions"' in bytes(container.volume_mounts)
