"""Kubernetes quantities: the grammar, the rounding, the bounds."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nos.kube.quantity import LARGEST, NANO, nano, units


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("1", 1000),
        ("500m", 500),
        ("0.5", 500),
        (".5", 500),
        ("1.", 1000),
        ("1e3", 1_000_000),
        ("+2", 2000),
        ("1u", 1),  # a thousandth of a milli-CPU, rounded up
        ("1n", 1),
        ("0.0001n", 1),  # less than Kubernetes can hold is the least it can
        ("0", 0),
        ("-0", 0),
        ("2k", 2_000_000),
        ("1E3", 1_000_000),
    ],
)
def test_cpu_counts_in_milli(text: str, cpu: int) -> None:
    assert units("cpu", nano(text)) == cpu


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1Ki", 1024),
        ("1.5Gi", 1536 * 2**20),
        ("0.5Ki", 512),
        ("0.3Ki", 308),  # 307.2
        ("128974848", 128_974_848),
        ("129e6", 129_000_000),
        ("129M", 129_000_000),
        ("128974848000m", 128_974_848),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("100m", 1),
        ("1e-1", 1),
    ],
)
def test_all_else_counts_in_whole_units(text: str, amount: int) -> None:
    assert units("memory", nano(text)) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        "m",
        "1mm",
        "1ki",
        "1KI",
        "Ki",
        "1e",
        "1E+",
        "1e1.5",
        "0x10",
        "1_000",
        "\u0661",
        "1.2.3",
        "nan",
        "inf",
        ".",
    ],
)
def test_bad_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        nano(text)


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(ValueError, match="'-1' is negative"):
        nano("-1")


@pytest.mark.parametrize("text", ["9223372036854775808", "10E", "8Ei", "1e30", "1e999999999"])
def test_more_than_kubernetes_holds_is_capped(text: str) -> None:
    assert units("memory", nano(text)) == LARGEST


def test_hostile_lengths_cost_no_time() -> None:
    assert nano("1e-999999999") == 1
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        nano("9" * 1_000_000)


def test_a_sum_is_rounded_once() -> None:
    assert units("memory", nano("500m") + nano("500m")) == 1


_SUFFIXES = {"": 1, "m": Fraction(1, 1000), "k": 1000, "M": 10**6, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(sorted(_SUFFIXES)))
def test_agrees_with_exact_fractions(whole: int, fraction: int, suffix: str) -> None:
    value = Fraction(f"{whole}.{fraction}") * _SUFFIXES[suffix]
    assert nano(f"{whole}.{fraction}{suffix}") == ceil(value * NANO)


@given(st.text("0123456789.+-eEmkKMGi", max_size=12))
def test_anything_is_a_number_or_a_value_error(text: str) -> None:
    try:
        amount = nano(text)
    except ValueError:
        return
    assert 0 <= amount <= LARGEST * NANO
