"""Quantities of resources, as the core counts them."""

from collections.abc import Mapping

from nos.kube.quantity import nano, units
from nos.kube.requests import Resources

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-"
_MOST = 2**50  # of any resource, as far as the core counts
_MOST_GPUS = 65_535


def amounts(quantities: Mapping[str, str] | None) -> Resources | None:
    """In nano-units. ValueError names the resource whose quantity is none."""
    if quantities is None:
        return None
    found = {}
    for resource, text in quantities.items():
        try:
            found[resource] = nano(text)
        except ValueError as error:
            raise ValueError(f"{resource}: {error}") from None
    return found


def rounded(amounts: Resources) -> dict[str, int]:
    """In the core's units."""
    return {resource: units(resource, amount) for resource, amount in amounts.items()}


def countable(requests: Mapping[str, int]) -> dict[str, int]:
    """As much of each as the core can count."""
    return {r: min(amount, _MOST_GPUS if r == GPU else _MOST) for r, amount in requests.items()}
