"""Kubernetes quantities, exactly.

In comes the text of a quantity ("1500m", "1.5Gi", "2e3"); out goes an integer number of nano-units, rounded up, which
is the precision that Kubernetes itself keeps. Sums are made in nano-units and only a total is rounded to what the core
counts in (milli-CPU, else whole units), as kube-scheduler does; so two containers of 0.5 bytes are one byte, not two.
No float is involved. Bad grammar and negative amounts raise ValueError; more than an int64 holds is capped there.
"""

import re
from functools import lru_cache

NANO = 10**9
LARGEST = 2**63 - 1

_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d*)(?:\.(?P<fraction>\d*))?"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]?|[eE](?P<exponent>[+-]?\d+))",
    re.ASCII,
)
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_LONGEST = 64  # characters; keeps a hostile "1e999999999" or a million digits from costing time
_EXPONENT_BOUND = 100  # past it a value is either over the cap or under one nano


@lru_cache(maxsize=8192)
def nano(text: str) -> int:
    """The quantity in nano-units, rounded up, at most LARGEST whole units."""
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not (match["whole"] or match["fraction"]):
        raise ValueError(f"{text[:_LONGEST]!r} is not a Kubernetes quantity")
    fraction = match["fraction"] or ""
    digits = int(match["whole"] + fraction)
    if match["sign"] == "-" and digits:
        raise ValueError(f"{text!r} is negative")
    if not digits:
        return 0

    power = 9 - len(fraction)
    if match["exponent"] is not None:
        power += max(-_EXPONENT_BOUND, min(_EXPONENT_BOUND, int(match["exponent"])))
    elif match["suffix"] in _BINARY:
        digits *= _BINARY[match["suffix"]]
    else:
        power += _DECIMAL[match["suffix"]]

    value: int = digits * 10**power if power >= 0 else -(-digits // 10**-power)
    return min(value, LARGEST * NANO)


def units(resource: str, amount: int) -> int:
    """Nano-units of a resource as the core counts it: CPU in milli, all else whole; rounded up, capped at LARGEST."""
    step = NANO // 1000 if resource == "cpu" else NANO
    return min(-(-amount // step), LARGEST)


def text(resource: str, amount: int) -> str:
    """An amount as the core counts it, as people write it: `1500m` or `2` of cpu, `16Gi` of memory."""
    if resource == "cpu":
        return f"{amount}m" if amount % 1000 else str(amount // 1000)
    if amount and (resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-")):
        for suffix, size in reversed(_BINARY.items()):
            if amount % size == 0:
                return f"{amount // size}{suffix}"
    return str(amount)
