"""Topology spread: the constraints of a Pod, or the cluster's defaults where it has none."""

from typing import NamedTuple

from msgspec import Struct
from msgspec.json import Decoder

from nos import _core
from nos.kube.selectors import LabelSelector, Requirement, core_requirements, equal

_HOSTNAME, _ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
_REQUIRED = {"DoNotSchedule": True, "ScheduleAnyway": False}
_HONOR = {"Honor": True, "Ignore": False}


class _Constraint(Struct, rename="camel"):
    max_skew: int = 0
    topology_key: str = ""
    when_unsatisfiable: str = ""
    label_selector: LabelSelector | None = None
    match_label_keys: list[str] | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None


_constraints = Decoder(list[_Constraint] | None).decode


class DefaultSpread(NamedTuple):
    """Whom a Pod without constraints is spread against: what the Services and the controller that select it have in
    common with it."""

    namespace: str
    requirements: tuple[Requirement, ...]


def keys_of(raw: bytes) -> frozenset[str]:
    """The Pod's labels whose values the constraints look at."""
    if b'"matchLabelKeys"' not in raw:
        return frozenset()
    return frozenset(key for constraint in _constraints(raw) or () for key in constraint.match_label_keys or ())


def spread(raw: bytes, namespace: str, labels: dict[str, str]) -> list[_core.SpreadConstraint]:
    """The Pod's own constraints; labels: those of the Pod that `keys_of` names. ValueError for what makes no sense."""
    return [_constraint(constraint, namespace, labels) for constraint in _constraints(raw) or ()]


def default_spread(default: DefaultSpread) -> list[_core.SpreadConstraint]:
    """kube-scheduler's own defaults for clusters, applied to one Pod."""
    selector = _core.PodSelector(core_requirements(default.requirements), namespaces=[default.namespace])
    return [
        _core.SpreadConstraint(_HOSTNAME, selector, max_skew=3, required=False),
        _core.SpreadConstraint(_ZONE, selector, max_skew=5, required=False),
    ]


def _constraint(constraint: _Constraint, namespace: str, labels: dict[str, str]) -> _core.SpreadConstraint:
    return _core.SpreadConstraint(
        constraint.topology_key,
        _core.PodSelector(_merged(constraint, labels), namespaces=[namespace]),
        max_skew=constraint.max_skew,
        min_domains=1 if constraint.min_domains is None else constraint.min_domains,
        required=_known(_REQUIRED, constraint.when_unsatisfiable, "whenUnsatisfiable"),
        honor_affinity=_known(_HONOR, constraint.node_affinity_policy or "Honor", "nodeAffinityPolicy"),
        honor_taints=_known(_HONOR, constraint.node_taints_policy or "Ignore", "nodeTaintsPolicy"),
    )


def _merged(constraint: _Constraint, labels: dict[str, str]) -> list[_core.Requirement] | None:
    """With the Pod's value of each key that it has. The API server may have merged them already; once is enough."""
    if constraint.label_selector is None:
        return None
    keys = constraint.match_label_keys or ()
    mine = equal({key: labels[key] for key in keys if key in labels})
    return core_requirements(dict.fromkeys((*constraint.label_selector.requirements(), *mine)))


def _known(meanings: dict[str, bool], word: str, what: str) -> bool:
    if word not in meanings:
        raise ValueError(f"topology spread: {what} {word!r}")
    return meanings[word]
