"""Whatever the events were, the ledger holds what one would that had only listed what is there now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nos.controller.ledger import Ledger
from tests.controller.test_ledger import node, synced
from tests.controller.test_ledger_facts import GATED, OTHERS, namespace, pod
from tests.controller.test_spread_defaults import replica_set, service

LEAVING = {"deletionTimestamp": "2026-11-23T00:00:00Z"}
OWNED = {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "controller": True}]}

# What a Pod can be. Once it has a node it only leaves.
WITHOUT_NODE: list[dict[str, Any]] = [
    {},
    {"labels": {"app": "web"}},
    OWNED,
    {"gpus": 2, "labels": {"app": "web", "tier": "front"}, **OWNED},
    {"nominated": "n"},
    LEAVING,
    {"spec": GATED},
    {"spec": GATED, "nominated": "m"},
    {"spec": OTHERS},
    {"spec": OTHERS, "nominated": "n"},
    {"spec": OTHERS, "nominated": "m"},
    {"spec": OTHERS, "nominated": "m", **LEAVING},
]
WITH_NODE: list[dict[str, Any]] = [{"on": "n"}, {"on": "m", "labels": {"app": "web"}}, {"on": "n", **LEAVING}]
GROUPS = [("service", "web", {"app": "web"}), ("service", "all", {}), ("service", "front", {"tier": "front"})]
GROUPS += [("replica_set", "a", {"app": "web"}), ("replica_set", "a", {"hash": "5f"})]


@dataclass
class World:
    """What the API server has."""

    ledger: Ledger
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name, which says when it was created as well
    groups: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    created: int = 0

    def set_pod(self, slot: int, state: dict[str, Any] | None, *, seen: bool = True) -> None:
        sink = self.ledger.pods if seen else None
        name = next((name for name in self.pods if name.startswith(f"{slot}-")), "")
        if name and (state is None or ("on" in self.pods[name]) > ("on" in state)):
            gone = pod(name, **self.pods.pop(name))
            if sink:
                sink.deleted(gone)
            name = ""
        if state is not None:
            if not name:
                self.created += 1
                name = f"{slot}-{self.created}"
            if "on" in self.pods.get(name, {}):
                state = state | {"on": self.pods[name]["on"]}
            self.pods[name] = state
            if sink:
                sink.changed(pod(name, **state))

    def set_group(self, kind: str, name: str, labels: dict[str, str] | None) -> None:
        sink, make = self.sink(kind)
        if labels is None:
            if (kind, name) in self.groups:
                sink.deleted(make(name, **self.groups.pop((kind, name))))
        else:
            self.groups[kind, name] = labels
            sink.changed(make(name, **labels))

    def sink(self, kind: str) -> Any:
        defaults = self.ledger.spread_defaults
        return (defaults.services, service) if kind == "service" else (defaults.replica_sets, replica_set)

    def list_pods(self) -> None:
        self.ledger.pods.restart()
        for name, state in self.pods.items():
            self.ledger.pods.changed(pod(name, **state))
        self.ledger.pods.synced()

    def holds(self) -> Any:
        self.ledger.cluster.check()
        counted = {
            name: self.ledger.cluster.pod(f"u-{name}") for name in self.pods if f"u-{name}" in self.ledger.cluster
        }
        waiting = {uid: (waiting.spec, waiting.labels) for uid, waiting in self.ledger.waiting.items()}
        nodes = {n.name: (n.pods, n.requested) for n in self.ledger.cluster.nodes()}
        total = self.ledger.cluster.pod_count, self.ledger.cluster.waiting_count
        return {name: (state.phase, state.node) for name, state in counted.items()}, waiting, nodes, total


_pod_events = st.tuples(st.integers(0, 1), st.sampled_from([*WITHOUT_NODE, *WITH_NODE, None]))
_group_events = st.tuples(st.sampled_from(GROUPS), st.booleans())
_unseen = st.tuples(st.just("unseen"), _pod_events)
_events = st.lists(
    st.one_of(_pod_events, _group_events, _unseen, st.just("list"), st.just("list in part"), st.just("turn")),
    min_size=5,
    max_size=30,
)


@settings(max_examples=500)
@given(_events)
def test_events_and_one_listing_come_to_the_same(events: list[Any]) -> None:
    async def run() -> None:
        world = World(synced(node("n"), node("m")))
        world.ledger.namespaces.changed(namespace("ml"))
        for event in events:
            match event:
                case "turn":
                    await asyncio.sleep(0)
                case "list":
                    world.list_pods()
                case "list in part":  # cut, and begun again
                    world.ledger.pods.restart()
                    for name, state in list(world.pods.items())[:1]:
                        world.ledger.pods.changed(pod(name, **state))
                    world.list_pods()
                case (int(slot), state):
                    world.set_pod(slot, state)
                case ("unseen", (slot, state)):  # the watch was away
                    world.set_pod(slot, state, seen=False)
                    world.list_pods()
                case ((kind, name, labels), gone):
                    world.set_group(kind, name, None if gone else labels)
        await asyncio.sleep(0)
        fresh = World(synced(node("n"), node("m")), world.pods)
        for (kind, name), labels in world.groups.items():
            fresh.set_group(kind, name, labels)
        fresh.list_pods()
        await asyncio.sleep(0)
        assert world.holds() == fresh.holds()

    asyncio.run(run())
