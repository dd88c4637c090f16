"""Pods that a kubelet did not admit, as it writes them."""

import pytest

from nos.kube.rejection import rejection
from tests.kube.objects import pod

FULL = "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 1, used: 8, capacity: 8"


@pytest.mark.parametrize(
    ("reason", "message", "word"),
    [
        ("OutOfnvidia.com/gpu", FULL, "OutOfnvidia.com/gpu"),
        ("OutOfcpu", FULL, "OutOfcpu"),
        ("OutOfpods", "", "OutOfpods"),
        ("OutOfephemeral-storage", FULL, "OutOfephemeral-storage"),
        ("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: ...", "NodeAffinity"),
        ("NodePorts", "Pod was rejected: Predicate NodePorts failed: ...", "NodePorts"),
        ("TaintToleration", "Pod was rejected: Predicate TaintToleration failed: ...", "TaintToleration"),
        ("UnexpectedAdmissionError", "Pod was rejected: Allocate failed due to no healthy devices", None),
        ("InvalidNodeInfo", "Pod was rejected: Kubelet cannot get node info.", None),
        ("TopologyAffinityError", "Pod was rejected: Resources cannot be allocated with Topology locality", None),
        ("FromTheFuture", "Pod was rejected: for reasons", "Other"),
        ("OutOf" + "x" * 1000, "", ""),
        ("OutOf<script>", "", ""),
        ("Evicted", "The node was low on resource: memory.", ""),  # it ran
        ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline", ""),
        ("", "", ""),
    ],
)
def test_reasons(reason: str, message: str, word: str | None) -> None:
    """word: None where it is the reason itself, empty where it is no rejection."""
    failed = pod({"nodeName": "n"}, {"phase": "Failed", "reason": reason, "message": message})
    assert (rejection(failed) or "") == (reason if word is None else word)


def test_only_a_failed_pod_was_rejected() -> None:
    assert rejection(pod({"nodeName": "n"}, {"phase": "Pending", "reason": "OutOfcpu", "message": FULL})) is None
