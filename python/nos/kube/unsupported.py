"""What a Pod uses that nos does not handle yet: such a Pod waits with a Reason that names it. Volumes: see `volumes`.

The rule is to fail closed: what can keep a Pod off a node and is not modelled is named here.
"""

from collections.abc import Iterator

from msgspec.json import Decoder

from nos.kube.pod import Pod

POD_GROUP_LABEL = "nos.nebuly.com/pod-group"

_labels = Decoder(dict[str, str] | None).decode


def unsupported(pod: Pod) -> tuple[str, ...]:
    """What the Pod uses that nos does not handle, in words; empty for a Pod that it can place."""
    return tuple(_found(pod))


def _found(pod: Pod) -> Iterator[str]:
    if pod.spec.resource_claims:
        yield "resource claims"
    if bytes(pod.spec.scheduling_group) != b"null":
        yield "pod group (spec.schedulingGroup)"
    elif POD_GROUP_LABEL.encode() in bytes(pod.metadata.labels) and POD_GROUP_LABEL in (
        _labels(pod.metadata.labels) or ()
    ):
        yield f"pod group (label {POD_GROUP_LABEL})"
