"""Groups of Pods that start together: PodGroups of the API server, and what Pods say of a group without such an object.

A group is a name in a namespace. A Pod names its group in spec.schedulingGroup, or by an annotation or label of nos.
Where there is a PodGroup of that name, what it asks for counts; else what the Pods say, who have to agree.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from msgspec import DecodeError, Struct, field
from msgspec.json import Decoder

from nos.kube.meta import Metadata
from nos.kube.pod import Pod

POD_GROUPS = "/apis/scheduling.k8s.io/v1beta1/podgroups"
POD_GROUP = "nos.nebuly.com/pod-group"
MIN_AVAILABLE = f"{POD_GROUP}-min-available"
TOPOLOGY = f"{POD_GROUP}-topology"
TOPOLOGY_MODE = f"{POD_GROUP}-topology-mode"

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class Terms(NamedTuple):
    """What is asked of a group. problem: why it cannot start, in words that follow its name."""

    min_members: int
    topology_key: str = ""
    required: bool = False
    problem: str = ""


class Says(NamedTuple):
    """What one Pod says of its group; None of what it does not mention. problem: what of that makes no sense."""

    min_members: int | None = None
    topology_key: str | None = None
    required: bool | None = None
    problem: str = ""


class Membership(NamedTuple):
    """Of a Pod. says: None where it leaves that to the PodGroup."""

    group: str  # namespace/name
    says: Says | None


# ---- what Pods say


class _SchedulingGroup(Struct, rename="camel"):
    pod_group_name: str | None = None


_scheduling_group = Decoder(_SchedulingGroup | None).decode
_mapping = Decoder(dict[str, str] | None).decode


def membership(pod: Pod) -> Membership | None:
    """The group of a Pod; None for one that is on its own."""
    namespace = pod.metadata.namespace
    if bytes(pod.spec.scheduling_group) != b"null" and (name := scheduling_group(pod)):
        return Membership(f"{namespace}/{name}", None)
    told: dict[str, str] = {}
    for raw in (bytes(pod.metadata.labels), bytes(pod.metadata.annotations)):
        if POD_GROUP.encode() in raw:
            told |= _read(raw)
    name = told.get(POD_GROUP, "")
    return Membership(f"{namespace}/{name}", _says(told)) if name else None


def scheduling_group(pod: Pod) -> str:
    """The PodGroup that the Pod's spec names; empty where it names none, or a group of another kind."""
    try:
        found = _scheduling_group(pod.spec.scheduling_group)
    except DecodeError:
        return ""
    return (found and found.pod_group_name) or ""


def _read(raw: bytes) -> dict[str, str]:
    try:
        return _mapping(raw) or {}
    except DecodeError:
        return {}


def _says(told: dict[str, str]) -> Says:
    problem = ""
    least = told.get(MIN_AVAILABLE)
    if least is not None and not _NUMBER.fullmatch(least):
        problem = f'{MIN_AVAILABLE} is "{least}", which is no whole number above 0'
    mode = told.get(TOPOLOGY_MODE)
    if mode not in (None, "required", "preferred"):
        problem = problem or f'{TOPOLOGY_MODE} is "{mode}", which is neither required nor preferred'
    return Says(
        int(least) if least is not None and not problem else None,
        told.get(TOPOLOGY) or None,
        None if mode is None else mode == "required",
        problem,
    )


def agreed(says: Iterable[tuple[str, Says]]) -> Terms:
    """What Pods (by name) ask of their group together. Who mentions a thing speaks for those who do not."""
    found: dict[str, tuple[str, str, object]] = {}  # by what it is called: who said it first, how, and what it means
    for pod, one in says:
        if one.problem:
            return Terms(0, problem=f"cannot start: of Pod {pod} {one.problem}")
        for name, value, text in (
            (MIN_AVAILABLE, one.min_members, str(one.min_members)),
            (TOPOLOGY, one.topology_key, str(one.topology_key)),
            (TOPOLOGY_MODE, one.required, "required" if one.required else "preferred"),
        ):
            if value is None:
                continue
            first, said, before = found.setdefault(name, (pod, text, value))
            if before != value:
                return Terms(
                    0, problem=f"cannot start: its Pods disagree: {name} is {said} on {first}, and {text} on {pod}"
                )
    if MIN_AVAILABLE not in found:
        return Terms(0, problem=f"cannot start: none of its Pods has the annotation {MIN_AVAILABLE}")
    topology = str(found[TOPOLOGY][2]) if TOPOLOGY in found else ""
    mode = found.get(TOPOLOGY_MODE)
    return Terms(int(found[MIN_AVAILABLE][1]), topology, bool(topology) and (mode is None or bool(mode[2])))


# ---- PodGroups


class _Gang(Struct, rename="camel"):
    min_count: int = 1


class _Policy(Struct):
    gang: _Gang | None = None


class _Topology(Struct):
    key: str = ""


class _Constraints(Struct):
    topology: list[_Topology] = field(default_factory=list)


class _Spec(Struct, rename="camel"):
    scheduling_policy: _Policy = field(default_factory=_Policy)
    scheduling_constraints: _Constraints | None = None
    parent_composite_pod_group_name: str | None = None


class PodGroup(Struct):
    """A PodGroup as the API server sends it."""

    metadata: Metadata
    spec: _Spec = field(default_factory=_Spec)

    @property
    def terms(self) -> Terms:
        """What it asks for. The Pods of one with the basic policy start each on its own."""
        if self.spec.parent_composite_pod_group_name:
            return Terms(0, problem="cannot start: it is part of a CompositePodGroup, which nos does not handle")
        gang, constraints = self.spec.scheduling_policy.gang, self.spec.scheduling_constraints
        key = constraints.topology[0].key if constraints and constraints.topology else ""
        return Terms(gang.min_count if gang else 0, key, bool(key))


decode_pod_group = Decoder(PodGroup).decode
