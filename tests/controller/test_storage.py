"""Which Pods and nodes a change of a storage object concerns, in the ledger and in the core."""

from __future__ import annotations

import json
from typing import Any

from nos import _core
from nos.controller.ledger import Ledger
from nos.kube.pod import Pod, decode_pod
from tests.controller.in_loop import in_loop, settled
from tests.controller.test_ledger import node
from tests.kube.stored import (
    attachment,
    bound,
    claim,
    csi,
    csi_driver,
    csi_node,
    decoded,
    storage_class,
    term,
    volume,
)

SINKS = {
    "classes": 0,
    "drivers": 1,
    "csi_nodes": 2,
    "capacities": 3,
    "attachments": 4,
    "volumes": 5,
    "claims": 6,
}


def pod(name: str, *claims: str, on: str = "", gone: bool = False) -> Pod:
    body = {
        "metadata": {"name": name, "namespace": "ml", "uid": f"u-{name}"},
        "spec": {
            "schedulerName": "nos-scheduler",
            "nodeName": on,
            "containers": [{"name": "c"}],
            "volumes": [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims],
        },
        "status": {"phase": "Succeeded" if gone else "Pending"},
    }
    return decode_pod(json.dumps(body).encode())


def put(ledger: Ledger, kind: str, *bodies: dict[str, Any]) -> None:
    for body in bodies:
        ledger.storage.sinks[SINKS[kind]].changed(decoded(kind, body))


def synced(ledger: Ledger) -> Ledger:
    for sink in ledger.sinks:
        sink.restart()
        sink.synced()
    return ledger


def placed(ledger: Ledger) -> dict[str, str]:
    """Where the core would place the Pods that wait now; its message for those that it would not."""
    ledger.cluster.check()
    copy = ledger.cluster.copy()
    outcome = _core.Scheduler(copy).schedule()
    found = {bind.uid: bind.node for bind in outcome.binds}
    return found | {uid: reason.message for uid, reason in outcome.waiting}


@in_loop
async def test_what_comes_in_any_order_means_the_same() -> None:
    things: list[tuple[str, dict[str, Any]]] = [
        ("classes", storage_class("local")),
        ("claims", claim("data")),
        ("volumes", volume("v", nodes=[term(disk="b")])),
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        ledger = synced(Ledger("nos-scheduler"))
        for name in "ab":
            found = node(name)
            found.metadata.labels["disk"] = name
            ledger.nodes.changed(found)
        ledger.pods.changed(pod("p", "data"))
        assert 'persistentvolumeclaim "data" not found' in placed(ledger)["u-p"]
        for number in order:
            put(ledger, things[number][0], things[number][1])
            await settled()
        assert placed(ledger) == {"u-p": "b"}


@in_loop
async def test_a_change_concerns_the_pods_that_use_it_and_nobody_else() -> None:
    ledger = synced(Ledger("nos-scheduler"))
    ledger.nodes.changed(node("n"))
    put(ledger, "classes", storage_class("local"), storage_class("other"))
    put(ledger, "claims", claim("a"), claim("b"), claim("c", "other"))
    for name in "abc":
        ledger.pods.changed(pod(name, name))
    ledger.pods.changed(pod("none"))
    await settled()
    before = {uid: waiting.facts.asked for uid, waiting in ledger.waiting.items()}
    put(ledger, "volumes", volume("v"))
    await settled()
    changed = {uid for uid, waiting in ledger.waiting.items() if waiting.facts.asked is not before[uid]}
    assert changed == {"u-a", "u-b"}


@in_loop
async def test_pods_on_nodes_are_counted_anew_when_their_volumes_become_known() -> None:
    """The node attaches two volumes. The Pod there has one, and so has the attachment of somebody else."""
    ledger = synced(Ledger("nos-scheduler"))
    ledger.nodes.changed(node("n"))
    ledger.pods.changed(pod("there", "data", on="n"))
    ledger.pods.changed(pod("waits", "more"))
    put(ledger, "classes", storage_class("fast", "csi.example.com"))
    put(ledger, "claims", claim("more", "fast"), bound("data", "v", storageClassName="fast"))
    put(ledger, "csi_nodes", csi_node("n", csi_example_com=2))
    await settled()
    assert placed(ledger) == {"u-waits": "n"}  # one is taken, one is free
    put(ledger, "attachments", attachment("x", "n", "theirs"))
    await settled()
    assert placed(ledger) == {"u-waits": "n"}  # nobody knows that volume
    put(ledger, "volumes", volume("theirs", **csi("h-1")))
    await settled()
    assert "exceed max volume count" in placed(ledger)["u-waits"]
    put(ledger, "volumes", volume("v", **csi("h-1")))  # the Pod's volume is the one that is attached
    await settled()
    assert placed(ledger) == {"u-waits": "n"}
    ledger.storage.sinks[SINKS["csi_nodes"]].deleted(decoded("csi_nodes", csi_node("n")))
    put(ledger, "drivers", csi_driver("csi.example.com", preventPodSchedulingIfMissing=True))
    await settled()
    assert "CSI driver csi.example.com" in placed(ledger)["u-waits"]


@in_loop
async def test_what_is_listed_again_and_not_there_is_gone() -> None:
    ledger = synced(Ledger("nos-scheduler"))
    ledger.nodes.changed(node("n"))
    put(ledger, "classes", storage_class("local"))
    put(ledger, "claims", claim("data"))
    put(ledger, "volumes", volume("v"))
    ledger.pods.changed(pod("p", "data"))
    assert placed(ledger) == {"u-p": "n"}
    sink = ledger.storage.sinks[SINKS["volumes"]]
    sink.restart()
    sink.synced()
    await settled()
    assert "didn't find available persistent volumes" in placed(ledger)["u-p"]


@in_loop
async def test_pods_that_are_gone_are_forgotten() -> None:
    ledger = synced(Ledger("nos-scheduler"))
    ledger.nodes.changed(node("n"))
    put(ledger, "classes", storage_class("local"))
    put(ledger, "claims", claim("data"))
    ledger.pods.changed(pod("p", "data"))
    ledger.pods.changed(pod("p", "data", on="n"))
    ledger.pods.changed(pod("p", "data", on="n", gone=True))
    ledger.pods.changed(pod("q", "data"))
    ledger.pods.deleted(pod("q", "data"))
    assert not ledger.storage._users
    assert not ledger.storage._used_by
