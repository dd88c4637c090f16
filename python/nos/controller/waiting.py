"""The Pods that we are to place, and those that are still to come, for which room is booked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from nos import _core
from nos.kube.decode import Owner, Template
from nos.kube.volumes import Asked, Offer

if TYPE_CHECKING:
    from nos.observe.spans import Journey


class State(Enum):
    """How far a Pod of ours has come."""

    PENDING = "pending"  # the scheduler may place it
    BINDING = "binding"  # decided and assumed; its GPU is being cut, or its Binding is on the way, or its echo
    DEFERRED = "deferred"  # its Binding failed; out of the scheduler's sight for a while


@dataclass(slots=True)
class Facts:
    """What its spec is made of, together with what it refers to: kept to make the spec anew."""

    template: Template
    asked: Asked  # by its volumes
    labels: bytes  # their JSON
    owner: Owner | None


@dataclass(slots=True, eq=False)
class Waiting:
    """A Pod that we are to place."""

    namespace: str
    name: str
    uid: str
    facts: Facts
    spec: _core.PodSpec
    labels: _core.PodLabels
    priority: int
    arrival: int
    gang: str = ""  # namespace/group; empty: it is on its own
    request: str = ""  # namespace/name of the ProvisioningRequest for which it stands; empty: it is a Pod
    gets_nodes: bool = True  # nodes may be ordered for it
    preempts: bool = True  # others may be evicted for it
    nominated: str = ""  # status.nominatedNodeName
    wish: str = ""  # the node that was ordered for it
    version: str = ""  # resourceVersion
    offers: tuple[Offer, ...] = ()  # of the claims to bind in the spec that the Cluster has
    state: State = State.PENDING
    failures: int = 0  # Bindings that failed in a row
    message: str | None = None  # of the PodScheduled=False condition on the Pod; None where there is none
    code: str = ""  # of the Reason behind it; empty when unknown, as after a restart
    wants_node: bool = False  # its reason lets node autoscalers act
    seen: float = field(default_factory=time.monotonic)  # when we first saw it wait
    bound: float = 0.0  # when its Binding was answered
    journey: Journey | None = None  # once it was decided on, where that is traced

    def offer(self, cluster: _core.Cluster, wish: str) -> None:
        """Let whoever decides on this Cluster see it. wish: the node where it is expected; empty: none."""
        cluster.upsert_pod(
            self.uid,
            self.spec,
            labels=self.labels,
            priority=self.priority,
            arrival=self.arrival,
            preempts=self.preempts,
            wish=wish,
            gang=self.gang,
        )
