"""Events on the real API server, and as kubectl shows them."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nos.controller.events import Events, Kind, Told
from nos.kube.access import Access
from nos.kube.client import Client
from tests.controller.cluster import NAMESPACE, Cluster

pytestmark = pytest.mark.cluster
PATH = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"


def test_a_series_under_the_role_that_users_install(cluster: Cluster) -> None:
    uid = cluster.pod("told-again", schedulingGates=[{"name": "nos.test/wait"}])["metadata"]["uid"]
    began = datetime.now(UTC) - timedelta(minutes=5)

    async def tell() -> None:
        async with Client(Access.load(cluster.testbed.kubeconfig_of().as_posix(), None)) as client:
            events = Events(client, "nos")
            now = 0.0

            def told(at: datetime) -> None:
                events.tell(Told(Kind.WAITS, at, NAMESPACE, "told-again", uid, "0/1 nodes are available", "Taint"), now)

            async def write() -> None:
                nonlocal now
                now += 10
                while due := events.due(now):
                    await due

            told(began)
            await write()
            assert "series" not in one(cluster)
            for _ in range(11):
                told(datetime.now(UTC))
            await write()
            await write()
            assert one(cluster)["series"]["count"] == 12
            shown = await asyncio.to_thread(cluster.testbed.kubectl, "describe", "pod", "told-again", "-n", NAMESPACE)
            assert re.search(r"FailedScheduling\s+\S+ \(x12 over 5m\d*s?\)\s+nos-scheduler", shown), shown

            before = one(cluster)["metadata"]["name"]
            assert cluster.api.request("DELETE", f"{PATH}/{before}")[0] == 200  # as the API server does after an hour
            told(datetime.now(UTC))
            await write()
            await write()
            event = one(cluster)
            assert (event["metadata"]["name"] != before, event["series"]["count"]) == (True, 13)
            assert events.lost == 0

    asyncio.run(tell())


def one(cluster: Cluster) -> dict[str, Any]:
    """The only Event about the Pod."""
    (event,) = [e for e in cluster.events("told-again") if e["reportingController"] == "nos-scheduler"]
    return event
