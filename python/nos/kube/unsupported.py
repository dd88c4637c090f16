"""What a Pod uses that nos does not handle yet: such a Pod waits with a Reason that names it. Volumes: see `volumes`.

The rule is to fail closed: what can keep a Pod off a node and is not modelled is named here.
"""

from collections.abc import Iterator

from nos.kube.pod import Pod
from nos.kube.podgroup import scheduling_group


def unsupported(pod: Pod) -> tuple[str, ...]:
    """What the Pod uses that nos does not handle, in words; empty for a Pod that it can place."""
    return tuple(_found(pod))


def _found(pod: Pod) -> Iterator[str]:
    if pod.spec.resource_claims:
        yield "resource claims"
    if bytes(pod.spec.scheduling_group) != b"null" and not scheduling_group(pod):
        yield "a spec.schedulingGroup that names no PodGroup"
