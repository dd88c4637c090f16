"""The Pods of this node, as the API server has them: who is to get which device, and who has just gone.

The kubelet says who holds a device. It does not say it of a Pod that is bound and not admitted yet, nor of one whose
init containers alone use the device: for those stands the decision that the Binding wrote onto the Pod.
"""

from __future__ import annotations

from collections.abc import Callable

from nos.kube.decode import gpus, instances
from nos.kube.pod import Pod

from .nvml import Place
from .recut import WHOLE_GPU

Decision = frozenset[tuple[int, Place]]


class Pods:
    """A Sink of the watch on this node's Pods. `on_change` is called when a Pod came or went."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._decisions: dict[str, Decision] = {}  # by namespace/name, of Pods that are not done
        self._listed: set[str] | None = None

    def planned_for(self, gpu: int, place: Place) -> str | None:
        """The Pod that was given what is there."""
        return next((pod for pod, decision in self._decisions.items() if (gpu, place) in decision), None)

    def planned(self) -> dict[tuple[int, Place], str]:
        """All that was given to Pods."""
        return {each: pod for pod, decision in self._decisions.items() for each in decision}

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._listed = set()

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        for gone in self._decisions.keys() - (self._listed or set()):
            del self._decisions[gone]
        self._listed = None
        self._on_change()

    def changed(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        if self._listed is not None:
            self._listed.add(key)
        if pod.status.phase in ("Succeeded", "Failed"):
            self._forget(key)
            return
        whole = ((gpu, WHOLE_GPU) for gpu in gpus(pod))
        decision = frozenset((*whole, *((gpu, Place(profile, start)) for gpu, profile, start in instances(pod))))
        if self._decisions.get(key) != decision:
            self._decisions[key] = decision
            self._on_change()

    def deleted(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        self._forget(f"{pod.metadata.namespace}/{pod.metadata.name}")

    def _forget(self, key: str) -> None:
        if self._decisions.pop(key, None) is not None:
            self._on_change()
