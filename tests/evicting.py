"""A Cluster with what the API server and the kubelets would do to it, for tests of who is evicted for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nos._core import Cluster, GpuSpec, NodeSpec, Outcome, PodLabels, PodSpec, Scheduler

GPU = "nvidia.com/gpu"
EVERYBODY = PodLabels("default", {})


class World:
    """A Cluster with what the API server and the kubelets would do to it."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.scheduler = Scheduler(self.cluster)
        self.outcome: Outcome
        self.terminating: set[str] = set()
        self._arrivals = 0
        self._gangs: dict[str, str] = {}
        self._specs: dict[str, tuple[PodSpec, int, int, PodLabels]] = {}

    def node(
        self,
        name: str,
        gpus: int = 0,
        cpu: int = 64_000,
        *,
        cut: Sequence[GpuSpec] = (),
        extended: Mapping[str, int] | None = None,
    ) -> None:
        allocatable = {"cpu": cpu, "memory": 1 << 40, "pods": 110, GPU: gpus} | dict(extended or {})
        labels = {"kubernetes.io/hostname": name}
        self.cluster.upsert_node(name, NodeSpec(allocatable, gpus=cut, labels=labels))

    def pod(
        self,
        uid: str,
        gpus: int = 0,
        *,
        node: str = "",
        priority: int = 0,
        spec: PodSpec | None = None,
        on: Sequence[int] = (),
        labels: PodLabels = EVERYBODY,
        preempts: bool = True,
        instances: Sequence[tuple[int, str, int]] = (),
        gang: str = "",
        movable: bool = False,
    ) -> None:
        self._arrivals += 1
        spec = spec or PodSpec({GPU: gpus} if gpus else {})
        self._specs[uid] = spec, priority, self._arrivals, labels
        self._gangs[uid] = gang
        self.cluster.upsert_pod(
            uid,
            spec,
            node=node,
            priority=priority,
            arrival=self._arrivals,
            gpus=on,
            labels=labels,
            preempts=preempts,
            instances=instances,
            gang=gang,
            movable=movable,
        )

    def cycle(self) -> Outcome:
        self.outcome = self.scheduler.schedule()
        self.cluster.check()
        return self.outcome

    def confirm(self) -> None:
        """The API server has bound whom the last cycle placed."""
        for bind in self.outcome.binds:
            spec, priority, arrival, labels = self._specs[bind.uid]
            self.cluster.upsert_pod(
                bind.uid,
                spec,
                node=bind.node,
                priority=priority,
                arrival=arrival,
                gpus=bind.gpus,
                labels=labels,
                instances=bind.instances,
                gang=self._gangs[bind.uid],
            )

    def terminate(self, uid: str) -> None:
        """Its eviction was accepted; it is still there."""
        self.terminating.add(uid)
        spec, priority, arrival, labels = self._specs[uid]
        node = self.cluster.pod(uid).node
        self.cluster.upsert_pod(
            uid,
            spec,
            node=node,
            priority=priority,
            arrival=arrival,
            labels=labels,
            terminating=True,
            gang=self._gangs[uid],
        )

    def gone(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self.cluster.remove_pod(uid)
            self.terminating.discard(uid)

    @property
    def uids(self) -> list[str]:
        """Of all Pods that ever were."""
        return list(self._specs)

    def priority(self, uid: str) -> int:
        return self._specs[uid][1]

    def arrival(self, uid: str) -> int:
        return self._specs[uid][2]

    @property
    def evicted(self) -> set[str]:
        return {eviction.uid for eviction in self.outcome.evictions}

    @property
    def codes(self) -> dict[str, str]:
        return {uid: reason.code for uid, reason in self.outcome.waiting}

    @property
    def bound(self) -> dict[str, str]:
        return {bind.uid: bind.node for bind in self.outcome.binds}
