"""Which groups may grow: clients of both generations, and the rule against a plain restatement of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nos.autoscaler.cluster_autoscaler.expander import FRESH_S, best
from nos.autoscaler.cluster_autoscaler.expander_pb2 import Option
from nos.autoscaler.cluster_autoscaler.plan import Plan, PlannedGroup
from nos.autoscaler.cluster_autoscaler.server import serve
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings
from tests.autoscaler.autoscaler_client import BEFORE, GENERATIONS, Autoscaler, wire

GROUPS = {
    "cluster-autoscaler/big": PlannedGroup(price=10_000_000, wanted=1),
    "cluster-autoscaler/small": PlannedGroup(price=2_000_000, wanted=2),
    "cluster-autoscaler/idle": PlannedGroup(price=1_000_000),
    "webhook/h100": PlannedGroup(price=50_000_000),
}


class Asked:
    """What the autoscaler asks, and the plan that nos has."""

    def __init__(self, autoscaler: Autoscaler) -> None:
        self.autoscaler = autoscaler
        self.plan: Plan | None = None

    def planned(self, groups: dict[str, PlannedGroup], *pods: str, age: float = 0.0) -> None:
        self.plan = Plan(groups, frozenset(pods), asyncio.get_running_loop().time() - age)

    async def best(self, **options: list[str]) -> list[str]:
        """Options by group, with uids of Pods; a double underscore is a slash, and a single one an @."""
        asked = [
            self.autoscaler.option(name.replace("__", "/").replace("_", "@"), *map(self.autoscaler.pod, uids))
            for name, uids in options.items()
        ]
        return await self.autoscaler.best(*asked)


@asynccontextmanager
async def asking(generation: str) -> AsyncIterator[Asked]:
    settings = ClusterAutoscalerSettings("127.0.0.1:0", allow_insecure=True)
    asked: Asked
    async with serve(settings, lambda: asked.plan, None) as address, grpc.aio.insecure_channel(address) as channel:
        asked = Asked(Autoscaler(generation, channel))
        yield asked


def both(test: Callable[[Asked], Coroutine[Any, Any, None]]) -> Callable[[str], None]:
    @pytest.mark.parametrize("generation", GENERATIONS)
    def run(generation: str) -> None:
        async def scene() -> None:
            async with asking(generation) as asked:
                await test(asked)

        asyncio.run(scene())

    return run


@both
async def test_those_that_the_plan_wants_grow_the_cheapest_first(asked: Asked) -> None:
    asked.planned(GROUPS, "a", "b")
    assert await asked.best(big=["a", "b"], idle=["a"], small=["a"]) == ["small", "big"]
    assert await asked.best(big=["a"], foreign=["a"]) == ["big", "foreign"]  # of that nos knows nothing


@both
async def test_the_price_is_that_of_all_nodes_of_an_option(asked: Asked) -> None:
    asked.planned(GROUPS, "a")
    pod, option = asked.autoscaler.pod("a"), asked.autoscaler.option
    options = [option("small", pod, count=6), option("big", pod)]  # $12 and $10
    assert await asked.autoscaler.best(*options) == ["big", "small"]


@both
async def test_what_nobody_wants_is_vetoed(asked: Asked) -> None:
    asked.planned(GROUPS, "a", "b")
    assert await asked.best(idle=["a", "b"], webhook__h100_halves=["b"]) == []


@both
async def test_pods_that_nos_has_not_seen_get_their_nodes(asked: Asked) -> None:
    asked.planned(GROUPS, "a")
    assert await asked.best(idle=["a", "new"], webhook__h100=["a"], foreign=["a"]) == ["idle", "foreign"]


@both
async def test_a_layout_is_wanted_with_its_group(asked: Asked) -> None:
    asked.planned({"webhook/h100": PlannedGroup(price=1, wanted=1)}, "a")
    assert await asked.best(webhook__h100_halves=["a"]) == ["webhook/h100@halves"]


@both
async def test_without_a_fresh_plan_all_may_grow(asked: Asked) -> None:
    assert await asked.best(idle=["a"], big=["a"]) == ["idle", "big"]
    asked.planned(GROUPS, "a", age=FRESH_S + 1)
    assert await asked.best(idle=["a"], big=["a"]) == ["idle", "big"]
    asked.planned(GROUPS, "a")
    assert await asked.best(idle=["a"], big=["a"]) == ["big"]


@both
async def test_what_is_no_pod_is_none_that_nos_has_seen(asked: Asked) -> None:
    asked.planned(GROUPS, "a", "")
    assert await asked.best(idle=[""]) == ["idle"]
    assert await asked.autoscaler.best(asked.autoscaler.option("idle")) == ["idle"]  # no Pod at all
    question = b"\x0a\x0b" + b"\x0a\x04idle" + b"\x2a\x03\xff\xff\xff"  # field 5: no message
    assert b"idle" in await asked.autoscaler.raw("BestOptions", question)


@both
async def test_the_provider_is_not_there_where_nothing_is_fronted(asked: Asked) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asked.autoscaler.NodeGroups()
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("generation", GENERATIONS)
def test_golden_bytes(generation: str) -> None:
    """Of a question with one option, put down by hand, and of the answer, which has no Pods."""
    field = b"\x22" if generation == BEFORE else b"\x2a"  # 4 or 5, length-delimited
    metadata = b"\x0a\x01p" + b"\x1a\x02ml" + b"\x2a\x02u1"  # name 1, namespace 3, uid 5
    pod = b"\x0a\x0b" + metadata
    option = b"\x0a\x03big" + b"\x10\x02" + b"\x1a\x01d"  # group 1, two nodes 2, debug 3
    question = b"\x0a\x19" + option + field + b"\x0d" + pod
    kinds = wire(generation)
    read = kinds.BestOptionsRequest.FromString(question).options[0]
    read_pod = read.pod[0] if generation == BEFORE else kinds.Pod.FromString(read.podBytes[0])
    assert (read_pod.metadata.namespace, read_pod.metadata.uid) == ("ml", "u1")

    async def run() -> None:
        async with asking(generation) as asked:
            asked.planned(GROUPS, "u1")
            assert await asked.autoscaler.raw("BestOptions", question) == b"\x0a\x0a" + option
            asked.planned({"cluster-autoscaler/big": PlannedGroup(price=1)}, "u1")
            assert await asked.autoscaler.raw("BestOptions", question) == b""
            asked.planned({"cluster-autoscaler/big": PlannedGroup(price=1)}, "u2")
            assert await asked.autoscaler.raw("BestOptions", question) == b"\x0a\x0a" + option

    asyncio.run(run())


def _pod(uid: str) -> bytes:
    inner = b"\x2a" + bytes([len(uid)]) + uid.encode()
    return b"\x0a" + bytes([len(inner)]) + inner


uids = st.lists(st.sampled_from("abcd"), unique=True, max_size=4)


@given(
    st.dictionaries(st.sampled_from("PQRSTU"), st.tuples(st.integers(1, 3), uids), max_size=6),
    st.dictionaries(st.sampled_from("PQRST"), st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=5),
    uids,
    st.booleans(),
)
def test_the_rule(
    options: dict[str, tuple[int, list[str]]], groups: dict[str, tuple[int, int]], judged: list[str], old: bool
) -> None:
    """In other words: unknown groups stay; of the others those that are wanted, or else those with an unseen Pod."""
    field = "pods_before" if old else "pods"
    plan = Plan({f"cluster-autoscaler/{g}": PlannedGroup(*facts) for g, facts in groups.items()}, set(judged), 0.0)
    asked = [Option(group=g, count=n, **{field: map(_pod, pods)}) for g, (n, pods) in options.items()]
    answer = [option.group for option in best(asked, plan)]
    unknown, wanted = options.keys() - groups.keys(), {g for g in options if g in groups and groups[g][1]}
    unseen = {g for g, (_, pods) in options.items() if not pods or set(pods) - set(judged)}
    assert len(answer) == len(set(answer))
    assert set(answer) == unknown | (wanted or unseen)
    prices = [groups[g][0] * options[g][0] for g in answer if g in wanted]
    assert prices == sorted(prices)
    if wanted:
        assert set(answer[: len(wanted)]) == wanted
