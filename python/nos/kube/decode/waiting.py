"""What a Pod that waits asks of its node."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

from nos import _core
from nos.kube.decode import containers as of_containers
from nos.kube.decode.affinity import Affinity, names_pods
from nos.kube.decode.amounts import rounded
from nos.kube.decode.containers import ContainerKey
from nos.kube.decode.features import features
from nos.kube.decode.images import images
from nos.kube.decode.metadata import labels
from nos.kube.decode.spread import DefaultSpread, default_spread, keys_of, spread
from nos.kube.pod import Pod
from nos.kube.requests import effective_requests
from nos.kube.selectors import core_terms
from nos.kube.unsupported import unsupported
from nos.kube.volume_match import core_claim
from nos.kube.volumes import PodVolumes, unread


class _Toleration(Struct):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


_tolerations = Decoder(list[_Toleration] | None).decode


class Template(NamedTuple):
    """What of a Pod itself decides what it asks for. It outlives the event that it came with."""

    containers: tuple[ContainerKey, ...]
    init_containers: tuple[ContainerKey, ...]
    overhead: bytes
    resources: bytes
    node_selector: bytes
    affinity: bytes
    tolerations: bytes
    spread: bytes
    namespace: str  # where affinity or spread look at Pods
    spread_labels: tuple[tuple[str, str], ...]  # those of its labels whose values the spread looks at
    images: tuple[str, ...]
    features: tuple[str, ...]
    unsupported: tuple[str, ...]

    @property
    def has_spread(self) -> bool:
        """Whether it has spread constraints of its own."""
        return self.spread not in (b"null", b"[]")


_NULL = b"null"
_NOTHING = Template((), (), _NULL, _NULL, _NULL, _NULL, _NULL, _NULL, "", (), (), (), ())


def template(pod: Pod) -> Template:
    """Equal ones are one object. A Pod that cannot be understood asks for what is unsupported."""
    try:
        return _shared(_template(pod))
    except msgspec.DecodeError as error:
        return _shared(_NOTHING._replace(unsupported=(f"a spec that makes no sense: {error}",)))


def waiting_spec(pod: Pod, *, volumes: PodVolumes | None = None, default: DefaultSpread | None = None) -> _core.PodSpec:
    """What a Pod that waits for a node asks for. volumes: what its volumes ask for; None: nobody has looked. default:
    whom it is spread against if it has no constraints of its own."""
    return spec_of(template(pod), volumes=volumes or unread(pod), default=default)


@lru_cache(maxsize=4096)
def spec_of(template: Template, *, volumes: PodVolumes, default: DefaultSpread | None = None) -> _core.PodSpec:
    """As waiting_spec, of what was kept of a Pod."""
    try:
        return _whole(template, volumes, default)
    except (ValueError, OverflowError, msgspec.DecodeError) as error:
        return _core.PodSpec({}, unsupported=(*template.unsupported, *volumes.unsupported, str(error)))


@lru_cache(maxsize=4096)
def moving_spec_of(template: Template, *, volumes: PodVolumes) -> _core.PodSpec | None:
    """As spec_of, of a Pod on a node, which could be tried elsewhere; None for one that could not be placed."""
    if template.unsupported:
        return None
    try:
        return _whole(template, volumes, None)
    except (ValueError, OverflowError, msgspec.DecodeError):
        return None


def spec_asking(
    template: Template, requests: Mapping[str, int], *, volumes: PodVolumes, default: DefaultSpread | None
) -> _core.PodSpec | None:
    """As spec_of, but asking for so much, in the core's units: for a what-if. None where that makes no sense."""
    try:
        return _whole(template, volumes, default, requests)
    except (ValueError, OverflowError, msgspec.DecodeError):
        return None


def _whole(
    template: Template,
    volumes: PodVolumes,
    default: DefaultSpread | None,
    requests: Mapping[str, int] | None = None,
) -> _core.PodSpec:
    default = None if template.has_spread else default
    affinity = Affinity(template.affinity, template.namespace)
    constraints = spread(template.spread, template.namespace, dict(template.spread_labels))
    return _core.PodSpec(
        rounded(effective_requests(of_containers.ask(*template[:4]))) if requests is None else requests,
        node_selector=labels(template.node_selector),
        affinity=affinity.required_nodes(),
        preferred_affinity=affinity.preferred_nodes(),
        tolerations=_known_tolerations(template.tolerations),
        host_ports=of_containers.host_ports(template.containers, template.init_containers),
        features=(*template.features, *volumes.features),
        images=template.images,
        pod_affinity=affinity.required_pods(),
        pod_anti_affinity=affinity.required_anti_pods(),
        preferred_pod_affinity=affinity.preferred_pods(),
        spread=default_spread(default) if default else constraints,
        spread_by_default=default is not None,
        volume_affinity=[core_terms(terms) for terms in volumes.affinity],
        claims=[core_claim(claim) for claim in volumes.claims],
        sole_claims=volumes.sole_claims,
        volumes=volumes.volumes,
        waits_for=volumes.waits_for,
        unsupported=(*template.unsupported, *volumes.unsupported),
    )


def requests_of(template: Template) -> dict[str, int]:
    """What a Pod of this template takes of its node, in nano-units; nothing where that makes no sense."""
    try:
        return effective_requests(of_containers.ask(*template[:4]))
    except (ValueError, msgspec.DecodeError):
        return {}


def _template(pod: Pod) -> Template:
    spec, affinity, constraints = pod.spec, bytes(pod.spec.affinity), bytes(pod.spec.topology_spread_constraints)
    looks_at_pods = names_pods(affinity) or constraints != b"null"
    keys = keys_of(constraints)
    return Template(
        tuple(map(of_containers.key, spec.containers)),
        tuple(map(of_containers.key, spec.init_containers)),
        bytes(spec.overhead),
        bytes(spec.resources),
        bytes(spec.node_selector),
        affinity,
        bytes(spec.tolerations),
        constraints,
        pod.metadata.namespace if looks_at_pods else "",
        tuple(item for item in labels(bytes(pod.metadata.labels)).items() if item[0] in keys) if keys else (),
        images(pod),
        features(pod),
        unsupported(pod),
    )


@lru_cache(maxsize=4096)
def _shared(template: Template) -> Template:
    return template


def _known_tolerations(tolerations: bytes) -> list[_core.Toleration]:
    return [
        _core.Toleration(t.key, t.operator or "Equal", t.value, t.effect)
        for t in _tolerations(tolerations) or ()
        if t.operator in ("", "Equal", "Exists")  # kube-scheduler, too, lets an unknown operator tolerate nothing
    ]
