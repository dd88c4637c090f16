"""A record that begins late: what the scores have learned from hundreds of Pods before is no part of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nos import _core
from nos.record.replay import replay
from tests.cut_gpus import MODELS
from tests.record.scenes import GPU, recorded

ROOM = {"cpu": 32_000, "memory": 1 << 40, "pods": 110}
SHARES = 200, 300, 400, 500, 700
PROFILES = "1g.5gb", "2g.10gb", "3g.20gb"


def _nodes() -> Iterator[tuple[str, Callable[[Any], object]]]:
    for number in range(6):
        spec = _core.NodeSpec(ROOM | {GPU: 8})
        yield "do", lambda cluster, name=f"whole{number}", spec=spec: cluster.upsert_node(name, spec)
    for number in range(3):
        cut = _core.NodeSpec(ROOM | {GPU: 4}, gpus=[_core.GpuSpec(MODELS["a100-40gb"].core, mig=True)] * 4)
        yield "do", lambda cluster, name=f"cut{number}", spec=cut: cluster.upsert_node(name, spec)


def _pod(chance: random.Random, drift: float) -> _core.PodSpec:
    """drift: from small ones at 0 to large ones at 1."""
    cpu, kind = chance.choice([500, 1000, 2000, 4000]), chance.random()
    if kind < 0.4:
        return _core.PodSpec({"cpu": cpu}, gpu_share_milli=SHARES[min(4, int(chance.random() * 2 + drift * 3))])
    if kind < 0.8:
        profile = PROFILES[min(2, int(chance.random() * 1.5 + drift * 1.5))]
        return _core.PodSpec({"cpu": cpu, f"nvidia.com/mig-{profile}": 1})
    return _core.PodSpec({"cpu": cpu, GPU: chance.choice([1, 2] if drift < 0.5 else [2, 4, 8])})


def _life(chance: random.Random, first: int, pods: int, drift: Callable[[float], float]) -> Iterator[tuple[Any, ...]]:
    """Pods come, and those that came longest ago go. Now and then somebody looks at the dashboard, and nodes are
    planned."""
    for number in range(first, first + pods):
        uid, spec = f"p{number:04}", _pod(chance, drift((number - first) / pods))
        yield "do", lambda cluster, uid=uid, spec=spec, at=number: cluster.upsert_pod(uid, spec, arrival=at)
        if number >= 60:
            yield "do", lambda cluster, gone=f"p{number - 60:04}": cluster.remove_pod(gone)
        if chance.random() < 0.2:
            yield ("look",)
        if chance.random() < 0.1:
            yield ("cycle",)
        if chance.random() < 0.05:
            yield ("copy", "", False)
            yield ("scale up", 4, 2) if chance.random() < 0.5 else ("scale down", True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("score", ["nos", "fgd", "best-fit", "first-fit"])
def test_a_record_that_begins_late_is_decided_again_alike(score: str, seed: int) -> None:
    chance = random.Random(seed)
    before = [*_nodes(), *_life(chance, 0, 600, lambda part: part)]
    meanwhile = list(_life(chance, 600, 300, lambda part: int(part * 12) % 2))
    done = replay(recorded(before, meanwhile, score))
    assert done.differences == []
    assert done.cycles == meanwhile.count(("cycle",)) > 15
    assert done.plans == meanwhile.count(("copy", "", False)) > 5


@pytest.mark.parametrize("of_three", range(200, 450, 20))
def test_prices_of_geometry_that_have_not_moved_noticeably_are_forgotten(of_three: int) -> None:
    """A 1g.5gb costs room for a 2g.10gb at 6 and for a 3g.20gb at 2. 1000 of the former have come, then 80 more, which
    is less than an eighth: prices stay. Between 334 and 359 of the latter that decides where it goes."""
    one, two, three = (_core.PodSpec({f"nvidia.com/mig-{profile}": 1}) for profile in PROFILES)
    model = MODELS["a100-40gb"].core
    taken = [_core.GpuSpec(model, mig=True, instances=[("2g.10gb", 0, True, "stranger")])]
    empty, used = (_core.NodeSpec(ROOM | {GPU: 1}, gpus=gpus) for gpus in ([_core.GpuSpec(model, mig=True)], taken))

    def edits(*edits: Callable[[Any], object]) -> list[tuple[str, Any]]:
        return [("do", edit) for edit in edits]

    before = edits(
        lambda cluster: cluster.upsert_node("empty", empty),
        lambda cluster: cluster.upsert_node("used", used),
        lambda cluster: cluster.expect(one, 100),
        lambda cluster: cluster.expect(two, 1000),
        lambda cluster: cluster.expect(three, of_three),
        lambda cluster: cluster.upsert_pod("first", one),
    )
    before += [("cycle",), *edits(lambda cluster: cluster.remove_pod("first"), lambda cluster: cluster.expect(two, 80))]
    done = replay(recorded(before, [*edits(lambda cluster: cluster.upsert_pod("second", one)), ("cycle",)]))
    assert (done.differences, done.decisions) == ([], 1)
