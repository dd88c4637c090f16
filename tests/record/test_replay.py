"""What is recorded is decided again alike; what was changed in the file is not."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any
from unittest.mock import Mock, call

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nos import _core
from nos.record import codec
from nos.record.cluster import Recorded
from nos.record.reader import Edit, Reader, RecordError
from nos.record.replay import replay
from tests.record.scenes import GPU, SCENE, recorded, steps

NODE = "node", "n0", 1, ""


@settings(deadline=None)
@example(
    [NODE, ("pod", "u1", 0, 0, "a", ""), ("pod", "u0", 0, 0, "a", "")], [("copy", "n0", False), ("scale up", 1, 1)]
)
@given(st.lists(steps, max_size=20), st.lists(steps, max_size=40))
def test_a_record_is_decided_again_alike(before: list[Any], meanwhile: list[Any]) -> None:
    done = replay(recorded(before, [*meanwhile, ("cycle",)]))
    assert done.differences == []
    assert done.different == 0
    assert done.cycles == 1 + meanwhile.count(("cycle",))


def _changed(lines: list[bytes], was: str, is_: str) -> list[bytes]:
    text = b"".join(lines).decode()
    assert was in text
    return text.replace(was, is_, 1).encode().splitlines(keepends=True)


def test_the_scene_has_all_that_the_next_test_changes() -> None:
    done = replay(recorded([], SCENE))
    # First cycle: 2 of 3 GPUs' Pods bound, one waits: 3. Second: one evicted, one held, and two wait: 4.
    assert (done.cycles, done.decisions, done.different) == (2, 7, 0)


@pytest.mark.parametrize(
    ("was", "is_", "said"),
    [
        ('["u0","n0",[0,1]', '["u0","n0",[1,0]', "Pod u0 was bound to n0, GPUs 1,0, and is now bound to n0, GPUs 0,1"),
        ('"evictions":[["u0","n0"', '"evictions":[["u0","n1"', "Pod u0 was evicted from n1"),
        ('"held":[["u3","n0"]]', '"held":[]', "Pod u3 was not then, and is now, given room on n0"),
        ('"MakingRoom"', '"NoNodes"', "Pod u3 was left waiting with NoNodes"),
        ('"nvidia.com/gpu":2', '"nvidia.com/gpu":1', "cycle 1"),
    ],
)
def test_what_was_changed_in_the_file_is_a_difference(was: str, is_: str, said: str) -> None:
    done = replay(_changed(recorded([], SCENE), was, is_))
    assert done.different
    assert any(said in one for one in done.differences), done.differences


@pytest.mark.parametrize(
    ("was", "is_", "said"),
    [
        ('"nosRecord":1', '"nosRecord":2', "line 1: the format is 2"),
        ('"nosRecord":1', '"other":1', "line 1: this is no record of nos"),
        ('{"edit":"upsert_node"', '{"edit":"check"', "no such edit: check"),
        ('{"#":0}', '{"#":99}', "there is no 99"),
        ('{"end"', '{"and"', "the file is damaged"),
        ('{"checkpoint":1}', '{"checkpoint":7}', "there should be 7 edits before, and are 1"),
        ('{"checkpoint":1}', '{"checkpoint"', "no JSON"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(was: str, is_: str, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        replay(_changed(recorded([], SCENE), was, is_))


def test_what_was_refused_then_and_is_not_now_is_told() -> None:
    lines = recorded([], [*SCENE, ("protect", "none")])
    assert replay(lines).different == 0
    with pytest.raises(RecordError, match=r"line \d+: the core refused this protect and now takes it; record again"):
        replay(_changed(lines, '"uid":"none"', '"uid":"u0"'))


def test_who_went_first_is_a_decision() -> None:
    lines = recorded([], SCENE)
    cycle = json.loads(next(line for line in lines if b'"cycle"' in line))
    assert len(cycle["cycle"]["binds"]) == 2
    other = cycle | {"cycle": cycle["cycle"] | {"binds": cycle["cycle"]["binds"][::-1]}}
    done = replay([json.dumps(other).encode() if b'"cycle"' in line and b'"u0"' in line else line for line in lines])
    assert "Pods were bound in another order" in done.differences[0]


def test_no_more_differences_are_told_than_one_can_read() -> None:
    steps = [("node", "n0", 4, ""), *[("cycle",), ("pod", "u1", 1, 0, "a", ""), ("cycle",), ("pod gone", "u1")] * 12]
    done = replay(_changed(recorded([], steps), '"cpu":8000', '"cpu":10'))
    assert (done.different, len(done.differences)) == (12, 10)


def test_nothing_follows_the_last_line() -> None:
    lines = recorded([], SCENE)
    with pytest.raises(
        RecordError, match=f"line {len(lines) + 1}: something follows the last line; cut the file there"
    ):
        replay([*lines, lines[-2]])


def test_a_writer_forgets_values_and_none_is_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_MOST_VALUES", 3)
    specs = [_core.NodeSpec({"cpu": 1000 + number}) for number in range(9)]
    order = [0, 1, 2, 3, 4, 0, 1, 5, 0, 6, 7, 0, 8, 8, 1, 2, 0]
    writer = codec.Writer()
    lines = [codec.first_line("nos")]
    for place, number in enumerate(order):
        lines += writer.edit("upsert_node", {"name": f"n{place}", "spec": specs[number]}, 0.0).splitlines()
    edits = [event for event in Reader([*lines, codec.last_line("x")]) if isinstance(event, Edit)]
    assert [edit.arguments["spec"] for edit in edits] == [specs[number] for number in order]
    numbers = [json.loads(line)["value"] for line in lines if b'"value"' in line]
    assert max(numbers) <= 3  # given anew


def test_a_file_that_was_cut_off_is_told() -> None:
    with pytest.raises(RecordError, match="the last line is missing"):
        replay(recorded([], SCENE)[:-1])
    with pytest.raises(RecordError, match="no record"):
        replay([])


def test_equal_values_are_written_once() -> None:
    lines = [json.loads(line) for line in recorded([], SCENE)]
    specs = [line["PodSpec"]["requests"][GPU] for line in lines if "PodSpec" in line]
    assert sorted(specs) == [1, 2]


def test_copies_are_not_recorded() -> None:
    cluster = Recorded()
    listener = Mock()
    cluster.listen(listener)
    cluster.remove_pod("u")
    cluster.copy().remove_pod("u")
    assert listener.method_calls == [call.edit(("remove_pod", ("u",), {}), refused=False)]


def test_who_has_left_is_told_no_more_and_the_others_are() -> None:
    cluster, stays, leaves = Recorded(), Mock(), Mock()
    plain = set(vars(cluster))
    cluster.listen(leaves)
    cluster.listen(stays)
    cluster.leave(leaves)
    cluster.remove_pod("u")
    cluster.leave(stays)
    cluster.leave(stays)
    cluster.remove_pod("v")
    assert leaves.method_calls == []
    assert stays.method_calls == [call.edit(("remove_pod", ("u",), {}), refused=False)]
    assert set(vars(cluster)) == plain  # edits are the core's own again


def test_a_copy_to_plan_on_goes_at_once() -> None:
    gc.disable()
    try:
        copy = Recorded().what_if()
        copy.remove_pod("u")
        gone = weakref.ref(copy)
        del copy
        assert gone() is None
    finally:
        gc.enable()
