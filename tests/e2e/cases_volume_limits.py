"""What is easy to get wrong about how much storage there is, and who may use it, each case with the answer.

From the documentation of Kubernetes and from its source; that kube-scheduler gives these answers is tested too.
"""

from __future__ import annotations

from tests.e2e.case import Case
from tests.e2e.neighbours import ZONE, place
from tests.e2e.stored import (
    CLASS,
    DRIVER,
    attachment,
    bound,
    capacity,
    claim,
    csi_driver,
    csi_node,
    storage_class,
    using,
)
from tests.e2e.world import Object, Resident

_NODES = {"a1": place("a", "a1"), "a2": place("a", "a2"), "b1": place("b", "b1"), "bare": place("", "bare")}
_ALL = set(_NODES)

_TRACKED = [csi_driver(storageCapacity=True), storage_class(), claim("data", cls=CLASS, size="5Gi")]
_A = {"matchLabels": {ZONE: "a"}}
_CAPACITY = [
    Case("no-capacity-said", using("data"), _NODES, set(), storage=_TRACKED),
    Case("capacity-in-a-zone", using("data"), _NODES, {"a1", "a2"}, storage=[*_TRACKED, capacity("one", _A, "5Gi")]),
    Case("too-little-capacity", using("data"), _NODES, set(), storage=[*_TRACKED, capacity("one", _A, "4Gi")]),
    Case(
        "capacity-but-no-volume-so-large",
        using("data"),
        _NODES,
        set(),
        storage=[*_TRACKED, capacity("one", _A, "100Gi", largest="4Gi")],
    ),
    Case("capacity-unsaid", using("data"), _NODES, set(), storage=[*_TRACKED, capacity("one", _A, "")]),
    Case("capacity-nowhere", using("data"), _NODES, set(), storage=[*_TRACKED, capacity("one", None, "9Gi")]),
    Case("capacity-everywhere", using("data"), _NODES, _ALL, storage=[*_TRACKED, capacity("one", {}, "9Gi")]),
    Case(
        "capacity-of-another-class",
        using("data"),
        _NODES,
        set(),
        storage=[*_TRACKED, capacity("one", _A, "9Gi", cls="*other")],
    ),
    Case(
        "capacity-that-is-not-tracked",
        using("data"),
        _NODES,
        _ALL,
        storage=[csi_driver(storageCapacity=False), storage_class(), claim("data", cls=CLASS)],
    ),
    # Capacity is looked at for each claim alone, however many there are.
    Case(
        "capacity-for-one-of-two",
        using("data", "more"),
        _NODES,
        {"a1", "a2"},
        storage=[*_TRACKED, claim("more", cls=CLASS, size="4Gi"), capacity("one", _A, "5Gi")],
    ),
]

_ALONE = [
    Case("alone", using("data"), _NODES, _ALL, storage=bound("data", modes=["ReadWriteOncePod"])),
    Case(
        "not-alone",
        using("data"),
        _NODES,
        set(),
        [("a1", Resident(using("data"), ""))],
        bound("data", modes=["ReadWriteOncePod"]),
    ),
    Case(
        "alone-when-the-other-is-done",
        using("data"),
        _NODES,
        _ALL,
        [("a1", Resident(using("data"), "", phase="Succeeded"))],
        bound("data", modes=["ReadWriteOncePod"]),
    ),
    Case(
        "not-alone-while-the-other-is-going",
        using("data"),
        _NODES,
        set(),
        [("a1", Resident(using("data"), "", terminating=True))],
        bound("data", modes=["ReadWriteOncePod"]),
    ),
    Case("many-may", using("data"), _NODES, _ALL, [("a1", Resident(using("data"), ""))], bound("data")),
]


def _limits(**each: int) -> list[Object]:
    return [csi_node(node, limit) for node, limit in each.items()]


_LIMITED = bound("data", driver=DRIVER) + bound("more", driver=DRIVER) + bound("other", driver="*csi2")
_LIMITS = [
    Case("below-the-limit", using("data"), _NODES, _ALL, storage=[*_LIMITED, *_limits(a1=1, a2=1)]),
    Case("limit-of-none", using("data"), _NODES, _ALL - {"a1"}, storage=[*_LIMITED, *_limits(a1=0, a2=1)]),
    Case("no-limit-said", using("data"), _NODES, _ALL, storage=[*_LIMITED, csi_node("a1"), *_limits(a2=1)]),
    Case("two-at-once", using("data", "more"), _NODES, _ALL - {"a1"}, storage=[*_LIMITED, *_limits(a1=1, a2=2)]),
    Case(
        "taken-by-a-neighbour",
        using("data"),
        _NODES,
        _ALL - {"a1"},
        [("a1", Resident(using("more"), "")), ("a2", Resident(using("other"), ""))],
        [*_LIMITED, *_limits(a1=1, a2=1)],
    ),
    Case(
        "shared-with-a-neighbour",
        using("data"),
        _NODES,
        _ALL,
        [("a1", Resident(using("data"), ""))],
        [*_LIMITED, *_limits(a1=1)],
    ),
    Case(
        "taken-twice-counts-once",
        using("data"),
        _NODES,
        _ALL,
        [("a1", Resident(using("more"), "")), ("a1", Resident(using("more"), ""))],
        [*_LIMITED, *_limits(a1=2)],
    ),
    Case(
        "attached-still",
        using("data"),
        _NODES,
        _ALL - {"a1"},
        storage=[*_LIMITED, *_limits(a1=1, a2=1), attachment("more", "a1"), attachment("other", "a2", "*csi2")],
    ),
    Case(
        "attached-and-used-counts-once",
        using("data"),
        _NODES,
        _ALL,
        [("a1", Resident(using("more"), ""))],
        [*_LIMITED, *_limits(a1=2), attachment("more", "a1")],
    ),
    # What is attached already still needs room once more: only what Pods use is known to be the same.
    Case(
        "attached-itself-but-not-used",
        using("data"),
        _NODES,
        _ALL - {"a1"},
        storage=[*_LIMITED, *_limits(a1=1), attachment("data", "a1")],
    ),
    Case(
        "to-be-made-counts",
        using("data"),
        _NODES,
        _ALL - {"a1"},
        storage=[storage_class(), claim("data", cls=CLASS), *_limits(a1=0, a2=1)],
    ),
    Case(
        "an-inline-volume-does-not-count",
        {"spec": {**using()["spec"], "volumes": [{"name": "v", "csi": {"driver": DRIVER}}]}},
        _NODES,
        _ALL,
        storage=_limits(a1=0),
    ),
    Case(
        "a-driver-that-is-not-there",
        using("data"),
        _NODES,
        {"a1", "a2"},
        storage=[csi_driver(preventPodSchedulingIfMissing=True), *_LIMITED, csi_node("a1"), csi_node("a2", 1)],
    ),
    Case(
        "a-driver-that-is-not-there-and-nobody-minds",
        using("data"),
        _NODES,
        _ALL,
        storage=[csi_driver(), *_LIMITED, csi_node("a1"), csi_node("a2", 1, "*csi2")],
    ),
]

VOLUME_LIMITS: list[Case] = [*_CAPACITY, *_ALONE, *_LIMITS]
