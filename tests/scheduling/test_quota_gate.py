"""Whom quotas let in, and whom they let take back, against the definitions."""

from hypothesis import given, settings

from nos._core import Cluster, Scheduler
from tests.quota_oracle import Quotas
from tests.quota_worlds import build, lending, worlds


def alone(world: Quotas, uid: str) -> Cluster:
    """As if nobody else waited."""
    cluster = build(world)
    for other, pod in world.pods.items():
        if not pod.node and other != uid:
            cluster.remove_pod(other)
    return cluster


@given(worlds())
@settings(max_examples=300)
def test_who_waits_is_let_in_where_its_quota_allows(world: Quotas) -> None:
    for uid in [uid for uid, pod in world.pods.items() if not pod.node]:
        cluster = alone(world, uid)
        refusals = {name: world.refusal(uid, memory) for name, memory in world.nodes.items()}
        outcome = Scheduler(cluster).schedule()
        cluster.check()
        if all(refusals.values()):
            ((waiting, reason),) = outcome.waiting
            assert waiting == uid
            assert reason.code in refusals.values()
            assert reason.message
        else:
            (bind,) = outcome.binds
            assert not refusals[bind.node]


@given(worlds() | worlds(lending))
@settings(max_examples=300)
def test_who_may_be_taken_from(world: Quotas) -> None:
    cluster = build(world)
    scheduler = Scheduler(cluster)
    for uid, pod in world.pods.items():
        for victim, other in world.pods.items():
            if not pod.node and other.node:
                assert scheduler.may_reclaim(uid, victim) == world.may_reclaim(uid, victim), (uid, victim)
