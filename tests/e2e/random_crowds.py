"""Random worlds in which Pods look at each other and at their volumes, rather than at room, which there is plenty of.

A probe draws on one thing only, its focus, so that what another forbids does not hide it; "mix" draws on several.
"""

from __future__ import annotations

from random import Random

from tests.e2e.random_neighbours import random_metadata, random_namespaces, random_places, random_spread, random_terms
from tests.e2e.random_storage import Storage, random_storage, volumes_of
from tests.e2e.random_worlds import node_object, random_node_spec, random_spec, random_tolerations
from tests.e2e.world import HOME, NODE_PREFIX, Object, Resident, World

FOCUSES = (
    *("near", "near", "near", "apart", "apart", "apart", "kept-off", "kept-off"),
    *("spread", "spread", "spread", "spread", "spread"),
    *("bound", "alone", "limited", "waits", "waits", "measured", "stuck", "ephemeral", "volumes"),
    *("features", "room", "mix", "mix", "mix"),
)
FEATURE = "RestartAllContainersOnContainerExits"
_OFFER = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "20"}


def random_crowd(random: Random, size: int = 16) -> tuple[World, Storage]:
    names = [f"{NODE_PREFIX}n{number}" for number in range(size)]
    storage = random_storage(random, names)
    dedicated = random.choice(("", "a", "b", "c"))  # a zone that is for those who say so
    nodes = [_node(random, name, dedicated) for name in names]
    residents = [_resident(random, name, storage) for name in names for _ in range(random.choice((0, 1, 1, 2, 3)))]
    return World(nodes, residents, random_namespaces(random), storage.objects), storage


def random_neighbour(random: Random, name: str, storage: Storage) -> tuple[Object, str]:
    """A Pod to ask about, and its focus."""
    focus = random.choice(FOCUSES)
    looks_at = {focus} if focus != "mix" else set(random.sample(FOCUSES, random.choice((2, 3))))
    spec = _modest(random) | _priority(random, 0.05)
    spec["tolerations"] = random_tolerations(random, 0.8)
    metadata = random_metadata(random) | {"name": name}
    if kinds := [kind for look, kind in (("near", "podAffinity"), ("apart", "podAntiAffinity")) if look in looks_at]:
        spec.setdefault("affinity", {}).update(random_terms(random, *kinds))
    if "spread" in looks_at:
        metadata["namespace"] = HOME if random.random() < 0.6 else metadata["namespace"]
        spec["topologySpreadConstraints"] = random_spread(random, metadata["labels"])
        spec["tolerations"] = random_tolerations(random, 0.1 if "nodeTaintsPolicy" in str(spec) else 0.8)
        if random.random() < (0.9 if "nodeAffinityPolicy" in str(spec) else 0.3):
            spec["nodeSelector"] = {"zone": random.choice("ab")}
    if kinds := _volumes(random, looks_at):
        metadata["namespace"] = HOME
        spec["volumes"] = volumes_of(random, storage, *kinds)
    if random.random() < 0.01:  # nos does not handle it
        disk = {"name": "disk", "gcePersistentDisk": {"pdName": "sv"}}
        spec["volumes"] = [*spec.get("volumes", []), disk]
    if "room" in looks_at:
        spec |= _asking(random) | _priority(random, 0.7)
    if "features" in looks_at:
        rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}
        spec["containers"][0] |= {"restartPolicy": "Never", "restartPolicyRules": [rule]}
    return {"metadata": metadata, "spec": spec}, focus


def _priority(random: Random, often: float) -> Object:
    return {"priorityClassName": random.choice(("sv-high", "sv-low"))} if random.random() < often else {}


def _volumes(random: Random, looks_at: set[str]) -> list[str]:
    kinds: list[str] = [
        each for each in ("bound", "alone", "limited", "waits", "measured", "ephemeral") if each in looks_at
    ]
    if "waits" in looks_at and random.random() < 0.4:
        kinds.append("waits")
    if "volumes" in looks_at:
        kinds += random.sample(("bound", "limited", "limited", "waits", "measured"), random.choice((2, 3)))
    if "stuck" in looks_at:
        kinds.append(random.choice(("stuck", "stuck", "missing", "bound")))
    return kinds


def _node(random: Random, name: str, dedicated: str) -> Object:
    features = {"declaredFeatures": [FEATURE]} if random.random() < 0.5 else {}
    offer = _OFFER | {"cpu": random.choice(("2", "4", "4", "8")), "pods": random.choice(("3", "20", "20", "20"))}
    node = node_object(name, random_places(random, name), offer, random_node_spec(random, rarely=0.4), **features)
    if dedicated and node["metadata"]["labels"].get("zone") == dedicated:
        node["spec"]["taints"].append({"key": "dedicated", "value": "x", "effect": "NoSchedule"})
    return node


def _modest(random: Random) -> Object:
    return {"containers": [_container(random.choice(("0", "100m", "500m")))], "automountServiceAccountToken": False}


def _asking(random: Random) -> Object:
    return {"containers": [_container(random.choice(("1", "2", "3", "4")))], "automountServiceAccountToken": False}


def _container(cpu: str) -> Object:
    return {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}


def _resident(random: Random, node: str, storage: Storage) -> Resident:
    """Most have labels; some forbid others to come near, want company or are spread, which binds nobody else."""
    kind = random.random()
    pod: Object = {"metadata": random_metadata(random), "spec": _modest(random)}
    if kind < 0.09:  # without terms: see tests/e2e/cases_nominated.py
        pod["spec"] = _asking(random) | _priority(random, 0.3)
        return Resident(pod, node, nominated=True)
    if kind < 0.12:
        pod["spec"] = random_spec(random, modest=True)
    if kind < 0.3:
        pod["spec"]["affinity"] = random_terms(random, "podAntiAffinity")
    elif kind < 0.4:
        pod["spec"]["affinity"] = random_terms(random, "podAffinity")
        pod["spec"]["topologySpreadConstraints"] = random_spread(random, pod["metadata"]["labels"])
    elif kind < 0.6:
        pod["metadata"]["namespace"] = HOME
        pod["spec"]["volumes"] = volumes_of(random, storage, random.choice(("bound", "alone", "limited", "limited")))
    return Resident(
        pod,
        node,
        phase=random.choice(("Succeeded", "Failed")) if random.random() < 0.07 else "",
        terminating=random.random() < 0.1,
    )
