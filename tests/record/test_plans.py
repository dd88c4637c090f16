"""What was planned on copies of the Cluster, nodes to order and to remove, is planned again alike."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from nos.record.cluster import Recorded
from nos.record.reader import RecordError
from nos.record.replay import replay
from nos.record.scrub import scrub
from tests.record.scenes import recorded

# u1 wants two GPUs and n0 has one: a node of two is ordered, at 3 beside 9 for one of eight. Then u1 is on n2, which
# costs 40, though n1 has room for it; and n0, which costs 10 and has u2 alone, is worth less than a new node at 2.
WAITS = [("node", "n0", 1, ""), ("pod", "u1", 2, 0, "a", ""), ("cycle",)]
UP = [("copy", "n1", False), ("scale up", 2, 1)]
IDLE = [
    ("node", "n2", 4, ""),
    ("pod", "u2", 1, 0, "a", ""),
    ("cycle",),
    ("echo", "u1"),
    ("echo", "u2"),
    ("node", "n1", 2, ""),
]
DOWN = [("copy", "n0", False), ("scale down", True)]


def _plans(lines: list[bytes]) -> list[dict[str, Any]]:
    return [said for line in lines if "plan" in (said := json.loads(line))]


def test_nodes_that_are_ordered_and_removed_are_planned_again() -> None:
    lines = recorded([], [*WAITS, *UP, *IDLE, *DOWN])
    up, down = _plans(lines)
    assert [(group, pods) for group, pods, _ in up["decided"]["nodes"]] == [("pool/2", ["u1"])]
    assert up["decided"]["price"] == 3
    moved, exchanged = down["decided"]["steps"]
    assert moved == [["n2"], [["u1", "n1"]], [], 40]
    assert exchanged == [["n0"], [["u2", "#0"]], [["pool/1", ["u2"], []]], 10 - 2]
    done = replay(lines)
    assert (done.cycles, done.plans, done.different) == (2, 2, 0)


def test_a_plan_is_about_when_the_copy_was_made_and_with_its_own_edits() -> None:
    late = [("copy", "n1", True), ("pod gone", "u1"), ("cycle",), ("scale up", 2, 1)]
    lines = recorded([], [*WAITS, *late])
    (up,) = _plans(lines)
    # On the copy u1 is still there, and so is a node of four that is on its way.
    assert (up["decided"]["nodes"], [bind[:2] for bind in up["decided"]["binds"]]) == ([], [["u1", "n1"]])
    assert replay(lines).different == 0
    unedited = [json.dumps(json.loads(line) | {"edits": []}).encode() if b'"plan"' in line else line for line in lines]
    done = replay(unedited)
    assert done.different == 1
    assert "scale_up" in done.differences[0]
    assert '[["pool/2",["u1"],[]]] now' in done.differences[0]


def test_what_was_planned_on_a_copy_from_before_the_record_is_not_in_it() -> None:
    lines = recorded([*WAITS, ("copy", "n1", False)], [("scale up", 2, 1), ("cycle",)])
    assert _plans(lines) == []
    assert replay(lines).plans == 0


def test_a_plan_is_made_with_the_score_of_the_record() -> None:
    """First fit takes the first node, nos the one whose last GPU it is: on the other a set of four stays whole."""
    steps = [("node", "n0", 4, ""), ("node", "n1", 1, ""), ("pod", "u1", 1, 0, "a", ""), *UP]
    for score, node in ("first-fit", "n0"), ("nos", "n1"):
        lines = recorded([("pod", "u9", 4, 0, "a", "")], steps, score)
        (up,) = _plans(lines)
        assert ["u1", node] in [bind[:2] for bind in up["decided"]["binds"]]
        assert replay(lines).different == 0


def test_who_is_not_helped_is_on_record_and_why() -> None:
    lines = recorded([], [("node", "n0", 1, ""), ("pod", "u1", 9, 0, "a", ""), *UP])
    (up,) = _plans(lines)
    ((uid, why),) = up["decided"]["left"]
    assert (uid, "nvidia.com/gpu" in why) == ("u1", True)
    assert replay(lines).different == 0
    assert replay([line.replace(why.encode(), b"another why") for line in lines]).different == 1


def test_what_a_copy_refuses_is_no_edit_of_it() -> None:
    copy = Recorded().what_if()
    with pytest.raises(KeyError):
        copy.protect("nobody", True)
    copy.remove_pod("u1")
    assert copy.made == [("remove_pod", ("u1",), {})]


def test_names_of_groups_and_limits_are_scrubbed() -> None:
    scrubbed, lines = BytesIO(), recorded([], [*WAITS, *UP, ("happened",), *IDLE, *DOWN])
    (happened,) = [said for line in lines if "happened" in (said := json.loads(line))]
    assert (happened["happened"], happened["to"]) == ("NodesOrdered", "pool/2")
    assert replay(lines).different == 0
    scrub(BytesIO(b"".join(lines)), scrubbed)
    assert b"pool" not in scrubbed.getvalue()
    assert b"ordered" not in scrubbed.getvalue()
    lines = scrubbed.getvalue().splitlines()
    done = replay(lines)
    assert (done.plans, done.different) == (2, 0)
    assert [len(plan["decided"].get("nodes", ())) for plan in _plans(lines)] == [1, 0]


@pytest.mark.parametrize(
    ("was", "is_", "said"),
    [
        ('"plan":"scale_up"', '"plan":"scale"', "no such plan: scale"),
        ('"on":1', '"on":9', "there is no copy 9"),
        ('"pool/gpus":12', '"pool/cpus":12', "the core refuses scale_up"),
    ],
)
def test_a_damaged_plan_is_told_with_its_line(was: str, is_: str, said: str) -> None:
    text = b"".join(recorded([], [*WAITS, *UP])).decode()
    assert text.count(was) == 1
    with pytest.raises(RecordError, match=rf"line \d+: .*{said}"):
        replay(text.replace(was, is_).encode().splitlines())


def test_nothing_is_planned_twice_on_a_copy() -> None:
    lines = recorded([], [*WAITS, *UP])
    with pytest.raises(RecordError, match=f"line {len(lines)}: there is no copy 1"):
        replay([*lines[:-1], lines[-2], lines[-1]])
