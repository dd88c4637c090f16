"""What nos makes of the same objects: through the controller's ledger, into the core."""

from __future__ import annotations

import json

from nos._core import Scheduler
from nos.controller.ledger import Ledger
from nos.kube.decode import waiting_spec
from nos.kube.node import decode_node
from nos.kube.pod import decode_pod
from nos.kube.unsupported import unsupported
from tests.e2e.kube_verdicts import SCHEDULER, Verdicts
from tests.e2e.world import Object


class Nos:
    """cordon_is_a_flag: the controller manager adds a taint to a cordoned node, a moment later; until then the flag
    must be enough."""

    def __init__(self, verdicts: Verdicts, *, cordon_is_a_flag: bool = False) -> None:
        ledger = Ledger(SCHEDULER)
        for node in verdicts.nodes:
            ledger.nodes.changed(decode_node(json.dumps(_untainted(node) if cordon_is_a_flag else node)))
        for pod in verdicts.pods:
            ledger.pods.changed(decode_pod(json.dumps(pod)))
        ledger.cluster.check()
        self._scheduler = Scheduler(ledger.cluster)

    def passed(self, pod: Object) -> set[str]:
        return set(self._scheduler.feasible(waiting_spec(decode_pod(json.dumps(pod)))))

    def not_handled(self, pod: Object) -> tuple[str, ...]:
        return unsupported(decode_pod(json.dumps(pod)))


def _untainted(node: Object) -> Object:
    taints = [t for t in node["spec"].get("taints", []) if t["key"] != "node.kubernetes.io/unschedulable"]
    return {**node, "spec": {**node["spec"], "taints": taints}}


def by_name(verdicts: Verdicts) -> dict[str, Object]:
    """The Pods that were asked about, as the API server has them."""
    return {pod["metadata"]["name"]: pod for pod in verdicts.pods if pod["metadata"]["name"] in verdicts.passed}
