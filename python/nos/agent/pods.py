"""The Pods of this node, as the API server has them: who is to get which device, and who has just gone.

The kubelet says who holds a device. It does not say it of a Pod that is bound and not admitted yet, nor of one whose
init containers alone use the device: for those stands the decision that the Binding wrote onto the Pod.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import DecodeError, Struct, field
from msgspec.json import Decoder

from nos.kube.client import Client
from nos.kube.decision import gpus, instances
from nos.kube.errors import ApiError, Unreachable
from nos.kube.pod import Pod

from .driver import Place
from .recut import WHOLE_GPU, UnknownPodsError

PODS = "/api/v1/pods"
Decision = frozenset[tuple[int, Place]]
_ASK_S = 5.0


class _PodList(Struct):
    items: list[Pod] = field(default_factory=list)


_pod_list = Decoder(_PodList).decode


class Pods:
    """A Sink of the watch on this node's Pods. `on_change` is called when a Pod came or went."""

    def __init__(self, client: Client, node: str, on_change: Callable[[], None]) -> None:
        self.selector = f"spec.nodeName={node}"
        self._client = client
        self._on_change = on_change
        self._decisions: dict[str, Decision] = {}  # by namespace/name, of Pods that are not done
        self._listed: set[str] | None = None
        self._has_synced = False

    def planned_for(self, gpu: int, place: Place) -> str | None:
        """The Pod that was given what is there."""
        return next((pod for pod, decision in self._decisions.items() if (gpu, place) in decision), None)

    def planned(self) -> dict[tuple[int, Place], str]:
        """All that was given to Pods."""
        return {each: pod for pod, decision in self._decisions.items() for each in decision}

    async def bound(self) -> Mapping[tuple[int, Place], str]:
        """As `planned`, read from the API server now: a watch may lag, and not know yet who was bound before the spec
        that we follow was written. UnknownPodsError when it does not say. One that has not spoken to us since we
        started is away: the journal is all that we go by then, and a kubelet hears of no new Pod either."""
        selector = {"fieldSelector": self.selector}
        try:
            pods = _pod_list(await self._client.request("GET", PODS, params=selector, timeout=_ASK_S, attempts=1)).items
        except (ApiError, Unreachable, DecodeError) as error:
            if self._has_synced:
                raise UnknownPodsError(f"the API server does not say who is bound: {error}") from None
            return {}
        return {each: _key(pod) for pod in pods if not _is_done(pod) for each in _decision(pod)}

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._listed = set()

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        for gone in self._decisions.keys() - (self._listed or set()):
            del self._decisions[gone]
        self._listed, self._has_synced = None, True
        self._on_change()

    def changed(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        key = _key(pod)
        if self._listed is not None:
            self._listed.add(key)
        if _is_done(pod):
            self._forget(key)
            return
        decision = _decision(pod)
        if self._decisions.get(key) != decision:
            self._decisions[key] = decision
            self._on_change()

    def deleted(self, pod: Pod) -> None:
        """See nos.kube.watch.Sink."""
        self._forget(_key(pod))

    def _forget(self, key: str) -> None:
        if self._decisions.pop(key, None) is not None:
            self._on_change()


def _key(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _is_done(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def _decision(pod: Pod) -> Decision:
    whole = ((gpu, WHOLE_GPU) for gpu in gpus(pod))
    return frozenset((*whole, *((gpu, Place(profile, start)) for gpu, profile, start in instances(pod))))
