"""The Pods that we are to place."""

from dataclasses import dataclass
from enum import Enum

from nos import _core
from nos.kube.decode import Owner, Template
from nos.kube.volumes import Asked, Offer


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
    preempts: bool = True  # others may be evicted for it
    nominated: str = ""  # status.nominatedNodeName
    version: str = ""  # resourceVersion
    offers: tuple[Offer, ...] = ()  # of the claims to bind in the spec that the Cluster has
    state: State = State.PENDING
    failures: int = 0  # Bindings that failed in a row
    message: str | None = None  # of the PodScheduled=False condition on the Pod; None where there is none
    code: str = ""  # of the Reason behind it; empty when unknown, as after a restart
