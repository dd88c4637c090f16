"""kube-scheduler's own verdict on a Pod: every node that it would use, from one of its cycles.

A scheduler extender makes it tell. After all its own filters kube-scheduler posts the Pod and the names of the nodes
that passed to its extender; this one writes the names down and answers that none will do. So the Pod is never bound,
the cluster stays as it is, and one cycle per Pod gives the whole set. With fewer than 100 nodes, and with
`percentageOfNodesToScore: 100` anyway, kube-scheduler filters every node. Where its own filters leave none it does not
ask, and says Unschedulable.

kube-scheduler is started when a world is complete: it lists everything before its first cycle, so there is nothing that
it could learn too late, and nothing to wait for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nos.testbed import Testbed
from tests.e2e.extender import LET_PASS, Extender
from tests.e2e.settle import OTHER_SCHEDULER, Settlement, until
from tests.e2e.world import Object, World

SCHEDULER = "same-verdicts"  # the profile; Pods of the default scheduler are left alone meanwhile


@dataclass
class Verdicts:
    """Everything as the API server has it, and for each Pod that was asked about the nodes that passed, by name."""

    nodes: list[Object]
    pods: list[Object]
    namespaces: list[Object]
    storage: dict[str, list[Object]]  # by kind
    passed: dict[str, set[str]]
    refused: dict[str, str]  # Pods, probes and residents, that the API server did not take, and why


class KubeScheduler:
    """The testbed's kube-scheduler with our extender. A context manager; afterwards the testbed is as it was."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._api = testbed.api
        self._settlement = Settlement(testbed.api)

    def __enter__(self) -> KubeScheduler:
        self._testbed.stop_scheduler()
        self._settlement.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._settlement.close()
        self._testbed.start_scheduler()

    @contextmanager
    def judging(self, world: World, probes: Sequence[Object]) -> Iterator[tuple[Verdicts, Callable[..., Object]]]:
        """What kube-scheduler says of each of the probes, alone in this world; and `bind`, see there."""
        extender = Extender()
        try:
            refused = self._settlement.enter(world)
            refused |= self._settlement.create(map(_ours, probes))
            self._settlement.wait_until_at_rest(world)
            with extender.serving() as url:
                self._testbed.start_scheduler(_configuration(url))
                try:
                    asked = {probe["metadata"]["name"] for probe in probes} - refused.keys()
                    conditions = self._decided(asked)
                    nodes = self._api.get("/api/v1/nodes")["items"]
                    passed = {name: _heard(name, conditions[name], extender, len(nodes)) for name in asked}
                    yield (
                        Verdicts(
                            nodes,
                            self._api.get("/api/v1/pods")["items"],
                            self._api.get("/api/v1/namespaces")["items"],
                            self._settlement.storage(),
                            passed,
                            refused,
                        ),
                        self._bind,
                    )
                finally:
                    self._testbed.stop_scheduler()
        finally:
            self._settlement.clear(world)

    def _decided(self, names: set[str]) -> dict[str, Object]:
        """The PodScheduled conditions of these Pods, when all have one."""
        found: dict[str, Object] = {}

        def all_found() -> bool:
            for pod in self._settlement.pods():
                for condition in pod["status"].get("conditions", []):
                    if condition["type"] == "PodScheduled" and pod["metadata"]["name"] in names:
                        found[pod["metadata"]["name"]] = condition
            return found.keys() == names

        # To list them all costs the API server more than kube-scheduler's own writes do.
        until(all_found, f"kube-scheduler decided on {len(names)} Pods", pause=0.3)
        return found

    def _bind(self, copies: Sequence[Object]) -> dict[str, bool]:
        """Whether each of these Pods is really bound. Each must be for another node: bound ones take room."""
        labelled = [
            {**copy, "metadata": {**copy["metadata"], "labels": copy["metadata"].get("labels", {}) | LET_PASS}}
            for copy in copies
        ]
        assert not self._settlement.create(map(_ours, labelled))
        conditions = self._decided({copy["metadata"]["name"] for copy in copies})
        return {name: condition["status"] == "True" for name, condition in conditions.items()}


def _ours(pod: Object) -> Object:
    return {**pod, "spec": {**pod["spec"], "schedulerName": SCHEDULER}}


def _heard(name: str, condition: Object, extender: Extender, nodes: int) -> set[str]:
    """What passed, after a look at whether that can be trusted."""
    assert condition["status"] == "False", (name, condition)
    heard = extender.heard.get(name, [set()])
    if condition["reason"] == "SchedulerError" and "not found" in condition["message"]:
        assert heard == [set()], (name, condition)  # something that its volumes need is missing
        return set()
    assert condition["reason"] == "Unschedulable", (name, condition)
    assert condition["message"].startswith(f"0/{nodes} nodes are available"), (name, condition)  # it knew all nodes
    return heard[-1]  # on a busy machine it may have learned of something between two cycles


def _configuration(url: str) -> str:
    extender = {"urlPrefix": url, "filterVerb": "filter", "nodeCacheCapable": True, "httpTimeout": "60s"}
    configuration = {
        "percentageOfNodesToScore": 100,
        "clientConnection": {"qps": 5000, "burst": 10000},
        "profiles": [{"schedulerName": SCHEDULER}, {"schedulerName": OTHER_SCHEDULER}],
        "extenders": [extender],
    }
    return json.dumps(configuration)
