"""Scaling, put together: what the controller starts, and what the command line looks through."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from nos import _core
from nos.autoscaler.backend import Backend
from nos.autoscaler.cluster_autoscaler.plan import Plan as Told
from nos.autoscaler.cluster_autoscaler.plan import PlannedGroup
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings
from nos.autoscaler.cluster_autoscaler.start import answering
from nos.controller.ledger import Ledger
from nos.controller.report import Word, by_code
from nos.controller.scaling.backends import backends, looked_at
from nos.controller.scaling.daemons import Daemons
from nos.controller.scaling.drains import Drains
from nos.controller.scaling.fleet import Fleet
from nos.controller.scaling.orders import Orders
from nos.controller.scaling.provisioning import Answerer
from nos.controller.scaling.scale_down import ScaleDown
from nos.controller.scaling.scale_up import ScaleUp
from nos.controller.scaling.settings import Scaling
from nos.controller.scaling.startup import Startup
from nos.controller.watches import Watches
from nos.kube.client import Client

_log = logging.getLogger(__name__)


class Stage:
    """After the scheduling: `waiting` takes note, `start` begins.

    evict: a Pod, by namespace, name, uid and why. on_change: told of Pods (uids) whose word is another.
    on_ordered, on_failed: told of a Pod's uid, a group, and in the latter case why nothing came of it.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        settings: Scaling,
        made: Sequence[Backend],
        *,
        score: str,
        may_write: Callable[[], bool],
        evict: Callable[[str, str, str, str], None],
        on_change: Callable[[Sequence[str]], None],
        on_ordered: Callable[[str, str], None],
        on_failed: Callable[[str, str, str], None],
    ) -> None:
        policy = _core.Policy(score)
        self.fleet = Fleet(looked_at(settings, client, made))
        self._client = client
        self._backends = made
        self._settings = settings
        self._startup = Startup(client, ledger, may_write=may_write)

        def failed(group: str, uids: Sequence[str], why: str) -> None:
            for uid in uids:
                on_failed(uid, group, why)

        self.orders = Orders(self.fleet, failed)
        self.daemons = Daemons(client)
        self.up = ScaleUp(
            ledger,
            self.fleet,
            self.orders,
            self.daemons,
            settings,
            policy=policy,
            may_write=may_write,
            on_change=lambda uids: on_change(list(uids)),
            on_ordered=on_ordered,
        )
        self.drains = Drains(
            client,
            ledger,
            self.fleet,
            patience=settings.scale_down.drain_seconds,
            may_write=may_write,
            evict=evict,
        )
        self.down = ScaleDown(
            ledger, self.fleet, self.orders, self.daemons, self.drains, settings, policy=policy, may_write=may_write
        )
        self._answerer: Answerer | None = None
        if settings.provisioning_requests:
            seconds = settings.provisioning_requests.booking_seconds
            self._answerer = Answerer(client, ledger, booking_seconds=seconds, may_write=may_write, word=self.word)
        if self.is_on:
            ledger.nodes.offered = self.up.arrived
            ledger.pods.any_may_move = settings.scale_down.enabled

    @classmethod
    def looking(cls, client: Client, ledger: Ledger, settings: Scaling, score: str) -> "Stage":
        """One that only looks: it writes nothing, and tells nobody."""
        return cls(
            client,
            ledger,
            settings,
            backends(settings, client),
            score=score,
            may_write=lambda: False,
            evict=lambda *_: None,
            on_change=lambda _: None,
            on_ordered=lambda *_: None,
            on_failed=lambda *_: None,
        )

    @property
    def is_on(self) -> bool:
        """Whether nodes are looked for at all."""
        return self._settings.mode != "none"

    @property
    def has_backends(self) -> bool:
        """Whether anybody could make nodes."""
        return bool(self._backends)

    def hand_over(self) -> None:
        """A cycle is to begin."""
        if self._answerer:
            self._answerer.hand_over()

    def waiting(self, outcome: Sequence[tuple[str, _core.Reason]]) -> None:
        """A cycle left these over."""
        if self.is_on:
            self.up.waiting(outcome)
        if self._answerer:
            self._answerer.judge(outcome)

    def word(self, uid: str, code: str, message: str) -> Word:
        """What a Pod is to be told: while nos orders nothing it is for others to see whether a node would help."""
        return self.up.word(uid, code, message) if self._settings.mode == "order" else by_code(uid, code, message)

    async def restore(self, parts: asyncio.TaskGroup, watches: Watches) -> None:
        """Keep what was promised, before the first cycle gives it to others; and answer from now on."""
        if self._answerer is None:
            return
        if not await self._answerer.watch(parts, watches):
            _log.warning(
                "the API server has no ProvisioningRequests: none is answered until the CRD is there and nos restarts"
            )
            return
        await self._answerer.restore()
        parts.create_task(self._answerer.run())

    def start(self, parts: asyncio.TaskGroup) -> None:
        """Begin as tasks of the group."""
        parts.create_task(self._startup.run())
        if self.is_on:
            parts.create_task(self.up.run())
        if self.is_on and self._settings.cluster_autoscaler:
            parts.create_task(self._answer(self._settings.cluster_autoscaler))
        takes_away = self._settings.mode == "order" and self._settings.scale_down.enabled
        parts.create_task(self.drains.run(is_on=takes_away))
        if takes_away:
            parts.create_task(self.down.run())

    async def _answer(self, settings: ClusterAutoscalerSettings) -> None:
        """Answer Cluster Autoscaler until cancelled."""
        async with answering(settings, self._client, self._backends, self._told) as address:
            _log.info("Cluster Autoscaler is answered on %s", address)
            await asyncio.Event().wait()

    def _told(self) -> Told | None:
        """What Cluster Autoscaler is told of the latest plan."""
        latest = self.up.latest
        if latest is None:
            return None
        wanted = Counter(node.group for node in latest.outcome.nodes)
        groups = {
            id_: PlannedGroup(group.price, wanted[id_])
            for id_, group in self.fleet.groups.items()
            if id_ not in latest.unasked  # of those nothing is known, so they are left alone
        }
        judged = {uid for node in latest.outcome.nodes for uid in node.pods}
        judged |= {uid for uid, _ in latest.outcome.left} | {bind.uid for bind in latest.outcome.binds}
        return Told(groups, judged, latest.at)
