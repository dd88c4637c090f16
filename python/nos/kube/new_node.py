"""What a node that nos ordered carries: how its GPUs are to be cut, and a taint until they are.

The layout stands on the node, so that whoever leads finds it when the node's agent first reports. The taint keeps those
off who would take a GPU whole that is about to be cut. nos itself looks through it: it knows what is being cut there.
"""

from collections.abc import Sequence

from msgspec.json import encode

from nos.kube.decision import placements
from nos.kube.encode import instance_list
from nos.kube.gpunode import STARTUP_TAINT, Target
from nos.kube.node import Taint


def layout_text(layout: Sequence[Target]) -> str:
    """`0:3g.40gb@4,1:1g.10gb@0`: the instances, by GPU slot. Slots without any stay whole."""
    return instance_list([(slot, *place) for slot, (_, instances) in enumerate(layout) for place in instances])


def layout_of(text: str) -> dict[int, list[tuple[str, int]]]:
    """By GPU slot the profiles and starts that such a text names; nothing where it makes no sense."""
    found: dict[int, list[tuple[str, int]]] = {}
    for slot, profile, start in placements(text):
        found.setdefault(slot, []).append((profile, start))
    return found


def untainted(taints: Sequence[Taint], resource_version: str) -> bytes:
    """A merge patch that takes the startup taint off a node which is still as we know it (else 409)."""
    kept = [
        {"key": t.key, "value": t.value, "effect": t.effect} | ({"timeAdded": t.time_added} if t.time_added else {})
        for t in taints
        if t.key != STARTUP_TAINT
    ]
    return encode({"metadata": {"resourceVersion": resource_version}, "spec": {"taints": kept or None}})
