"""Whom Pods without spread constraints are spread against: the cluster's defaults, as kube-scheduler has them.

Arrives: Services, ReplicationControllers, ReplicaSets and StatefulSets from their watches. A Pod is spread against the
Pods that are selected as it is, by all Services that select it and by the controller that made it. As these may come
after the Pod, or change, the Pods that wait are told: all that came in one turn of the event loop at once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from nos.controller.store import Store
from nos.kube.decode import DefaultSpread, Owner, labels
from nos.kube.selectors import Requirement, equal, matches
from nos.kube.workload import Workload

_MOST_REMEMBERED = 4096  # answers per namespace


class SpreadDefaults:
    """Its Stores are the sinks. told: that the defaults may be others for Pods of these namespaces (if they have
    Services), or of these controllers of a namespace."""

    def __init__(self, told: Callable[[set[str], set[tuple[str, Owner]]], None]) -> None:
        self.services = Store[Workload](self._service)
        self.replication_controllers = self._controllers("v1", "ReplicationController")
        self.replica_sets = self._controllers("apps/v1", "ReplicaSet")
        self.stateful_sets = self._controllers("apps/v1", "StatefulSet")
        self._told = told
        # Services by name, under the first label that each asks for: most of a namespace's are nothing to a Pod.
        self._asking_for: dict[tuple[str, Requirement], dict[str, Workload]] = defaultdict(dict)
        self._made_by: dict[tuple[str, Owner], Workload] = {}
        self._answers: dict[str, dict[tuple[bytes, Owner | None], DefaultSpread | None]] = defaultdict(dict)
        self._namespaces: set[str] = set()  # to be told
        self._owners: set[tuple[str, Owner]] = set()

    @property
    def sinks(self) -> tuple[Store[Workload], ...]:
        """All of them."""
        return self.services, self.replication_controllers, self.replica_sets, self.stateful_sets

    def of(self, namespace: str, pod_labels: bytes, owner: Owner | None) -> DefaultSpread | None:
        """For a Pod with these labels (their JSON) and this controller; None when nothing selects it."""
        answers = self._answers[namespace]
        key = pod_labels, owner
        if key not in answers:
            if len(answers) >= _MOST_REMEMBERED:
                answers.clear()
            requirements = tuple(self._requirements(namespace, labels(pod_labels), owner))
            answers[key] = DefaultSpread(namespace, requirements) if requirements else None
        return answers[key]

    def _requirements(self, namespace: str, pod_labels: dict[str, str], owner: Owner | None) -> dict[Requirement, None]:
        found: dict[Requirement, None] = {}
        for label in equal(pod_labels):
            for service in self._asking_for.get((namespace, label), {}).values():
                if matches(service.requirements, pod_labels):
                    found.update(dict.fromkeys(service.requirements))
        if owner and (workload := self._made_by.get((namespace, owner))):
            found.update(dict.fromkeys(workload.requirements))
        # In one order: the same selector is the same spec, whichever Service came first.
        return dict.fromkeys(sorted(found, key=lambda requirement: (requirement.key, requirement.operator)))

    def _controllers(self, api_version: str, kind: str) -> Store[Workload]:
        def changed(before: Workload | None, now: Workload | None) -> None:
            if _requirements(before) == _requirements(now):
                return  # most events are news of its status
            metadata = (now or before).metadata  # type: ignore[union-attr]
            owner = metadata.namespace, Owner(api_version, kind, metadata.name)
            if now is None:
                self._made_by.pop(owner, None)
            else:
                self._made_by[owner] = now
            self._answers.pop(metadata.namespace, None)
            self._tell_soon()
            self._owners.add(owner)

        return Store(changed)

    def _service(self, before: Workload | None, now: Workload | None) -> None:
        if _requirements(before) == _requirements(now):
            return
        if before and before.requirements:
            key = before.metadata.namespace, before.requirements[0]
            del self._asking_for[key][before.metadata.name]
            if not self._asking_for[key]:
                del self._asking_for[key]
        if now and now.requirements:  # one without a selector selects nobody
            self._asking_for[now.metadata.namespace, now.requirements[0]][now.metadata.name] = now
        namespace = (now or before).metadata.namespace  # type: ignore[union-attr]
        self._answers.pop(namespace, None)
        self._tell_soon()
        self._namespaces.add(namespace)

    def _tell_soon(self) -> None:
        if not self._namespaces and not self._owners:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        namespaces, owners = self._namespaces, self._owners
        self._namespaces, self._owners = set(), set()
        self._told(namespaces, owners)


def _requirements(workload: Workload | None) -> tuple[Requirement, ...]:
    return workload.requirements if workload else ()
