"""Nodes on their way out: nobody comes any more, who is there moves, and then the node goes.

Where a backend drains its nodes itself, it is asked to delete the node, and that is all. Else the node is cordoned,
with an annotation that says since when, so that whoever leads goes on with it; its Pods are evicted, as their budgets
allow; and when only those are left that go with their node, its backend deletes it. A drain that does not come to an
end is given up, and the node serves again; so are all of them where nodes are no longer taken away.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from msgspec.json import encode

from nos.autoscaler.backend import BackendError, State
from nos.controller.ledger import Ledger
from nos.controller.pods import Known
from nos.controller.scaling.fleet import Fleet
from nos.kube.client import MERGE, Client
from nos.kube.decode import WITH_ITS_NODE
from nos.kube.errors import ApiError, Unreachable
from nos.kube.node import NODES, Node
from nos.observe.view import Moment

DRAINING_ANNOTATION = "nos.nebuly.com/draining"  # since when
_LOOK_S = 1.0
_AGAIN_S = 10.0  # before a Pod that is still there is asked to go again, or a refusal is taken for a pause

_log = logging.getLogger(__name__)


class Drains:
    """`begin` takes note, `run` drains. Nodes that are being drained are members."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        fleet: Fleet,
        *,
        patience: float,
        may_write: Callable[[], bool],
        evict: Callable[[str, str, str, str], None],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._fleet = fleet
        self._patience = patience
        self._may_write = may_write
        self._evict = evict  # namespace, name, uid, why
        self._asked: dict[str, float] = {}  # by uid: when it was last asked to go
        self._pauses: dict[str, float] = {}  # by node: until when it is left alone
        self._handed_over: set[str] = set()  # instances whose backend drains them
        self.happened: Callable[[Moment], None] = lambda _: None

    def __contains__(self, node: object) -> bool:
        return any(node == name for name, _ in self._draining()) or self._pauses.get(str(node), 0.0) > _now()

    @property
    def count(self) -> int:
        """Drains that are not over."""
        going = sum(
            instance.state is State.GOING or id_ in self._handed_over for id_, instance in self._fleet.instances.items()
        )
        return going + sum(1 for _ in self._draining())

    async def begin(self, node: str, instance: str) -> None:
        """Let this node go; not yet if a Pod is to run there since it was found not to be needed."""
        if await self._is_promised(node):
            return
        of = self._fleet.instances[instance]
        group = self._fleet.groups[of.group]
        self.happened(Moment(time.time(), "NodeDraining", node, "The node is not needed any more, and is emptied"))
        if not group.drains:
            await self._mark(node, since=datetime.now(UTC))
            return
        try:
            await self._fleet.backend(instance).delete(group, [of])
            self._handed_over.add(instance)
        except BackendError as error:
            self._refused(node, error)

    async def run(self, *, is_on: bool) -> None:
        """Drain until cancelled; or give up all drains, where that is off."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._handed_over &= self._fleet.instances.keys()
            self._asked = {uid: at for uid, at in self._asked.items() if uid in self._ledger.pods.known}
            for name, since in list(self._draining()):
                if self._may_write():
                    await (self._go_on(name, since) if is_on else self._give_up(name, "scaling down was switched off"))

    def _draining(self) -> Iterator[tuple[str, datetime]]:
        for name, said in self._ledger.nodes.marked(DRAINING_ANNOTATION):
            yield name, _time(said)

    async def _is_promised(self, node: str) -> bool:
        """Whether it was decided that a Pod runs there that is not bound yet."""
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def look() -> None:
            cluster, waiting = self._ledger.cluster, self._ledger.waiting.values()
            decided = [each.uid for each in waiting if self._ledger.awaits(each) and each.uid in cluster]
            if not found.done():  # cancelled
                found.set_result(any(cluster.pod(uid).node == node for uid in decided))

        self._ledger.edit(look)
        return await found

    async def _go_on(self, name: str, since: datetime) -> None:
        is_promised = await self._is_promised(name)  # before we look who is there: it may be bound meanwhile
        instance = next((id_ for id_, of in self._fleet.instances.items() if of.node == name), None)
        there = [(uid, pod) for uid, pod in self._ledger.pods.known.items() if pod.node == name]
        moving = [(uid, pod) for uid, pod in there if not pod.stays]
        stuck = next((pod for _, pod in there if pod.stays and pod.stays != WITH_ITS_NODE), None)
        if stuck is not None:
            await self._give_up(name, f"Pod {stuck.key} has come, which stays: {stuck.stays}")
        elif (moving or instance is None) and (datetime.now(UTC) - since).total_seconds() > self._patience:
            pods = "1 Pod is" if len(moving) == 1 else f"{len(moving)} Pods are"
            left = f"{pods} still there, {moving[0][1].key} first" if moving else "nobody says whose it is"
            await self._give_up(name, left)
        elif moving:
            self._ask(name, moving)
        elif instance and not is_promised and self._fleet.instances[instance].state is not State.GOING:
            await self._delete(name, instance)

    def _ask(self, name: str, moving: list[tuple[str, Known]]) -> None:
        for uid, pod in moving:
            if not pod.leaving and _now() - self._asked.get(uid, -_AGAIN_S) >= _AGAIN_S:
                self._asked[uid] = _now()
                namespace, _, pod_name = pod.key.partition("/")
                self._evict(namespace, pod_name, uid, f"Node {name} is not needed any more and is drained")

    async def _delete(self, name: str, instance: str) -> None:
        if self._pauses.get(name, 0.0) > _now():
            return
        of = self._fleet.instances[instance]
        try:
            await self._fleet.backend(instance).delete(self._fleet.groups[of.group], [of])
        except BackendError as error:
            self._refused(name, error)
        else:
            _log.info("node %s is drained and deleted", name)
            self.happened(Moment(time.time(), "NodeDrained", name, "The node is drained and deleted"))
            self._pauses[name] = _now() + _AGAIN_S  # it takes a while to go

    async def _give_up(self, name: str, why: str) -> None:
        _log.warning("node %s is not drained: %s; it serves again", name, why)
        self.happened(Moment(time.time(), "NodeNotDrained", name, f"The node serves again: {why}", warning=True))
        await self._mark(name, since=None)
        self._pauses[name] = _now() + self._patience * random.uniform(0.5, 1.0)

    def _refused(self, node: str, error: BackendError) -> None:
        _log.warning("node %s was not deleted: %s", node, error)
        self._pauses[node] = _now() + _AGAIN_S * random.uniform(1.0, 2.0)

    async def _mark(self, name: str, *, since: datetime | None) -> None:
        """Cordon the node, or let it serve again."""
        node = self._ledger.nodes.node(name)
        if node is None:
            return
        try:
            await self._client.request("PATCH", f"{NODES}/{name}", body=_cordon(node, since), content_type=MERGE)
        except (ApiError, Unreachable) as error:  # the next look finds it as it is
            _log.info("node %s was not %s: %s", name, "cordoned" if since else "uncordoned", error)


def _cordon(node: Node, since: datetime | None) -> bytes:
    """A merge patch of a node that is still as we know it (else 409)."""
    said = since.isoformat(timespec="seconds") if since else None
    metadata = {"resourceVersion": node.metadata.resource_version, "annotations": {DRAINING_ANNOTATION: said}}
    return encode({"metadata": metadata, "spec": {"unschedulable": bool(since) or None}})


def _time(text: str) -> datetime:
    """Of the annotation; one that somebody has written by hand, and that is none, is old."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _now() -> float:
    return asyncio.get_running_loop().time()
