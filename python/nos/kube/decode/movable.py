"""Whether a running Pod may be evicted so as to run elsewhere."""

from msgspec import Struct, field
from msgspec.json import Decoder

from nos.kube.decode.metadata import controller
from nos.kube.pod import Pod

MOVABLE_ANNOTATION = "nos.nebuly.com/movable"


class _Word(Struct):
    movable: str = field(default="", name=MOVABLE_ANNOTATION)


_word = Decoder(_Word).decode


def movable(pod: Pod) -> bool:
    """It says so itself, and somebody makes another one when it goes. One with claims stays: its volumes may not."""
    annotations = bytes(pod.metadata.annotations)
    if MOVABLE_ANNOTATION.encode() not in annotations or _word(annotations).movable != "true":
        return False
    has_claims = any("persistentVolumeClaim" in volume or "ephemeral" in volume for volume in pod.spec.volumes)
    return controller(pod) is not None and not has_claims
