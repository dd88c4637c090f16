"""What becomes of a Pod when its node is to go."""

from msgspec import Struct, field
from msgspec.json import Decoder

from nos.kube.decode.metadata import controller
from nos.kube.pod import Pod

WITH_ITS_NODE = "it goes with its node"  # a DaemonSet's, or a static one
_MIRROR = "kubernetes.io/config.mirror"
_DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"


class _Words(Struct):
    mirror: str | None = field(default=None, name=_MIRROR)
    do_not_disrupt: str = field(default="false", name=_DO_NOT_DISRUPT)
    safe_to_evict: str = field(default="", name=_SAFE_TO_EVICT)


_words = Decoder(_Words).decode
_NO_WORDS = _Words()


def stays(pod: Pod) -> str:
    """Why the Pod cannot be moved to another node: WITH_ITS_NODE, or what forbids it; empty where it may be.

    One whose claims are bound stays: whether its volumes can follow is not looked into.
    """
    annotations = bytes(pod.metadata.annotations)
    words = _words(annotations) if b"/" in annotations else _NO_WORDS
    owner = controller(pod)
    if words.mirror is not None or (owner and owner.kind == "DaemonSet"):
        return WITH_ITS_NODE
    if words.do_not_disrupt != "false":  # "true", or for how long
        return f"its annotation {_DO_NOT_DISRUPT}"
    if words.safe_to_evict == "false":
        return f"its annotation {_SAFE_TO_EVICT}"
    if owner is None and words.safe_to_evict != "true":
        return "nobody would make another one"
    if any("persistentVolumeClaim" in volume or "ephemeral" in volume for volume in pod.spec.volumes):
        return "its volumes"
    return ""
