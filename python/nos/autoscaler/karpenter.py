"""Nodes from Karpenter: each order is a NodeClaim of its own, after the template of a NodePool.

The claim carries all that is known of the order, and its name follows from the request. It lacks the pool's label, so
Karpenter neither consolidates nor expires its node; to delete the claim is to have Karpenter drain the node.
"""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import DecodeError

from nos.autoscaler.backend import (
    ACTUATOR_ANNOTATION,
    LAYOUT_ANNOTATION,
    NOS,
    PODS_ANNOTATION,
    STARTUP_TAINT,
    BackendError,
    Group,
    Instance,
    Order,
    OrderRefusedError,
    State,
    Survey,
)
from nos.autoscaler.karpenter_offers import POOL_LABEL, Offer, empty_groups, former_group, offers, problem_of, room
from nos.autoscaler.karpenter_settings import KarpenterSettings
from nos.kube import nodeclaim
from nos.kube.client import MERGE, Client
from nos.kube.conflict import retry_on_conflict
from nos.kube.errors import ApiError, Unreachable
from nos.kube.new_node import layout_text
from nos.kube.node import Taint
from nos.kube.nodeclaim import NODE_CLAIMS, NodeClaim, decode_node_claim, decode_node_claims, node_claim_path
from nos.kube.nodepool import (
    NODE_POOLS,
    NodePool,
    annotation_patch,
    decode_node_pool,
    decode_node_pools,
    node_pool_path,
)

GROUP_ANNOTATION = "nos.nebuly.com/group"
REQUEST_ANNOTATION = "nos.nebuly.com/request"

_IN_FLIGHT = 16
_LAUNCH_S = 60.0  # Karpenter tries to launch for 5 minutes, for whatever reason; nos looks elsewhere after this
_REFUSALS = frozenset((400, 403, 422))


class Karpenter:
    """A backend; see `nos.autoscaler.backend`."""

    name = "karpenter"

    def __init__(self, client: Client, settings: KarpenterSettings, *, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._settings = settings
        self._now = now

    async def survey(self) -> Survey:
        """NodePools and NodeClaims, as they are."""
        pools, claims = await self._pools(), await self._claims()
        ours = [self._instance(c) for c in claims if c.metadata.labels.get(POOL_LABEL) in self._settings.node_pools]
        targets = Counter(one.group for one in ours if one.state in (State.COMING, State.UP))
        found = list(offers(self._settings, pools))
        problems = {name: problem_of(pool) for name, pool in pools.items()}
        groups = [offer.group(targets[offer.id], problems[offer.pool.metadata.name]) for offer in found]
        groups += empty_groups(self._settings, pools, found)
        former = sorted({one.group for one in ours} - {group.id for group in groups})
        return Survey(
            groups=(*groups, *(former_group(name, targets[name]) for name in former)),
            instances=tuple(ours),
            limits=dict(room(self._settings, pools.values(), claims)),
        )

    async def increase(self, group: Group, orders: Sequence[Order]) -> None:
        """Creates a NodeClaim for each order. Those of which one is refused may be made nevertheless."""
        pool = await self._taken_pool(group)
        offer = next((o for o in offers(self._settings, {pool.metadata.name: pool}) if o.id == group.id), None)
        if offer is None:
            raise OrderRefusedError(f"{group.object} does not allow {group.id} any more")
        await _all([self._order(offer, order) for order in orders])

    async def cancel(self, group: Group, instances: Sequence[Instance]) -> None:
        """Deletes the claims of those that are not up; one that came up meanwhile stays."""
        with _told(f"NodeClaims of {group.id}"):
            await _all([self._delete(one, only_coming=True) for one in instances])

    async def delete(self, group: Group, instances: Sequence[Instance]) -> None:
        """Deletes the claims; Karpenter drains the nodes, minding budgets, for as long as the pool gives it."""
        with _told(f"NodeClaims of {group.id}"):
            await _all([self._delete(one, only_coming=False) for one in instances])

    async def _pools(self) -> dict[str, NodePool]:
        with _told("NodePools"):
            found = decode_node_pools(await self._client.request("GET", NODE_POOLS)).items
        return {pool.metadata.name: pool for pool in found if pool.metadata.name in self._settings.node_pools}

    async def _claims(self) -> list[NodeClaim]:
        with _told("NodeClaims"):
            return decode_node_claims(await self._client.request("GET", NODE_CLAIMS)).items

    def _instance(self, claim: NodeClaim) -> Instance:
        noted = claim.metadata.annotations
        state, message = self._state(claim)
        return Instance(
            id=claim.metadata.name,
            group=noted.get(GROUP_ANNOTATION) or claim.metadata.labels[POOL_LABEL],
            state=state,
            node=claim.status.node_name,
            since=claim.created,
            pods=tuple(filter(None, noted.get(PODS_ANNOTATION, "").split(","))),
            message=message,
            layout=noted.get(LAYOUT_ANNOTATION, ""),
        )

    def _state(self, claim: NodeClaim) -> tuple[State, str]:
        if claim.metadata.deletion_timestamp:
            return State.GOING, ""
        if claim.condition(nodeclaim.INITIALIZED).status == "True":
            return State.UP, ""
        launched = claim.condition(nodeclaim.LAUNCHED)
        for condition in (launched, claim.condition(nodeclaim.REGISTERED)):
            if condition.status == "False":
                return State.FAILED, condition.message or condition.reason
        if launched.status == "True" or launched.reason == nodeclaim.NOT_TRIED:
            return State.COMING, ""
        message = launched.message or launched.reason or "Karpenter has not said anything of it"
        is_late = self._now() - claim.created > _LAUNCH_S
        return State.FAILED if is_late else State.COMING, message

    async def _taken_pool(self, group: Group) -> NodePool:
        """The pool of a group, on which it is noted now that nos makes its nodes."""
        path = node_pool_path(group.id.split("/", 1)[0])

        async def take() -> NodePool:
            pool = decode_node_pool(await self._client.request("GET", path))
            if problem := problem_of(pool):
                raise OrderRefusedError(problem)
            if ACTUATOR_ANNOTATION in pool.metadata.annotations:
                return pool
            body = annotation_patch(pool.metadata.resource_version, {ACTUATOR_ANNOTATION: NOS})
            return decode_node_pool(await self._client.request("PATCH", path, body=body, content_type=MERGE))

        with _told(group.object):
            return await retry_on_conflict(take)

    async def _order(self, offer: Offer, order: Order) -> None:
        layout = layout_text(order.layout)
        body = nodeclaim.creation(
            "nos-" + hashlib.sha256(order.request.encode()).hexdigest()[:20],
            offer.pool,
            pinned=offer.pinned,
            labels=offer.labels,
            annotations={
                GROUP_ANNOTATION: offer.id,
                REQUEST_ANNOTATION: order.request,
                PODS_ANNOTATION: ",".join(order.pods),
                **({LAYOUT_ANNOTATION: layout} if layout else {}),
            },
            startup_taints=[Taint(STARTUP_TAINT, "", "NoSchedule")] if offer.is_cut else [],
            requests=_requests(offer),
        )
        with _told(f"a NodeClaim of {offer.id}", refused=OrderRefusedError):
            try:
                await self._client.request("POST", NODE_CLAIMS, body=body)
            except ApiError as error:
                if error.reason != "AlreadyExists":  # under the same request: it is made
                    raise

    async def _delete(self, instance: Instance, *, only_coming: bool) -> None:
        path = node_claim_path(instance.id)

        async def take_away() -> None:
            claim = decode_node_claim(await self._client.request("GET", path))
            if POOL_LABEL not in claim.metadata.labels:
                raise BackendError(f"NodeClaim {instance.id} is none that nos ordered: it lacks {POOL_LABEL}")
            if only_coming and claim.condition(nodeclaim.INITIALIZED).status == "True":
                return
            body = nodeclaim.deletion(claim, unchanged=only_coming)
            await self._client.request("DELETE", path, body=body)

        try:
            await retry_on_conflict(take_away)
        except ApiError as error:
            if error.status != 404:
                raise


def _requests(offer: Offer) -> dict[str, str]:
    """What the Node must offer before Karpenter says that it is initialized.

    A cloud provider launches nothing that does not fit its own table of instance types, so this asks for the least. No
    such table has MIG resources: where nos cuts the GPUs, the startup taint holds back the Node until they are there.
    """
    return {} if offer.is_cut or not offer.kind.gpus else {"nvidia.com/gpu": str(offer.kind.gpus)}


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Does everything, also after a failure; then raises the first one."""
    limit = asyncio.Semaphore(_IN_FLIGHT)

    async def one(task: Awaitable[None]) -> None:
        async with limit:
            await task

    for failure in await asyncio.gather(*map(one, work), return_exceptions=True):
        if failure is not None:
            raise failure


@contextmanager
def _told(what: str, *, refused: type[BackendError] = BackendError) -> Iterator[None]:
    """Errors of the API server in the words of a backend. refused: what it is when the server forbids it."""
    try:
        yield
    except Unreachable as error:
        raise BackendError(f"{what}: the API server does not answer: {error}") from None
    except DecodeError as error:
        raise BackendError(f"{what}: not as karpenter.sh/v1 has them: {error}") from None
    except ApiError as error:
        if error.status == 404:
            raise BackendError(
                f"{what}: {error.message}; is Karpenter installed (karpenter.sh/v1), and is the name right?"
            ) from None
        raise (refused if error.status in _REFUSALS else BackendError)(f"{what}: {error}") from None
