"""Gangs that run with fewer Pods than they need, and what becomes of them.

A gang that lost Pods is completed by those that replace them, which the core places as soon as they are there. Where
they do not come within the grace time, the Pods that remain are evicted: they hold GPUs and get nowhere. The same is
done at once where the API server refuses for good to bind one of a gang's Pods, as binding is not atomic: those that
are bound already would wait for it for ever. Such a gang starts again after a while, each time a longer one.

Members that have run to the end are not lost. The watch does not show them, so they are read when a gang has lost
somebody. Arrives: `lost` and `refused`. Leaves: what `Gangs` is told of a gang, and whom to evict.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import DecodeError

from nos.controller.gangs import Gang
from nos.controller.ledger import Ledger
from nos.controller.waiting import Waiting
from nos.kube.client import Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.pod import decode_pods, pods_path
from nos.kube.podgroup import membership

_TICK_S = 0.5
_AGAIN_S = 10.0  # that an eviction has before it is asked for once more
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 15.0, 900.0
_PAGE = "500"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Case:
    """A gang that is looked after. Times are the loop's."""

    unread: bool = True  # who has run to the end
    below_since: float | None = None
    why: str = ""  # it is being released; empty: it is not, yet
    asked: float = 0.0  # when its Pods were last evicted
    is_refused: bool = False  # that is why
    resting_until: float | None = None  # it was released


class Releases:
    """`lost` and `refused` take note, `run` completes or releases."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        grace: float,
        may_write: Callable[[], bool],
        evict: Callable[[str, str, str, str], None],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._grace = grace
        self._may_write = may_write
        self._evict = evict  # namespace, name, uid, why
        self._cases: dict[str, _Case] = {}  # by gang
        self._refusals: dict[str, tuple[int, float]] = {}  # by gang: how many of late, and when the last was

    def lost(self, name: str) -> None:
        """One of its Pods left this gang, or is leaving it."""
        self._cases.setdefault(name, _Case()).unread = True

    def refused(self, waiting: Waiting, why: str) -> None:
        """The API server will not bind this Pod."""
        name = self._ledger.gangs.of(waiting.uid)
        gang = self._ledger.gangs.known.get(name)
        if gang is None:
            return
        others = sum(uid != waiting.uid for uid, _ in self._ledger.gangs.placed(name))
        if others < gang.least:
            case = self._cases.setdefault(name, _Case())
            case.is_refused, case.resting_until = True, None
            now = asyncio.get_running_loop().time()
            before, last = self._refusals.get(name, (0, now))
            self._refusals[name] = (before + 1 if now < last + 2 * _LONGEST_PAUSE_S else 1), now
            self._release(name, case, f"Pod {waiting.name} could not be bound: {why}")

    async def run(self) -> None:
        """Look after gangs until cancelled. All of them at first: who was lost before we came is not known."""
        for name in self._ledger.gangs.known:
            self.lost(name)
        while True:
            if self._may_write():
                for name, case in list(self._cases.items()):
                    await self._look_after(name, case)
            await asyncio.sleep(_TICK_S)

    async def _look_after(self, name: str, case: _Case) -> None:
        now = asyncio.get_running_loop().time()
        gang = self._ledger.gangs.known.get(name)
        if gang is None or not gang.members:
            self._refusals.pop(name, None)
            self._close(name)
            return
        if case.why and not gang.halted:  # that one is gone, and another has its name
            case = self._cases[name] = _Case()
        if not case.why and case.unread and self._is_short(name, gang):
            case.unread = not await self._read_done(name)
        placed = dict(self._ledger.gangs.placed(name))
        if case.why:
            if placed:
                self._evict_all(name, case, now)
            elif case.resting_until is None:
                case.resting_until = now + self._pause(name) if case.is_refused else now
            elif now >= case.resting_until:
                case.why, case.is_refused, case.below_since, case.resting_until = "", False, None, None
                self._halt(name, "")
        elif len(placed) >= gang.least or not placed:
            case.below_since = None
            if not (case.unread and self._is_short(name, gang)):
                self._close(name)
        elif case.below_since is None:
            case.below_since = now
        elif now >= case.below_since + self._grace and not case.unread:
            self._release(
                name,
                case,
                f"of the {gang.least} Pods that it needs, only {len(placed)} had a node for {self._grace:g} s",
            )
            self._evict_all(name, case, now)

    def _pause(self, name: str) -> float:
        refusals = min(self._refusals[name][0], 10)
        return min(_FIRST_PAUSE_S * 2.0 ** (refusals - 1), _LONGEST_PAUSE_S)

    def _is_short(self, name: str, gang: Gang) -> bool:
        """Whether it matters if some of its Pods have run to the end."""
        least = gang.terms.min_members if gang.terms else 0
        placed = sum(1 for _ in self._ledger.gangs.placed(name))
        return placed < least and (placed > 0 or len(gang.members) < least)

    def _release(self, name: str, case: _Case, why: str) -> None:
        _log.warning("pod group %s is released: %s", name, why)
        case.why = why
        self._halt(name, f"was released: {why}")

    def _evict_all(self, name: str, case: _Case, now: float) -> None:
        if case.asked and now < case.asked + _AGAIN_S:
            return
        namespace = name.partition("/")[0]
        for uid, member in self._ledger.gangs.placed(name):
            if member.node:  # else its Binding is on the way
                self._evict(
                    namespace,
                    member.name,
                    uid,
                    f"Pod group {name} gives up its nodes, to start again as a whole: {case.why}",
                )
                case.asked = now

    def _halt(self, name: str, why: str) -> None:
        if gang := self._ledger.gangs.known.get(name):
            gang.halted = why
            self._ledger.gangs.settle(name)

    def _close(self, name: str) -> None:
        self._cases.pop(name, None)
        self._halt(name, "")

    async def _read_done(self, name: str) -> bool:
        """How many of its Pods have run to the end. False: the API server does not tell."""
        namespace = name.partition("/")[0]
        done, page = 0, ""
        params = {"fieldSelector": "status.phase=Succeeded", "limit": _PAGE}
        try:
            while True:
                more = {"continue": page} if page else {}
                pods, page = decode_pods(await self._client.request("GET", pods_path(namespace), params=params | more))
                for pod in pods:
                    found = membership(pod) if self._ledger.pods.is_for_us(pod) else None
                    done += found is not None and found.group == name
                if not page:
                    break
        except (ApiError, Unreachable, DecodeError) as error:
            _log.warning("who of pod group %s has run to the end is not known: %s", name, error)
            return False
        if (gang := self._ledger.gangs.known.get(name)) and gang.done != done:
            gang.done = done
            self._ledger.gangs.settle(name)
        return True
