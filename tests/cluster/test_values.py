"""What goes into the core by value comes out again, argument by argument, and makes an equal value."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos import _core
from nos._core import NodeSpec, PodSpec
from tests.cluster.values import VALUES

# Those that have a constructor with arguments and yet are no values.
ACTORS = {_core.Scheduler}


def arguments(value_type: type) -> list[str]:
    """Of its constructor, as pybind11 tells them; none when there is no constructor."""
    told = re.match(r"__init__\(self: [\w.]+(.*)\) -> None", value_type.__init__.__doc__ or "")
    inside = re.sub(r"\[[^\[\]]*(\[[^\[\]]*(\[[^\[\]]*\][^\[\]]*)*\][^\[\]]*)*\]", "", told.group(1) if told else "")
    return re.findall(r", (\w+): ", inside)


def rebuilt(value: object) -> object:
    return type(value)(**{name: getattr(value, name) for name in type(value).__match_args__})


def test_every_class_that_is_made_of_arguments_gives_them_back():
    classes = {made for made in vars(_core).values() if isinstance(made, type) and arguments(made)}
    assert classes - ACTORS == set(VALUES)
    for value_type in VALUES:
        assert list(value_type.__match_args__) == arguments(value_type), value_type


@pytest.mark.parametrize("value_type", VALUES, ids=lambda value_type: value_type.__name__)
def test_what_is_made_of_its_parts_is_equal(value_type):
    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def holds(data):
        value, other = data.draw(VALUES[value_type]), data.draw(VALUES[value_type])
        again = rebuilt(value)
        assert again == value
        parts = {name: getattr(value, name) for name in value_type.__match_args__}
        assert {name: getattr(again, name) for name in parts} == parts
        # Equal parts and equal values are the same thing: no argument is left out of either.
        assert (value == other) == all(getattr(other, name) == part for name, part in parts.items())
        if value_type.__hash__:
            assert hash(again) == hash(value)

    holds()


def test_an_image_is_the_same_by_its_name_and_by_what_stands_for_it():
    """FNV-1a of 64 bits, as its authors publish it: of "a" it is af63dc4c8601ec8c."""
    node = NodeSpec({}, images={"a": 5})
    assert node.images == {"#af63dc4c8601ec8c": 5}
    assert NodeSpec({}, images={"#af63dc4c8601ec8c": 5}) == node
    # Digits that are none, or too few of them, are a name like any other.
    assert NodeSpec({}, images={"#af63dc4c8601ec8x": 5}).images.keys() != {"#af63dc4c8601ec8x"}
    assert NodeSpec({}, images={"#af63": 5}).images.keys() != {"#af63"}


def test_requests_for_nothing_are_left_out():
    assert PodSpec({"example.com/x": 0, "cpu": 0}) == PodSpec({})
    assert PodSpec({"example.com/x": 0, "cpu": 1}).requests == {"cpu": 1}
