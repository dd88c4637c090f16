"""Objects of one kind as they are now, from their watch: for kinds of which we only look things up."""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class _HasKey(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


class Keyed(Protocol):
    """What can be kept: anything with metadata that has a key."""

    @property
    def metadata(self) -> _HasKey: ...


T = TypeVar("T", bound=Keyed)


class Store(Generic[T]):
    """See nos.kube.watch.Sink. told: of every object that came, changed or went, with what it was and what it is; None
    where it was not or is no more. It is told when `known` says so already."""

    def __init__(self, told: Callable[[T | None, T | None], None]) -> None:
        self.synced_once = asyncio.Event()
        self.known: dict[str, T] = {}
        self._told = told
        self._listed: set[str] | None = None

    def restart(self) -> None:
        """See nos.kube.watch.Sink."""
        self._listed = set()

    def synced(self) -> None:
        """See nos.kube.watch.Sink."""
        if self._listed is not None:
            for key in self.known.keys() - self._listed:
                self._remove(key)
        self._listed = None
        self.synced_once.set()

    def changed(self, item: T) -> None:
        """See nos.kube.watch.Sink."""
        key = item.metadata.key
        if self._listed is not None:
            self._listed.add(key)
        before = self.known.get(key)
        self.known[key] = item
        self._told(before, item)

    def deleted(self, item: T) -> None:
        """See nos.kube.watch.Sink."""
        self._remove(item.metadata.key)

    def _remove(self, key: str) -> None:
        if (before := self.known.pop(key, None)) is not None:
            self._told(before, None)
