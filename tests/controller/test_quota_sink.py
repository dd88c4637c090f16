"""Quotas into the core: whatever is edited, in whatever order, the core is never asked what it must refuse."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.pace import Pace
from nos.controller.quota_report import QuotaReporter
from nos.kube.client import Client
from nos.kube.quota import COMPOSITE, Quota
from tests.controller.in_loop import in_loop, settled
from tests.controller.test_ledger import node, pod, synced
from tests.controller.test_quota_claims import crowds, quota


def upsert(ledger: Ledger, *quotas: Quota) -> None:
    for each in quotas:
        (ledger.quotas.composite if each.kind == COMPOSITE else ledger.quotas.elastic).changed(each)


def remove(ledger: Ledger, *quotas: Quota) -> None:
    for each in quotas:
        (ledger.quotas.composite if each.kind == COMPOSITE else ledger.quotas.elastic).deleted(each)


def has(ledger: Ledger, name: str) -> bool:
    try:
        ledger.cluster.quota(name)
    except KeyError:
        return False
    return True


@in_loop
async def test_a_namespace_moves_from_one_quota_to_another() -> None:
    ledger = synced(node("n"), pod("a", 2, on="n"))  # in namespace ml
    plain, composite = quota("ml/q", min={"nvidia.com/gpu": 1}), quota("t/q", "ml", min={"nvidia.com/gpu": 3})
    upsert(ledger, plain)
    await settled()
    assert ledger.cluster.quota(plain.name).used == {"nvidia.com/gpu": 2}
    assert ledger.cluster.quota(plain.name).capacities() == [("u-a", True)]
    upsert(ledger, composite)
    await settled()
    assert not has(ledger, plain.name)
    assert ledger.cluster.quota(composite.name).used == {"nvidia.com/gpu": 2}
    assert ledger.cluster.quota(composite.name).capacities() == [("u-a", False)]
    assert ledger.quotas.of("ml") == composite.name == "CompositeElasticQuota t/q"
    remove(ledger, composite)
    await settled()
    assert ledger.cluster.quota(plain.name).used == {"nvidia.com/gpu": 2}


@in_loop
async def test_what_a_quota_used_is_forgotten_when_its_namespaces_go_to_another_during_a_cycle() -> None:
    ledger = synced(node("n"), pod("a", 2, on="n"), pod("b", 1))
    plain, composite = quota("ml/q", min={"nvidia.com/gpu": 3}), quota("t/q", "ml", min={"nvidia.com/gpu": 3})
    upsert(ledger, plain)
    await settled()
    capacities = SimpleNamespace(refresh=lambda *_: None, moved=lambda *_: None)
    reporter = QuotaReporter(
        cast(Client, None), ledger, cast(Any, capacities), may_write=lambda: True, pace=cast(Pace, None)
    )
    reporter.look()
    assert reporter.uses[plain.name].used == {"nvidia.com/gpu": 2}
    with ledger.scheduling():
        _core.Scheduler(ledger.cluster).schedule()  # b runs, so what the quota uses has changed
        upsert(ledger, composite)
        await settled()
        reporter.look()
    assert plain.name not in reporter.uses
    reporter.look()
    assert reporter.uses[composite.name].used == {"nvidia.com/gpu": 3}


@in_loop
async def test_parents_that_swap_their_places() -> None:
    ledger = synced()
    one, two = quota("t/one", "a"), quota("t/two", "b", parent="one")
    upsert(ledger, one, two)
    await settled()
    upsert(ledger, quota("t/one", "a", parent="two"), quota("t/two", "b"))
    await settled()
    counted = {name: verdict.counted for name, verdict in ledger.quotas.verdicts.items()}
    assert counted[one.name].parent == two.name  # type: ignore[union-attr]
    assert counted[two.name].parent == ""  # type: ignore[union-attr]


@in_loop
async def test_an_edit_wakes_the_loop_and_a_report_does_not() -> None:
    ledger = synced(node("n"), pod("a"))
    one = quota("ml/q", min={"cpu": 1})
    upsert(ledger, one)
    await settled()
    await asyncio.wait_for(ledger.wait_news(60), 1)
    reported = quota("ml/q", min={"cpu": 1})
    upsert(ledger, reported)
    await settled()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ledger.wait_news(60), 0.05)
    upsert(ledger, quota("ml/q", min={"cpu": 2}))
    await settled()
    await asyncio.wait_for(ledger.wait_news(60), 1)


@in_loop
async def test_edits_while_the_scheduler_runs_wait_for_its_end() -> None:
    ledger = synced(node("n"), pod("a"))
    one = quota("ml/q", min={"cpu": 1})
    with ledger.scheduling():
        upsert(ledger, one)
        await settled()
        await asyncio.to_thread(_core.Scheduler(ledger.cluster).schedule)
        assert not has(ledger, one.name)
    assert has(ledger, one.name)


@given(st.lists(crowds(), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_edits(caplog: pytest.LogCaptureFixture, edits: list[list[Quota]]) -> None:
    caplog.clear()

    @in_loop
    async def run() -> None:
        ledger = synced(node("n"), pod("a", on="n", namespace="a"), pod("b", on="n", namespace="b"))
        before: list[Quota] = []
        for crowd in edits:
            kept = {each.name for each in crowd}
            upsert(ledger, *crowd)
            remove(ledger, *(each for each in before if each.name not in kept))
            before = crowd
            await settled()
            ledger.cluster.check()
            for name, verdict in ledger.quotas.verdicts.items():
                assert has(ledger, name) == (verdict.counted is not None)
                if verdict.counted:
                    on_n = {"u-a", "u-b"} & {f"u-{namespace}" for namespace in verdict.counted.namespaces}
                    assert {uid for uid, _ in ledger.cluster.quota(name).capacities()} == on_n

    with caplog.at_level(logging.ERROR):
        run()
    assert caplog.text == ""  # the core refused nothing
