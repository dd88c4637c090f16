"""The Pods that we are to place."""

from dataclasses import dataclass
from enum import Enum

from nos import _core
from nos.kube.decode import Template
from nos.kube.volumes import PodVolumes


class State(Enum):
    """How far a Pod of ours has come."""

    PENDING = "pending"  # the scheduler may place it
    BINDING = "binding"  # decided and assumed; its GPU is being cut, or its Binding is on the way, or its echo
    DEFERRED = "deferred"  # its Binding failed; out of the scheduler's sight for a while


@dataclass(slots=True, eq=False)
class Waiting:
    """A Pod that we are to place."""

    namespace: str
    name: str
    uid: str
    template: Template
    volumes: PodVolumes
    spec: _core.PodSpec  # made of the two
    priority: int
    arrival: int
    version: str = ""  # resourceVersion
    state: State = State.PENDING
    failures: int = 0  # Bindings that failed in a row
    message: str | None = None  # of the PodScheduled=False condition on the Pod; None where there is none
    code: str = ""  # of the Reason behind it; empty when unknown, as after a restart
