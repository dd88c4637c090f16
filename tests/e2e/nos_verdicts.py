"""What nos makes of the same objects: through the controller's ledger, into the core."""

from __future__ import annotations

import asyncio
import json

from msgspec import Raw

from nos._core import Scheduler
from nos.controller.ledger import Ledger
from nos.kube.namespace import decode_namespace
from nos.kube.node import decode_node
from nos.kube.pod import decode_pod
from tests.e2e.kube_verdicts import SCHEDULER, Verdicts
from tests.e2e.world import PATHS, Object


class Nos:
    """cordon_is_a_flag: the controller manager adds a taint to a cordoned node, a moment later; until then the flag
    must be enough."""

    def __init__(self, verdicts: Verdicts, *, cordon_is_a_flag: bool = False) -> None:
        nodes = [_untainted(node) if cordon_is_a_flag else node for node in verdicts.nodes]
        self._ledger = asyncio.run(_filled(nodes, verdicts))
        self._ledger.cluster.check()
        self._scheduler = Scheduler(self._ledger.cluster)

    def passed(self, pod: Object) -> set[str]:
        waiting = self._ledger.waiting[pod["metadata"]["uid"]]
        return set(self._scheduler.feasible(waiting.spec, waiting.labels, priority=waiting.priority))

    def not_handled(self, pod: Object) -> tuple[str, ...]:
        facts = self._ledger.waiting[pod["metadata"]["uid"]].facts
        return facts.template.unsupported + facts.asked.volumes.unsupported


async def _filled(nodes: list[Object], verdicts: Verdicts) -> Ledger:
    ledger = Ledger(SCHEDULER)
    for namespace in verdicts.namespaces:
        ledger.namespaces.changed(decode_namespace(_bytes(namespace)))
    for node in nodes:
        ledger.nodes.changed(decode_node(_bytes(node)))
    for watched in ledger.storage.watched:
        kind = next(kind for kind, path in PATHS.items() if path.replace("/namespaces/{}", "") == watched.path)
        for thing in verdicts.storage[kind]:
            watched.sink.changed(watched.decode(Raw(_bytes(thing))))
    for pod in verdicts.pods:
        ledger.pods.changed(decode_pod(_bytes(pod)))
    for _ in range(3):  # what changed together is looked at in the next turn of the loop
        await asyncio.sleep(0)
    return ledger


def _bytes(thing: Object) -> bytes:
    return json.dumps(thing).encode()


def _untainted(node: Object) -> Object:
    taints = [t for t in node["spec"].get("taints", []) if t["key"] != "node.kubernetes.io/unschedulable"]
    return {**node, "spec": {**node["spec"], "taints": taints}}


def by_name(verdicts: Verdicts) -> dict[str, Object]:
    """The Pods that were asked about, as the API server has them."""
    return {pod["metadata"]["name"]: pod for pod in verdicts.pods if pod["metadata"]["name"] in verdicts.passed}
