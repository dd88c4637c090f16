"""Who gets which namespace, who is whose parent, and what is said of quotas that contradict each other."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nos.controller.quota_claims import Counted, Verdict, resolve
from nos.kube.quota import COMPOSITE, ELASTIC, Metadata, Quota, Spec
from tests.sentences import assert_sentences


def quota(key: str, *namespaces: str, age: int = 0, uid: str = "", **spec: Any) -> Quota:
    """A composite where it has namespaces, or is to have none: `-`. age: the older, the larger."""
    kind = COMPOSITE if namespaces else ELASTIC
    namespace, _, name = key.partition("/")
    created = f"2026-11-{25 - age:02}T00:00:00Z"
    metadata = Metadata(name, namespace, uid or f"{kind} {key}", creation_timestamp=created)
    claimed = tuple(n for n in namespaces if n != "-") or None
    return Quota(kind, metadata, Spec(namespaces=claimed, **spec))


def counted(verdicts: Mapping[str, Verdict], name: str) -> Counted:
    found = verdicts[name].counted
    assert found is not None
    return found


def test_quotas_that_agree_count_as_they_are() -> None:
    plain = quota("a/q", min={"cpu": 1}, max={"cpu": 2})
    both = quota("teams/q", "b", "c", min={"nvidia.com/gpu": 4})
    assert resolve([plain, both]) == {
        "ElasticQuota a/q": Verdict(Counted(("a",), {"cpu": 1000}, {"cpu": 2000}), True, "Counting", ""),
        "CompositeElasticQuota teams/q": Verdict(Counted(("b", "c"), {"nvidia.com/gpu": 4}, {}), True, "Counting", ""),
    }


def test_a_composite_goes_before_an_older_plain_one() -> None:
    verdicts = resolve([quota("a/q", age=9), quota("teams/q", "a", "b")])
    assert counted(verdicts, "CompositeElasticQuota teams/q").namespaces == ("a", "b")
    loser, winner = verdicts["ElasticQuota a/q"], verdicts["CompositeElasticQuota teams/q"]
    assert (loser.counted, loser.ready, loser.reason) == (None, False, "NamespaceTaken")
    assert loser.message == ("Namespace a counts under CompositeElasticQuota teams/q: take it out of one of the two.")
    assert (winner.ready, winner.reason) == (True, "NamespaceContested")
    assert winner.message == "Namespace a is also in ElasticQuota a/q, where it does not count."


def test_the_older_goes_first_then_the_smaller_uid() -> None:
    verdicts = resolve([quota("t/new", "a", "b"), quota("t/old", "a", age=1), quota("a/x", uid="2"), quota("b/y")])
    assert counted(verdicts, "CompositeElasticQuota t/old").namespaces == ("a",)
    assert counted(verdicts, "CompositeElasticQuota t/new").namespaces == (
        "b",
    )  # it lost one, and counts for the other
    assert not verdicts["CompositeElasticQuota t/new"].ready
    twins = resolve([quota("a/one", uid="2"), quota("a/two", uid="1")])
    assert twins["ElasticQuota a/one"].counted is None
    assert counted(twins, "ElasticQuota a/two").namespaces == ("a",)


def test_one_that_got_nothing_counts_for_nothing_but_one_that_claims_nothing_is_a_group() -> None:
    group = quota("t/group", "-", min={"cpu": 4})
    child = quota("a/q", parent="t/group")
    verdicts = resolve([group, child])
    assert counted(verdicts, group.name) == Counted((), {"cpu": 4000}, {})
    assert counted(verdicts, child.name).parent == group.name
    taken = quota("a/taken", "x", min={"cpu": 4})
    verdicts = resolve([quota("a/winner", "x", age=1), taken, quota("c/q", parent="a/taken")])
    assert verdicts[taken.name].counted is None
    assert counted(verdicts, "ElasticQuota c/q").parent == ""
    assert verdicts["ElasticQuota c/q"].reason == "ParentNotCounted"


def test_a_parent_is_of_either_kind_the_composite_first() -> None:
    child, plain, composite = quota("c/child", parent="a/q"), quota("a/q"), quota("a/q", "b")
    assert counted(resolve([child, plain]), child.name).parent == plain.name
    assert counted(resolve([child, plain, composite]), child.name).parent == composite.name
    namesake = quota("a/q", parent="q")  # of its own name, but not of its kind
    assert counted(resolve([namesake, composite]), namesake.name).parent == composite.name


def test_a_parent_that_is_not_there_is_said() -> None:
    child = quota("a/child", parent="ml")
    verdict = resolve([child])[child.name]
    assert verdict.counted == Counted(("a",), {}, {})
    assert (verdict.ready, verdict.reason) == (False, "ParentNotFound")
    assert "There is no quota a/ml" in verdict.message


def test_a_circle_is_cut_and_said_in_each_of_it() -> None:
    one, two = quota("a/one", parent="b/two"), quota("b/two", parent="c/three")
    three, below = quota("c/three", parent="a/one"), quota("d/below", parent="a/one")
    itself = quota("e/self", parent="self")
    verdicts = resolve([one, two, three, below, itself])
    for quota_ in (one, two, three):
        assert counted(verdicts, quota_.name).parent == ""
        assert (verdicts[quota_.name].ready, verdicts[quota_.name].reason) == (False, "ParentCircle")
        path = "ElasticQuota a/one -> ElasticQuota b/two -> ElasticQuota c/three -> ElasticQuota a/one"
        assert path in verdicts[quota_.name].message
    assert counted(verdicts, below.name).parent == one.name
    assert verdicts[below.name].ready
    assert verdicts[itself.name].reason == "ParentCircle"


def test_mins_of_children_above_the_parents_are_said_at_the_parent() -> None:
    parent = quota("t/ml", "-", min={"nvidia.com/gpu": 8}, max={"nvidia.com/gpu": 10, "cpu": 3})
    between = quota("t/research", "-", parent="ml")
    children = [quota(f"{n}/q", parent="t/research", min={"nvidia.com/gpu": 6, "cpu": 1}) for n in "ab"]
    verdict = resolve([parent, between, *children])[parent.name]
    assert (verdict.ready, verdict.reason) == (False, "MinBelowChildren")  # 6 + 6 = 12 > 8, cpu 1 + 1 = 2 <= 3
    assert (
        "The mins of its children add up to 12 of nvidia.com/gpu, its own min is 8: their sum counts" in verdict.message
    )
    assert "12 of nvidia.com/gpu, its max is 10, which holds" in verdict.message
    assert "cpu" not in verdict.message
    raised = quota("t/ml", "-", min={"nvidia.com/gpu": 12}, max={"nvidia.com/gpu": 12})
    assert all(v.ready for v in resolve([raised, between, *children]).values())


def test_an_amount_without_sense_is_said_and_the_rest_counts() -> None:
    broken = quota("a/q", min={"nvidia.com/gpu": "0.5", "cpu": 1})
    verdict = resolve([broken])[broken.name]
    assert verdict.counted == Counted(("a",), {"cpu": 1000}, {})
    assert (verdict.ready, verdict.reason) == (False, "InvalidAmount")


NAMES = st.sampled_from("abcd")
KEYS = st.builds("{}/{}".format, NAMES, NAMES)
AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "nvidia.com/gpu"]), st.integers(-1, 9) | st.sampled_from(["1.5", "x"])
)


@st.composite
def crowds(draw: st.DrawFn) -> list[Quota]:
    found = {}
    for _ in range(draw(st.integers(0, 9))):
        namespaces = draw(st.lists(NAMES | st.just("-"), max_size=3, unique=True))
        parent = draw(st.just("") | NAMES | KEYS)
        one = quota(
            draw(KEYS), *namespaces, age=draw(st.integers(0, 2)), min=draw(AMOUNTS), max=draw(AMOUNTS), parent=parent
        )
        found[one.name] = one
    return list(found.values())


@given(crowds(), st.randoms(use_true_random=False))
def test_whatever_the_quotas_what_counts_makes_sense(crowd: list[Quota], chance: random.Random) -> None:
    verdicts = resolve(crowd)
    shuffled = list(crowd)
    chance.shuffle(shuffled)
    assert resolve(shuffled) == verdicts

    counts = {name: verdict.counted for name, verdict in verdicts.items() if verdict.counted}
    claimed = {namespace for one in crowd for namespace in one.namespaces}
    given = [namespace for one in counts.values() for namespace in one.namespaces]
    assert sorted(given) == sorted(claimed)  # each to one quota
    for name, one in counts.items():
        ancestors = [name]
        while parent := counts[ancestors[-1]].parent:  # KeyError: its parent does not count
            assert parent not in ancestors
            ancestors.append(parent)
        assert all(amount >= 0 for amount in (*one.min.values(), *one.max.values()))
        assert all(one.min.get(resource, 0) <= most for resource, most in one.max.items())
    for one in crowd:
        verdict = verdicts[one.name]
        held = verdict.counted.namespaces if verdict.counted else ()
        if set(held) != set(one.namespaces):
            assert not verdict.ready
        if verdict.reason != "Counting":
            assert_sentences(verdict.message)
        rivals = [other for other in crowd if other is not one and set(other.namespaces) & set(one.namespaces)]
        for rival in rivals:  # both say it
            assert rival.name in verdict.message or not verdict.ready
