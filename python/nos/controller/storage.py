"""Storage objects from their watches, and the Pods and nodes that they concern.

Arrives: claims, volumes, classes, CSI drivers, CSI nodes, capacities and attachments; and what volume binding assumes
of them until the API server confirms it. For each Pod that uses claims it is kept what was made of them and what was
looked at for it, so that a change concerns those Pods and nobody else. All that changes within one turn of the event
loop is looked at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from msgspec import Raw

from nos.kube import storage
from nos.kube.pod import Pod
from nos.kube.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    Stored,
    VolumeAttachment,
)
from nos.kube.storage_index import Key, StorageIndex
from nos.kube.volumes import Asked, NodeVolumes, PodVolumes, Used, asked, held, offered, used

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger

T = TypeVar("T", bound=Stored)


class Watched(NamedTuple):
    """A kind to watch."""

    path: str
    decode: Callable[[Raw], Any]
    sink: Sink[Any]


@dataclass(slots=True)
class _User:
    """A Pod that uses claims."""

    used: Used
    seen: set[Key]
    asked: Asked
    count: Callable[[PodVolumes], None] | None = None  # of one that has a node


class Storage:
    """The index, its sinks, and the Pods that use claims."""

    def __init__(self, ledger: Ledger) -> None:
        self.index = StorageIndex()
        self.changed: Callable[[set[Key]], None] = lambda _: None  # told of all that has changed, after the Pods were
        self._ledger = ledger
        self._users: dict[str, _User] = {}  # by uid
        self._used_by: dict[Key, set[str]] = {}  # their uids
        self._news: set[Key] = set()
        self.watched = [
            Watched(storage.CLASSES, storage.decode_class, Sink(self, StorageClass)),
            Watched(storage.CSI_DRIVERS, storage.decode_csi_driver, Sink(self, CSIDriver)),
            Watched(storage.CSI_NODES, storage.decode_csi_node, Sink(self, CSINode)),
            Watched(storage.CAPACITIES, storage.decode_capacity, Sink(self, CSIStorageCapacity)),
            Watched(storage.ATTACHMENTS, storage.decode_attachment, Sink(self, VolumeAttachment)),
            Watched(storage.VOLUMES, storage.decode_volume, Sink(self, PersistentVolume)),
            Watched(storage.CLAIMS, storage.decode_claim, Sink(self, PersistentVolumeClaim)),
        ]

    @property
    def sinks(self) -> list[Sink[Any]]:
        """All of them."""
        return [watched.sink for watched in self.watched]

    def asked(self, pod: Pod) -> Asked:
        """What the volumes of a Pod that waits ask for. It is told when that becomes something else."""
        return self._use(pod, None)

    def held(self, pod: Pod, count: Callable[[PodVolumes], None]) -> PodVolumes:
        """What the volumes of a Pod with a node hold there; `count` is called when that becomes something else."""
        return self._use(pod, count).volumes

    def forget(self, uid: str) -> None:
        """The Pod is gone, or nothing to us any more."""
        if user := self._users.pop(uid, None):
            self._unlink(uid, user.seen)

    def offered(self, node: str) -> NodeVolumes:
        """What the node's CSI drivers offer."""
        return offered(node, self.index)

    def news(self, changed: Iterable[Key]) -> None:
        """Look again at all that depends on these, soon."""
        if changed:
            if not self._news:
                asyncio.get_running_loop().call_soon(self._look)
            self._news.update(changed)

    def _use(self, pod: Pod, count: Callable[[PodVolumes], None] | None) -> Asked:
        uid, says = pod.metadata.uid, used(pod)
        if not says.claims:
            return Asked(PodVolumes(unsupported=says.unsupported))
        user = _User(says, set(), Asked(PodVolumes()), count)
        self._make(user)
        self.forget(uid)
        self._users[uid] = user
        self._link(uid, user.seen)
        return user.asked

    def _make(self, user: _User) -> bool:
        """Look up what its volumes mean; whether that is something else now."""
        before, user.seen = user.asked, set()
        if user.count:
            user.asked = Asked(held(user.used, self.index, user.seen))
        else:
            user.asked = asked(user.used, self.index, user.seen)
        return user.asked != before

    def _look(self) -> None:
        news, self._news = self._news, set()
        if nodes := {key.name for key in news if key.kind == "node"}:
            self._ledger.nodes.revise(nodes)
        for uid in sorted({uid for key in news for uid in self._used_by.get(key, ())}):
            if (user := self._users.get(uid)) is None:
                continue
            before = user.seen
            changed = self._make(user)
            if user.seen != before:
                self._unlink(uid, before)
                self._link(uid, user.seen)
            if changed and user.count:
                user.count(user.asked.volumes)
                self._ledger.wake()
            elif changed and (waiting := self._ledger.waiting.get(uid)):
                waiting.facts.asked = user.asked
                self._ledger.pods.revise(waiting)
        self.changed(news)

    def _link(self, uid: str, keys: Iterable[Key]) -> None:
        for key in keys:
            self._used_by.setdefault(key, set()).add(uid)

    def _unlink(self, uid: str, keys: Iterable[Key]) -> None:
        for key in keys:
            if uids := self._used_by.get(key):
                uids.discard(uid)
                if not uids:
                    del self._used_by[key]


class Sink(Generic[T]):
    """One kind; see nos.kube.watch.Sink."""

    def __init__(self, of: Storage, kind: type[T]) -> None:
        self.synced_once = asyncio.Event()
        self._storage = of
        self._kind = kind
        self._listed: set[str] | None = None

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._listed = set()

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        if self._listed is not None:
            for key in self._storage.index.keys_of(self._kind) - self._listed:
                self._storage.news(self._storage.index.drop_key(self._kind, key))
        self._listed = None
        self.synced_once.set()

    def changed(self, item: T) -> None:
        """See nos.kube.watch.Sink."""
        if self._listed is not None:
            self._listed.add(item.metadata.key)
        self._storage.news(self._storage.index.put(item))

    def deleted(self, item: T) -> None:
        """See nos.kube.watch.Sink."""
        self._storage.news(self._storage.index.drop(item))
