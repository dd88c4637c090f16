"""What a Pod's volumes ask of its node, and what a node's CSI drivers offer.

Plain values that can be hashed: they are part of the key under which `decode` remembers a spec.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import Raw, Struct
from msgspec.json import Decoder

from nos import _core
from nos.kube.pod import Pod
from nos.kube.selectors import NodeTerm, core_terms

# Volumes that every node can mount, or whose failure to mount is not a matter of scheduling.
_ANYWHERE = frozenset(
    (
        *("configMap", "secret", "downwardAPI", "projected", "emptyDir", "image", "gitRepo", "hostPath"),
        *("csi", "nfs", "cephfs", "azureFile", "flexVolume"),
    )
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim whose volume is chosen with the node; see nos._core.VolumeClaim."""

    volumes: tuple[tuple[str, tuple[NodeTerm, ...] | None], ...] = ()
    provision: tuple[tuple[NodeTerm, ...], ...] | None = None


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


def core_claim(claim: Claim) -> _core.VolumeClaim:
    """The core's spelling."""
    return _core.VolumeClaim(
        [(name, None if terms is None else core_terms(terms)) for name, terms in claim.volumes],
        provision=None if claim.provision is None else [core_terms(terms) for terms in claim.provision],
    )


class _ClaimSource(Struct, rename="camel"):
    claim_name: str = ""


_claim = Decoder(_ClaimSource).decode


def unread(pod: Pod) -> PodVolumes:
    """Of a Pod whose claims nobody has looked at."""
    return PodVolumes(unsupported=tuple(name for volume in pod.spec.volumes for name in _not_handled(volume)))


def _not_handled(volume: dict[str, Raw]) -> Iterator[str]:
    for kind, source in volume.items():
        if kind == "name" or kind in _ANYWHERE:
            continue
        if kind == "persistentVolumeClaim":
            yield f"persistent volume claim {_claim(source).claim_name}"
        elif kind == "ephemeral":
            yield "ephemeral volume (a persistent volume claim)"
        else:
            yield f"{kind} volume"
