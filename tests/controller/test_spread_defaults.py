"""Whom Pods without constraints are spread against."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nos.controller.spread_defaults import SpreadDefaults
from nos.controller.store import Store
from nos.kube.decode import DefaultSpread, Owner
from nos.kube.selectors import Requirement
from nos.kube.workload import Workload, decode_by_map, decode_by_selector
from tests.controller.in_loop import in_loop

MADE_BY_WEB = Owner("apps/v1", "ReplicaSet", "web-5f")


def service(name: str, namespace: str = "ml", **selector: str) -> Workload:
    spec = {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]} | ({"selector": selector} if selector else {})
    return decode_by_map(json.dumps({"metadata": {"name": name, "namespace": namespace}, "spec": spec}).encode())


def replica_set(name: str, namespace: str = "ml", *, replicas: int = 1, **labels: str) -> Workload:
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"spec": {"containers": []}}}
    body = {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": {"replicas": replicas}}
    return decode_by_selector(json.dumps(body).encode())


def spread(**labels: str) -> DefaultSpread:
    return DefaultSpread("ml", tuple(Requirement(k, "In", (v,)) for k, v in sorted(labels.items())))


def raw(**labels: str) -> bytes:
    return json.dumps(labels).encode()


@in_loop
async def test_services_and_the_controller() -> None:
    defaults = SpreadDefaults(lambda *_: None)
    assert defaults.of("ml", raw(app="web", tier="front"), MADE_BY_WEB) is None

    defaults.services.changed(service("web", app="web"))
    defaults.services.changed(service("front", tier="front"))
    defaults.services.changed(service("other", app="other"))
    defaults.services.changed(service("external"))  # without a selector: nobody
    defaults.services.changed(service("web", "elsewhere", tier="front", app="web"))
    assert defaults.of("ml", raw(app="web", tier="front"), None) == spread(app="web", tier="front")
    assert defaults.of("ml", raw(app="web"), None) == spread(app="web")
    assert defaults.of("ml", b"null", None) is None

    defaults.replica_sets.changed(replica_set("web-5f", hash="5f", app="web"))
    assert defaults.of("ml", raw(app="web"), MADE_BY_WEB) == spread(app="web", hash="5f")
    # The same name, but another kind or namespace.
    assert defaults.of("ml", raw(app="web"), Owner("apps/v1", "StatefulSet", "web-5f")) == spread(app="web")
    assert defaults.of("elsewhere", raw(app="x"), MADE_BY_WEB) is None

    defaults.services.deleted(service("web", app="web"))
    assert defaults.of("ml", raw(app="web"), MADE_BY_WEB) == spread(app="web", hash="5f")
    defaults.replica_sets.deleted(replica_set("web-5f", hash="5f", app="web"))
    assert defaults.of("ml", raw(app="web"), MADE_BY_WEB) is None


@in_loop
async def test_each_kind_of_controller() -> None:
    defaults = SpreadDefaults(lambda *_: None)
    body = {"metadata": {"name": "old", "namespace": "ml"}, "spec": {"selector": {"app": "old"}}}
    defaults.replication_controllers.changed(decode_by_map(json.dumps(body).encode()))
    selector = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    body = {"metadata": {"name": "db", "namespace": "ml"}, "spec": {"selector": selector}}
    defaults.stateful_sets.changed(decode_by_selector(json.dumps(body).encode()))
    assert defaults.of("ml", raw(app="old"), Owner("v1", "ReplicationController", "old")) == spread(app="old")
    exists = DefaultSpread("ml", (Requirement("app", "Exists"),))
    assert defaults.of("ml", raw(app="db"), Owner("apps/v1", "StatefulSet", "db")) == exists
    assert defaults.of("ml", raw(app="db"), Owner("batch/v1", "Job", "db")) is None


@in_loop
async def test_pods_that_wait_are_told_once_per_turn_and_only_of_news() -> None:
    told: list[Any] = []
    defaults = SpreadDefaults(lambda *news: told.append(news))
    defaults.services.changed(service("web", app="web"))
    defaults.services.changed(service("web", app="web2"))
    defaults.replica_sets.changed(replica_set("web-5f", app="web"))
    assert told == []
    await asyncio.sleep(0)
    assert told == [({"ml"}, {("ml", MADE_BY_WEB)})]
    defaults.replica_sets.changed(replica_set("web-5f", replicas=7, app="web"))  # its status
    defaults.services.changed(service("web", app="web2"))
    await asyncio.sleep(0)
    assert len(told) == 1
    defaults.replica_sets.deleted(replica_set("web-5f", app="web"))
    await asyncio.sleep(0)
    assert told[1:] == [(set(), {("ml", MADE_BY_WEB)})]


_names = st.sampled_from("ab")
_labels = st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=2)
_events = st.lists(st.tuples(st.booleans(), st.booleans(), _names, _names, _labels), max_size=12)


@given(_events, st.integers(0, 12), _labels)
def test_what_was_remembered_equals_what_is(
    events: list[tuple[bool, bool, str, str, dict[str, str]]], relist: int, pod: dict[str, str]
) -> None:
    """After any events, some of them told by a new listing, the answer is that of one who knows only what is there."""

    async def run() -> None:
        defaults, there = SpreadDefaults(lambda *_: None), dict[tuple[bool, str, str], dict[str, str]]()
        of = "ml", json.dumps(pod).encode(), Owner("apps/v1", "ReplicaSet", "a")
        for number, (gone, is_service, name, namespace, labels) in enumerate(events):
            namespace = {"a": "ml", "b": "other"}[namespace]
            made = (service if is_service else replica_set)(name, namespace, **labels)
            sink: Store[Workload] = defaults.services if is_service else defaults.replica_sets
            there.pop((is_service, namespace, name), None)
            if not gone:
                there[is_service, namespace, name] = labels
            if number == relist:
                sink.restart()
                for (kind, where, called), selector in there.items():
                    if kind is is_service:
                        sink.changed((service if kind else replica_set)(called, where, **selector))
                sink.synced()
            elif gone:
                sink.deleted(made)
            else:
                sink.changed(made)
            defaults.of(*of)  # so that there is something to remember
        expected: dict[str, str] = {}
        for (is_service, namespace, name), labels in there.items():
            if namespace == "ml" and (labels.items() <= pod.items() if is_service else name == "a"):
                expected |= labels
        conflict = there.get((False, "ml", "a"), {}).items() - pod.items()
        if not conflict:  # a controller whose Pods do not match it is none
            assert defaults.of(*of) == (spread(**expected) if expected else None)

    asyncio.run(run())
