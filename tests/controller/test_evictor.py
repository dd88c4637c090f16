"""The evictor with sets of victims made by hand: who is asked for, and who is not any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from nos.controller.evictor import Evictor, Order
from nos.controller.ledger import Ledger
from nos.controller.waiting import State, Waiting
from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.pod import Pod, decode_pod
from nos.testbed import Testbed
from tests.controller.cluster import NAMESPACE, Cluster
from tests.controller.fault_proxy import FaultProxy
from tests.controller.in_loop import settled

pytestmark = pytest.mark.cluster
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


class Eviction(NamedTuple):
    """As the core decides."""

    uid: str
    node: str = "n"
    why: str = "reclaim"
    for_uid: str = "u-urgent"


class Rig:
    """An evictor that speaks to the API server through the proxy, and a ledger that knows what it is told."""

    def __init__(self, client: Client, cluster: Cluster, proxy: FaultProxy) -> None:
        self.cluster, self.proxy = cluster, proxy
        self.leads = True
        self.told: list[str] = []
        self.ledger = Ledger("nos-scheduler")
        self.evictor = Evictor(
            client,
            self.ledger,
            may_write=lambda: self.leads,
            on_wanted=lambda waiting, orders: self.told.append(
                f"{waiting.name} <- {', '.join(o.name for o in orders)}"
            ),
            on_evicted=self._evicted,
        )
        self.ledger.pods.changed(_pod("urgent", "u-urgent", ""))

    def _evicted(self, order: Order, beneficiary: Waiting | None, note: str) -> None:
        self.told.append(f"{order.name} -> {beneficiary.name if beneficiary else note}")

    def victim(self, name: str) -> Eviction:
        """One that runs, in the cluster and in the ledger."""
        of = {"name": name, "finalizers": ["nos.test/keep"]}
        made = self.cluster.pod(name, 0, nodeName="n", schedulerName="test", metadata=of)
        uid = made["metadata"]["uid"]
        self.ledger.pods.changed(_pod(name, uid, "n"))
        return Eviction(uid)

    def posted(self) -> list[str]:
        """For whom an Eviction was posted, as often as it was."""
        return [r.split("/")[-2] for r in self.proxy.requests if r.split("?")[0].endswith("/eviction")]

    def is_leaving(self, name: str) -> bool:
        return "deletionTimestamp" in (self.cluster.get(name) or {"metadata": {}})["metadata"]


def _pod(name: str, uid: str, node: str) -> Pod:
    body = {
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid},
        "spec": {"schedulerName": "nos-scheduler", "nodeName": node, "containers": [{"name": "c"}]},
    }
    return decode_pod(json.dumps(body).encode())


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def rig(cluster: Cluster, proxy: FaultProxy) -> AsyncIterator[Rig]:
    async with Client(Access.load(str(proxy.kubeconfig))) as client:
        made = Rig(client, cluster, proxy)
        running = asyncio.create_task(made.evictor.run())
        yield made
        running.cancel()
        await asyncio.wait({running})


@pytest.fixture(autouse=True)
def account(role: Testbed) -> None:
    role.api.create("/api/v1/nodes", {"metadata": {"name": "n"}})


def test_only_the_last_set_counts(cluster: Cluster, proxy: FaultProxy) -> None:
    async def run() -> None:
        async with rig(cluster, proxy) as r:
            victims = [r.victim(f"v{number}") for number in range(34)]
            fault = proxy.fault("POST", "/eviction", times=32, held=True)
            r.evictor.wanted(victims)
            await until(lambda: fault.hits == 32)  # so many are in flight
            await settled()
            assert len(r.posted()) == 32
            r.evictor.wanted(victims[:32])  # two are not needed any more
            fault.held = False
            await until(lambda: r.evictor.granted == 32)
            r.evictor.wanted(victims[:32])
            await asyncio.sleep(0.2)
            assert len(r.posted()) == len(set(r.posted())) == 32
            assert {name for name in ("v32", "v33") if r.is_leaving(name)} == set()
            assert r.told[0].startswith("urgent <- v0, v1")
            assert sum(said.startswith("urgent <-") for said in r.told) == 1  # a smaller set is no news

    asyncio.run(run())


def test_nobody_goes_for_one_who_does_not_wait_or_when_we_do_not_lead(cluster: Cluster, proxy: FaultProxy) -> None:
    async def run() -> None:
        async with rig(cluster, proxy) as r:
            victim = r.victim("v")
            r.evictor.wanted([victim._replace(for_uid="u-nobody")])
            await settled()
            waiting = r.ledger.waiting["u-urgent"]
            waiting.state = State.BINDING
            r.evictor.wanted([victim])
            await settled()
            waiting.state, r.leads = State.PENDING, False
            r.evictor.wanted([victim])
            await asyncio.sleep(0.2)
            assert r.posted() == []
            r.leads = True
            r.evictor.wanted([victim])
            await until(lambda: r.evictor.granted == 1)
            assert r.posted() == ["v"]
            assert (r.evictor.causes, r.evictor.reclaimed) == ({"reclaim": 1}, {"": 1})  # "": it has no quota

    asyncio.run(run())


def test_what_changes_while_a_request_is_tried_again(cluster: Cluster, proxy: FaultProxy) -> None:
    async def run() -> None:
        async with rig(cluster, proxy) as r:
            victim = r.victim("v")
            fault = proxy.fault("POST", "/eviction", times=1, status=429, headers={"Retry-After": "1"})
            r.evictor.wanted([victim])
            await until(lambda: fault.hits == 1)
            r.ledger.pods.deleted(_pod("urgent", "u-urgent", ""))  # it has left meanwhile
            await asyncio.sleep(1.5)
            assert r.posted() == ["v"]
            assert not r.is_leaving("v")

    asyncio.run(run())


def test_another_pod_of_that_name_stays(cluster: Cluster, proxy: FaultProxy) -> None:
    async def run() -> None:
        async with rig(cluster, proxy) as r:
            r.victim("v")
            r.ledger.pods.changed(_pod("v", "u-before", "n"))
            r.evictor.wanted([Eviction("u-before")])
            await until(lambda: r.posted() == ["v"])
            await until(lambda: any("GET /api/v1/namespaces/default/pods/v" in said for said in proxy.requests))
            await settled()
            assert not r.is_leaving("v")
            r.evictor.wanted([Eviction("u-before")])  # its end has not been seen yet
            await asyncio.sleep(0.2)
            assert r.posted() == ["v"]

    asyncio.run(run())


def test_a_cycle_of_before_a_refusal_asks_nobody_again(cluster: Cluster, proxy: FaultProxy) -> None:
    async def run() -> None:
        async with rig(cluster, proxy) as r:
            victim = r.victim("v")._replace(why="priority")
            body = {"details": {"causes": [{"reason": "DisruptionBudget"}]}}
            how = {"status": 429, "headers": {"Retry-After": "20"}, "body": body, "held": True}
            fault = proxy.fault("POST", "/eviction", times=9, **how)
            r.evictor.wanted([victim])
            await until(lambda: fault.hits == 1)
            r.evictor.wanted([victim])  # by a cycle while it was asked
            with r.ledger.scheduling():  # and one that has begun before the answer comes
                fault.held = False
                await until(lambda: r.evictor.refused == 1)
            r.evictor.wanted([victim])
            await asyncio.sleep(0.3)
            assert r.posted() == ["v"]
            assert not r.is_leaving("v")
            r.evictor.wanted([victim])  # by one that knows, and has no other choice
            await until(lambda: r.is_leaving("v"))
            assert r.posted() == ["v"]

    asyncio.run(run())


def test_a_refused_one_is_protected_for_a_while(cluster: Cluster, proxy: FaultProxy) -> None:
    async def run() -> None:
        async with rig(cluster, proxy) as r:
            victim = r.victim("v")
            body = {"details": {"causes": [{"reason": "DisruptionBudget"}]}}
            proxy.fault("POST", "/eviction", times=9, status=429, headers={"Retry-After": "1"}, body=body)
            r.evictor.wanted([victim])
            await until(lambda: r.evictor.refused == 1)
            await asyncio.wait_for(r.ledger.wait_news(60), 1)  # the core is to choose anew
            await asyncio.wait_for(r.ledger.wait_news(60), 2)  # and once more when it may be asked again
            r.evictor.wanted([victim])  # reclaim never goes further than to ask
            await until(lambda: r.evictor.refused == 2)
            assert not any(request.startswith("DELETE") for request in proxy.requests)
            proxy.heal()
            r.evictor.wanted([victim._replace(why="priority")])
            await until(lambda: r.evictor.granted == 1)
            assert any(request.startswith("DELETE") for request in proxy.requests)

    asyncio.run(run())


def test_one_that_is_asked_for_by_name_goes_for_a_reason_of_its_own(cluster: Cluster, proxy: FaultProxy) -> None:
    async def run() -> None:
        async with rig(cluster, proxy) as r:
            victim = r.victim("v")
            r.evictor.evict(NAMESPACE, "v", victim.uid, "Its gang has lost members", cause="gang")
            r.evictor.wanted([])
            await until(lambda: r.evictor.granted == 1)
            assert r.told == ["v -> Its gang has lost members"]
            assert r.evictor.causes == {"gang": 1}
            r.evictor.evict(NAMESPACE, "v", victim.uid, "Its gang has lost members", cause="gang")
            await asyncio.sleep(0.2)
            assert r.posted() == ["v"]

    asyncio.run(run())


def test_those_that_move_go_a_few_in_a_minute(
    cluster: Cluster, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nos.controller.evictor._MOVES_S", 3.0)  # the minute

    async def run() -> None:
        async with rig(cluster, proxy) as r:
            movers = [r.victim(f"m{number}")._replace(why="repack") for number in range(12)]
            lent = r.victim("lent")
            loop = asyncio.get_running_loop()
            began = loop.time()
            r.evictor.wanted([*movers, lent])
            await until(lambda: r.evictor.granted == 11)
            assert r.is_leaving("lent")  # what has to stop does not wait for them
            assert len(r.posted()) == 11
            await until(lambda: r.evictor.granted == 13)
            assert loop.time() - began > 3
            assert "m0 -> urgent" in r.told

    asyncio.run(run())
