"""What quotas have had lately, and that it decides between borrowers that are alike otherwise."""

import pytest

from nos import _core
from nos._core import PodLabels, PodSpec, QuotaSpec
from nos.controller.habits import Habits
from nos.controller.ledger import Ledger
from nos.kube.quota_status import Use
from tests.controller.in_loop import in_loop

GPU = "nvidia.com/gpu"


@in_loop
async def test_half_is_forgotten_in_a_half_life() -> None:
    """All of min for 10 s, half-life 10 s: 10. Another 10 s idle: 5. Then twice the min for 10 s: 2.5 + 20."""
    ledger = Ledger("nos-scheduler")
    uses = {"q": Use({GPU: 4}, {GPU: 4}, {})}
    habits = Habits(ledger, half_life=10.0, uses=lambda: uses)
    habits.add(10)
    assert habits.of["q"] == pytest.approx(10)
    uses["q"] = Use({GPU: 0}, {GPU: 4}, {})
    habits.add(10)
    assert habits.of["q"] == pytest.approx(5)
    uses["q"] = Use({GPU: 8}, {GPU: 4}, {})
    habits.add(10)
    assert habits.of["q"] == pytest.approx(22.5)
    del uses["q"]
    habits.add(10)
    assert habits.of == {}


@pytest.mark.parametrize(("first", "later"), [("a", "b"), ("b", "a")])
def test_of_equal_borrowers_the_one_that_had_less_goes_first(first: str, later: str) -> None:
    """a and b guarantee nothing and use nothing; c lends its one GPU."""
    cluster = _core.Cluster()
    cluster.upsert_node("n", _core.NodeSpec({GPU: 1, "pods": 10}))
    for name, least in (("a", 0), ("b", 0), ("c", 1)):
        cluster.upsert_quota(name, QuotaSpec([name], min={GPU: least}))
    for number, name in enumerate("ab"):
        cluster.upsert_pod(name, PodSpec({GPU: 1}), labels=PodLabels(name), arrival=number)
    assert cluster.set_habit(later, 5)
    assert cluster.set_habit(first, 4)
    assert not cluster.set_habit("nobody", 4)
    assert [bind.uid for bind in _core.Scheduler(cluster).schedule().binds] == [first]
