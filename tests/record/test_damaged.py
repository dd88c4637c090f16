"""Whatever is in a file: it is done again, or refused with a line and a remedy."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nos.record.reader import RecordError
from nos.record.replay import replay
from tests.record.scenes import SCENE, recorded
from tests.record.test_plans import DOWN, IDLE, UP, WAITS

LINES = recorded(SCENE, [("protect", "none"), *WAITS, *UP, *IDLE, *DOWN])
SIZE = sum(map(len, LINES))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["#", "with", "a"]), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def _damaged(draw: st.DrawFn, said: Any) -> Any:
    """With another value in one place, or without it."""
    if not isinstance(said, dict | list) or not said or draw(st.integers(0, 3)) == 0:
        return draw(values)
    places = list(said) if isinstance(said, dict) else list(range(len(said)))
    place, copy = draw(st.sampled_from(places)), said.copy()
    if draw(st.integers(0, 5)) == 0:
        del copy[place]
    else:
        copy[place] = draw(_damaged(copy[place]))
    return copy


def _refusal(lines: list[bytes]) -> str:
    """Empty where it is taken."""
    try:
        replay(lines)
    except RecordError as error:
        return str(error)
    return ""


def _taken(lines: list[bytes]) -> None:
    assert re.fullmatch(r"|line \d+: .*; .*", _refusal(lines), re.DOTALL)


@settings(deadline=None)
@given(st.data())
def test_another_value_somewhere(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(LINES) - 1))
    line = json.dumps(data.draw(_damaged(json.loads(LINES[number])))).encode()
    _taken([*LINES[:number], line, *LINES[number + 1 :]])


@settings(deadline=None)
@given(st.data())
def test_lines_that_are_missing_or_twice(data: st.DataObject) -> None:
    _taken(data.draw(st.lists(st.sampled_from(LINES), max_size=5)))
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(LINES))] * 2)))
    _taken(LINES[:first] + LINES[last:])
    _taken(LINES[:last] + LINES[first:])


@settings(deadline=None)
@given(st.integers(0, SIZE - 1))
def test_a_file_that_was_cut_anywhere_is_refused(size: int) -> None:
    refusal = _refusal(b"".join(LINES)[:size].splitlines(keepends=True))
    if size < SIZE - 1:  # the last newline alone is no loss
        assert re.fullmatch(r"line \d+: .*; .*", refusal, re.DOTALL)


def test_a_line_that_is_nested_too_deeply() -> None:
    _taken([LINES[0], b'{"edit":' + b"[" * 100_000])
