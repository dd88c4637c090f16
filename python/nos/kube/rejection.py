"""How a Pod looks that its kubelet did not admit: Failed, with a reason of the kubelet's admission.

It got a node where there was no room for it (any more), or that it may not use (any more): somebody else was quicker,
or the scheduler knew the node as it had been.
"""

import re

from nos.kube.pod import Pod

_MESSAGE = "Pod was rejected: "
_OUT_OF = re.compile(r"OutOf[A-Za-z0-9._/-]{1,100}")

# What k8s.io/kubernetes/pkg/kubelet of 1.37 can say besides.
_REASONS = frozenset(
    (
        *("NodeAffinity", "NodeName", "NodePorts", "TaintToleration", "NodeShutdown", "Evicted"),
        *("PodOSSelectorNodeLabelDoesNotMatch", "PodOSNotSupported", "InvalidNodeInfo", "PodFeatureUnsupported"),
        *("InitContainerRestartPolicyForbidden", "SupplementalGroupsPolicyNotSupported", "SysctlForbidden", "AppArmor"),
        *("UnexpectedAdmissionError", "UnknownReason", "UnexpectedPredicateFailureType", "TopologyAffinityError"),
        *("SMTAlignmentError", "EmptyPodSharedPoolError", "PodLevelResourcesNotSupported"),
        "VolumeAttachmentLimitExceeded",
    )
)


def rejection(pod: Pod) -> str | None:
    """Why the kubelet did not admit the Pod, in a word of a bounded set; None when it did, or has not said yet."""
    status = pod.status
    if status.phase != "Failed":
        return None
    if _OUT_OF.fullmatch(status.reason):
        return status.reason
    if not status.message.startswith(_MESSAGE):
        return None  # it failed later
    return status.reason if status.reason in _REASONS else "Other"
