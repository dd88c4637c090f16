"""List and watch one kind of object, for as long as the process lives.

What leaves is a sequence of calls on a Sink: `restart`, then every object that exists as `changed`, then `synced`, then
`changed` and `deleted` as they happen. After a gap that the API server cannot bridge (410: it no longer has the events
since our last) the sequence begins again with `restart`; what is not seen between `restart` and `synced` is gone, and
the Sink is to treat it as deleted.

Guaranteed: nothing that exists is missed; events of one object come in order, some of them twice; no input, however
broken, ends the watch. Not guaranteed: that every intermediate state is seen.

How: WatchList (the list comes as a stream that ends in a bookmark), or pages of a list where the server refuses that;
bookmarks keep our position fresh on quiet watches; a connection lives a random 5-10 minutes, so that those of many
clients do not end together; a silent one is given up after `idle` seconds; reconnects wait with jitter. A line that is
cut or is no JSON ends the connection, and the next begins after the last event that was whole.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

from msgspec import DecodeError, Raw, Struct, field
from msgspec.json import Decoder

from nos.kube.client import Client
from nos.kube.errors import ApiError, ConfigError, Unreachable
from nos.kube.resource import resource_of

S = TypeVar("S", contravariant=True)

_log = logging.getLogger(__name__)
_INITIAL_EVENTS_END = b'"k8s.io/initial-events-end":"true"'
_PAGE = 500
_LONGEST_LINE = 32 * 2**20  # an object has at most a few MiB; past this the stream is not what it should be
_GATHER_S = 0.005  # after a piece: on a busy stream the next one is then many events in one read, which is cheaper
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 20.0


class _HasVersion(Protocol):
    @property
    def resource_version(self) -> str: ...


class Versioned(Protocol):
    """What can be watched: anything with a metadata.resourceVersion."""

    @property
    def metadata(self) -> _HasVersion: ...


T = TypeVar("T", bound=Versioned)


class Sink(Protocol[S]):
    """Where a watch delivers. Its methods must neither block nor raise."""

    def restart(self) -> None:
        """A full listing begins."""

    def changed(self, item: S) -> None:
        """The object exists, in this state."""

    def deleted(self, item: S) -> None:
        """The object is gone, or no longer selected; this was its last state."""

    def synced(self) -> None:
        """The listing is complete: what it did not contain is gone."""


class _Event(Struct):
    type: str
    object: Raw


class _ObjectMeta(Struct, rename="camel"):
    resource_version: str = ""


class _Bookmark(Struct):
    metadata: _ObjectMeta = field(default_factory=_ObjectMeta)


class _Status(Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


class _ListMeta(Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = field(default="", name="continue")


class _List(Struct):
    metadata: _ListMeta = field(default_factory=_ListMeta)
    items: list[Raw] = field(default_factory=list)


_event = Decoder(_Event).decode
_bookmark = Decoder(_Bookmark).decode
_status = Decoder(_Status).decode
_list = Decoder(_List).decode


class _Expired(Exception):  # noqa: N818
    """The server cannot go on from our resourceVersion."""


class _Broken(Exception):  # noqa: N818
    """The stream does not make sense any more."""


class Watch(Generic[T]):
    """One kind of object, watched into one Sink by `run`."""

    def __init__(
        self,
        client: Client,
        path: str,
        decode: Callable[[Raw], T],
        sink: Sink[T],
        *,
        field_selector: str = "",
        idle: float = 150.0,
    ) -> None:
        self.resource = resource_of(path)
        self.events = 0  # that came
        self.lists = 0  # that were begun
        self.heard = time.monotonic()  # when something last came
        self._client = client
        self._path = path
        self._decode = decode
        self._sink = sink
        self._selector = {"fieldSelector": field_selector} if field_selector else {}
        self._idle = idle
        self._streams_lists = True  # until the server refuses a WatchList
        self._version = ""  # the resourceVersion of the last event; empty before the first list
        self._listing = False

    async def run(self) -> None:
        """Watch until cancelled."""
        failures = 0
        while True:
            try:
                before = self._version
                await self._connect()
                failures = 0 if self._version != before else failures + 1
            except _Expired:
                _log.info("%s: listing again, the last position has expired", self._path)
                self._version = ""
                failures += 1
            except (ApiError, Unreachable, _Broken, ConfigError) as error:
                failures += 1
                refused = isinstance(error, ApiError) and error.status in (401, 403)
                _log.log(
                    logging.ERROR if refused else logging.WARNING if failures > 3 else logging.INFO,
                    "%s: watch interrupted, %s: %s",
                    self._path,
                    "the controller's role does not allow it" if refused else "connecting again",
                    error,
                )
            longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(failures, 10))
            await asyncio.sleep(random.uniform(0, longest) if failures else random.uniform(0, _FIRST_PAUSE_S))

    async def _connect(self) -> None:
        """One connection, from its beginning to its end."""
        params = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(random.randint(300, 600))}
        if not self._version:
            if self._streams_lists:
                params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
                self._restart()
            else:
                await self._list()
        if self._version:
            params["resourceVersion"] = self._version
        try:
            async with self._client.stream(self._path, params | self._selector, idle=self._idle) as pieces:
                await self._consume(pieces)
        except ApiError as error:
            if error.status == 410:
                raise _Expired from None
            if self._listing and error.status in (400, 404, 405, 422):
                _log.info("%s: the server streams no lists, asking for pages: %s", self._path, error)
                self._streams_lists = False
                return
            raise

    async def _consume(self, pieces: AsyncIterator[bytes]) -> None:
        rest = b""
        async for piece in pieces:
            self.heard = time.monotonic()
            *lines, rest = (rest + piece).split(b"\n") if b"\n" in piece else (rest + piece,)
            if len(rest) > _LONGEST_LINE:
                raise _Broken(f"a line of more than {_LONGEST_LINE} bytes")
            for line in lines:
                try:
                    if line:
                        self._take(line)
                except DecodeError as error:
                    raise _Broken(f"a line that is no event: {error}") from None
            await asyncio.sleep(_GATHER_S)
        # Whatever is in `rest` was cut; the server will send that event again.

    def _take(self, line: bytes) -> None:
        event = _event(line)
        if event.type == "ERROR":
            status = _status(event.object)
            if status.code == 410 or status.reason in ("Expired", "Gone"):
                raise _Expired
            raise ApiError(status.code, status.reason, status.message)
        if event.type == "BOOKMARK":
            if self._listing and _INITIAL_EVENTS_END in bytes(event.object).replace(b" ", b""):
                self._synced()
            version = _bookmark(event.object).metadata.resource_version
        else:
            version = self._deliver(event.object, gone=event.type == "DELETED")
        if version and not self._listing:  # in mid-list there is no position to go on from
            self._version = version

    def _deliver(self, raw: Raw, *, gone: bool) -> str:
        """Give one object to the Sink; its resourceVersion."""
        self.events += 1
        try:
            item = self._decode(raw)
        except DecodeError as error:
            _log.error("%s: an object is left out, it cannot be understood: %s", self._path, error)
            return ""
        if gone:
            self._sink.deleted(item)
        else:
            self._sink.changed(item)
        return item.metadata.resource_version

    async def _list(self) -> None:
        self._restart()
        page: dict[str, str] = {}
        while True:
            params = {"limit": str(_PAGE)} | self._selector | page
            try:
                body = await self._client.request("GET", self._path, params=params, timeout=60)
            except ApiError as error:
                if error.status == 410:
                    raise _Expired from None
                raise
            self.heard = time.monotonic()
            try:
                listed = _list(body)
            except DecodeError as error:
                raise _Broken(f"a list that makes no sense: {error}") from None
            for raw in listed.items:
                self._deliver(raw, gone=False)
            if not listed.metadata.continue_:
                break
            page = {"continue": listed.metadata.continue_}
        self._synced()
        self._version = listed.metadata.resource_version

    def _restart(self) -> None:
        self._listing = True
        self.lists += 1
        self._sink.restart()

    def _synced(self) -> None:
        self._listing = False
        self._sink.synced()
