"""What is easy to get wrong about volumes, each case with the answer.

From the documentation of Kubernetes and from its source; that kube-scheduler gives these answers is tested too.
"""

from __future__ import annotations

from tests.e2e.case import Case, node
from tests.e2e.neighbours import ZONE, place
from tests.e2e.stored import (
    CLASS,
    DRIVER,
    NOBODY_MAKES,
    bound,
    claim,
    on_its_own,
    storage_class,
    using,
    volume,
)

_NODES = {"a1": place("a", "a1"), "a2": place("a", "a2"), "b1": place("b", "b1"), "bare": place("", "bare")}
_ALL = set(_NODES)
_IN_A, _IN_B = [(ZONE, "In", ["a"])], [(ZONE, "In", ["b"])]
_TOPOLOGY, _OLD = "topology.kubernetes.io/", "failure-domain.beta.kubernetes.io/"
_LABELLED = {
    name: {**node(), "metadata": {"labels": labels}}
    for name, labels in {
        "a": {f"{_TOPOLOGY}zone": "*a", f"{_TOPOLOGY}region": "*r"},
        "b": {f"{_TOPOLOGY}zone": "*b", f"{_TOPOLOGY}region": "*r"},
        "old": {f"{_OLD}zone": "*a"},
        "region": {f"{_TOPOLOGY}region": "*r"},
        "bare": {},
    }.items()
}

_BOUND = [
    Case("bound", using("data"), _NODES, _ALL, storage=bound("data")),
    Case("bound-to-a-zone", using("data"), _NODES, {"a1", "a2"}, storage=bound("data", on=[_IN_A])),
    Case("bound-to-either", using("data"), _NODES, {"a1", "a2", "b1"}, storage=bound("data", on=[_IN_A, _IN_B])),
    Case(
        "bound-to-two-that-do-not-meet",
        using("data", "more"),
        _NODES,
        set(),
        storage=[*bound("data", on=[_IN_A]), *bound("more", on=[_IN_B])],
    ),
    Case(
        "bound-to-two-that-meet",
        using("data", "more"),
        _NODES,
        {"a1"},
        storage=[*bound("data", on=[_IN_A]), *bound("more", on=[[("*host", "In", ["a1", "b1"])]])],
    ),
    Case("a-claim-that-is-not-there", using("data"), _NODES, set()),
    Case("a-volume-that-is-not-there", using("data"), _NODES, set(), storage=[claim("data", "data")]),
    Case("bound-for-reading-by-many", using("data"), _NODES, _ALL, storage=bound("data", modes=["ReadOnlyMany"])),
]

_ZONES = [
    Case(
        "zone-of-a-volume",
        using("data"),
        _LABELLED,
        {"a", "bare"},  # the node with the old label has none of the new name, and some label of a place
        storage=bound("data", labels={f"{_TOPOLOGY}zone": "*a"}),
    ),
    Case(
        "old-zone-of-a-volume",
        using("data"),
        _LABELLED,
        {"a", "old", "bare"},
        storage=bound("data", labels={f"{_OLD}zone": "*a"}),
    ),
    Case(
        "region-of-a-volume",
        using("data"),
        _LABELLED,
        {"a", "b", "region", "bare"},
        storage=bound("data", labels={f"{_TOPOLOGY}region": "*r"}),
    ),
    Case(
        "zone-and-region-of-a-volume",
        using("data"),
        _LABELLED,
        {"b", "bare"},
        storage=bound("data", labels={f"{_TOPOLOGY}region": "*r", f"{_TOPOLOGY}zone": "*b"}),
    ),
    Case(
        "several-zones-of-a-volume",
        using("data"),
        {name: {**node(), "metadata": {"labels": {f"{_TOPOLOGY}zone": f"several-{name}"}}} for name in ("a", "b", "c")},
        {"a", "b"},
        storage=bound("data", labels={f"{_TOPOLOGY}zone": "several-a__several-b"}),
    ),
]

_UNBOUND = [
    Case(
        "at-once-but-not-yet",
        using("data"),
        _NODES,
        set(),
        storage=[storage_class(waits=False), claim("data", cls=CLASS)],
    ),
    Case("a-class-that-is-not-there", using("data"), _NODES, set(), storage=[claim("data", cls=CLASS)]),
    Case("made-anywhere", using("data"), _NODES, _ALL, storage=[storage_class(), claim("data", cls=CLASS)]),
    Case(
        "made-in-a-zone",
        using("data"),
        _NODES,
        {"a1", "a2"},
        storage=[storage_class(only_in={ZONE: ["a", "c"]}), claim("data", cls=CLASS)],
    ),
    Case("made-by-nobody", using("data"), _NODES, set(), storage=[NOBODY_MAKES, claim("data", cls=CLASS)]),
    Case(
        "there-already",
        using("data"),
        _NODES,
        {"a1", "a2"},
        storage=[NOBODY_MAKES, claim("data", cls=CLASS), volume("one", cls=CLASS, on=[_IN_A])],
    ),
    Case(
        "there-or-made",
        using("data"),
        _NODES,
        {"a1", "a2", "b1"},
        storage=[storage_class(only_in={ZONE: ["b"]}), claim("data", cls=CLASS), volume("one", cls=CLASS, on=[_IN_A])],
    ),
    Case(
        "there-but-too-small",
        using("data"),
        _NODES,
        set(),
        storage=[NOBODY_MAKES, claim("data", cls=CLASS, size="2Gi"), volume("one", cls=CLASS)],
    ),
    Case(
        "there-but-of-another-class",
        using("data"),
        _NODES,
        set(),
        storage=[NOBODY_MAKES, claim("data", cls=CLASS), volume("one", cls="*other")],
    ),
    Case(
        "there-but-not-for-writing-by-many",
        using("data"),
        _NODES,
        set(),
        storage=[NOBODY_MAKES, claim("data", cls=CLASS, modes=["ReadWriteMany"]), volume("one", cls=CLASS)],
    ),
    Case(
        "there-but-a-block-device",
        using("data"),
        _NODES,
        set(),
        storage=[
            NOBODY_MAKES,
            claim("data", cls=CLASS),
            volume("one", cls=CLASS, driver=DRIVER, volumeMode="Block"),
        ],
    ),
    Case(
        "there-but-promised-to-another",
        using("data"),
        _NODES,
        {"b1"},
        storage=[
            NOBODY_MAKES,
            claim("data", cls=CLASS),
            volume("one", "other", cls=CLASS, on=[_IN_A]),
            volume("two", cls=CLASS, on=[_IN_B]),
        ],
    ),
    Case(
        "chosen-by-labels",
        using("data"),
        _NODES,
        {"b1"},
        storage=[
            NOBODY_MAKES,
            claim("data", cls=CLASS, selector={"matchLabels": {"disk": "fast"}}),
            volume("one", cls=CLASS, on=[_IN_A], labels={"disk": "slow"}),
            volume("two", cls=CLASS, on=[_IN_B], labels={"disk": "fast"}),
        ],
    ),
    # Each claim needs a volume of its own: two are in a, one in b.
    Case(
        "two-claims-two-volumes",
        using("data", "more"),
        _NODES,
        {"a1", "a2"},
        storage=[
            NOBODY_MAKES,
            claim("data", cls=CLASS, size="1Gi"),
            claim("more", cls=CLASS, size="2Gi"),
            volume("one", cls=CLASS, size="2Gi", on=[_IN_A]),
            volume("two", cls=CLASS, size="3Gi", on=[_IN_A]),
            volume("three", cls=CLASS, size="4Gi", on=[_IN_B]),
        ],
    ),
    # The smaller claim chooses first, and takes the smallest volume: so the larger one's is left.
    Case(
        "the-smaller-claim-chooses-first",
        using("more", "data"),
        _NODES,
        {"a1", "a2"},
        storage=[
            NOBODY_MAKES,
            claim("data", cls=CLASS, size="1Gi"),
            claim("more", cls=CLASS, size="3Gi"),
            volume("one", cls=CLASS, size="4Gi", on=[_IN_A]),
            volume("two", cls=CLASS, size="2Gi", on=[_IN_A]),
        ],
    ),
    # Kubernetes does not look for the best way to serve both: the first takes what only the second could use.
    Case(
        "the-first-takes-what-the-second-needs",
        using("data", "more"),
        _NODES,
        set(),
        storage=[
            NOBODY_MAKES,
            claim("data", cls=CLASS, size="1Gi"),
            claim("more", cls=CLASS, size="2Gi", selector={"matchLabels": {"disk": "fast"}}),
            volume("one", cls=CLASS, size="2Gi", labels={"disk": "fast"}),
            volume("two", cls=CLASS, size="3Gi"),
        ],
    ),
    Case(
        "bound-and-unbound",
        using("data", "more"),
        _NODES,
        {"a2"},
        storage=[
            *bound("data", on=[_IN_A]),
            storage_class(only_in={"*host": ["a2", "b1"]}),
            claim("more", cls=CLASS),
        ],
    ),
    Case(
        "its-node-is-chosen-already",
        using("data"),
        _NODES,
        {"a2"},
        storage=[
            storage_class(),
            {
                **claim("data", cls=CLASS),
                "metadata": {
                    "name": "*data",
                    "namespace": "same-verdicts",
                    "annotations": {"volume.kubernetes.io/selected-node": "a2"},
                },
            },
        ],
    ),
    Case(
        "an-ephemeral-volume",
        on_its_own(CLASS),
        _NODES,
        {"b1"},
        storage=[storage_class(only_in={ZONE: ["b"]})],
    ),
]

VOLUMES: list[Case] = [*_BOUND, *_ZONES, *_UNBOUND]
