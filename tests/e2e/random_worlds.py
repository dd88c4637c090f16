"""Random nodes and Pods for the API server, in which things collide: few names, few labels, little room.

Everything is decided by the seed. What the API server might refuse now and then is fine: such a Pod is left out.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.e2e.world import NODE_PREFIX, Object, Resident, World

NODES = 40
_KEYS = ("zone", "model", "size")
_LABELS = ("", "a", "b", "1", "2", "10", "007", "1.5", "x1", "99999999999999999999")
_NUMBERS = ("1", "2", "7", "9", "+2", "-1", "0", "1.5", "x", "9223372036854775807", "99999999999999999999", "0x1")
_ODD_VALUES = (*_LABELS, "not a label!", "-")
_EFFECTS = ("NoSchedule", "NoExecute", "PreferNoSchedule")
_TAINT_KEYS = ("gpu", "spot")
_TOLERATED = ("", "gpu", "spot", "node.kubernetes.io/unschedulable")
_ADDRESSES = ("", "0.0.0.0", "127.0.0.1", "10.0.0.1", "::", "::1")
_OFFERS = {
    "cpu": ("0", "500m", "2", "2", "4", "4"),
    "memory": ("0", "3", "5", "1k", "1Ki", "1Gi"),
    "ephemeral-storage": ("", "0", "2", "1Ki"),
    "pods": ("0", "1", "3", "5", "110", "110"),
    "hugepages-2Mi": ("", "0", "4Mi"),
    "nvidia.com/gpu": ("", "0", "1", "2", "8"),
    "nvidia.com/mig-1g.10gb": ("", "", "0", "2"),
    "example.com/fpga": ("", "", "1", "1k"),
}
_ASKS = {
    "cpu": ("0", "1m", "0.25", "500m", "1", "1500m", "1500u"),
    "memory": ("0", "1", "500m", "1500m", "2", "1Ki", "1e3"),
    "ephemeral-storage": ("0", "1", "500m", "1k"),
    "hugepages-2Mi": ("0", "2Mi"),
    "nvidia.com/gpu": ("0", "1", "1", "2", "4"),
    "nvidia.com/mig-1g.10gb": ("0", "1", "2"),
    "example.com/fpga": ("0", "1", "1k"),
}
_COMMON = ("cpu", "memory")


def random_world(random: Random) -> World:
    """Nodes, most of them with Pods."""
    names = [f"{NODE_PREFIX}n{number}" for number in range(NODES)]
    nodes = [_node(random, name) for name in names]
    residents = [random_resident(random, name) for name in names for _ in range(random.choice((0, 0, 1, 1, 2, 3)))]
    return World(nodes, residents)


def random_pod(random: Random, name: str) -> Object:
    """A Pod to ask about: any mix of what a node alone decides."""
    spec = random_spec(random)
    if random.random() < 0.3:
        spec["nodeSelector"] = {random.choice(_KEYS): random.choice(_LABELS)}
    if random.random() < 0.4:
        terms = [_term(random) for _ in range(random.choice((1, 1, 2, 3)))]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": required}
    # Half of the Pods tolerate everything, so that what else keeps Pods off a node is not hidden behind taints.
    spec["tolerations"] = random_tolerations(random, 0.5)
    return {"metadata": {"name": name}, "spec": spec}


def random_tolerations(random: Random, all_of_them: float) -> list[Object]:
    tolerations = [_toleration(random) for _ in range(random.choice((0, 1, 1, 2)))]
    return [*tolerations, {"operator": "Exists"}] if random.random() < all_of_them else tolerations


def pinned(pod: Object, name: str, node: str) -> Object:
    """The same Pod for one node only: its name is required in each term. An empty term stays one, and matches none."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = [
        {**term, "matchFields": [*term.get("matchFields", []), field]} if any(term.values()) else term
        for term in required.get("nodeSelectorTerms", [])
    ]
    only = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms or [{"matchFields": [field]}]}
    }
    metadata = {**pod["metadata"], "name": name}
    return {"metadata": metadata, "spec": {**pod["spec"], "affinity": {"nodeAffinity": only}}}


def _node(random: Random, name: str) -> Object:
    offer = {resource: random.choice(amounts) for resource, amounts in _OFFERS.items()}
    offer = {resource: amount for resource, amount in offer.items() if amount}
    labels = {key: random.choice(_LABELS) for key in _KEYS if random.random() < 0.6}
    return node_object(name, labels, offer, random_node_spec(random))


def node_object(name: str, labels: Object, offer: Object, spec: Object, **status: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {
            "capacity": offer,
            "allocatable": offer,
            "conditions": [{"type": "Ready", "status": "True"}],
            **status,
        },
    }


def random_node_spec(random: Random, rarely: float = 1.0) -> Object:
    """Taints, and the cordon. A cordoned node has the taint that the controller manager would give it a moment later:
    who counts it as tainted must not depend on when they look."""
    taints: dict[tuple[str, str], Object] = {}
    for _ in range(random.choice((0, 0, 0, 1, 2)) if random.random() < rarely else 0):
        taint = {
            "key": random.choice(_TAINT_KEYS),
            "value": random.choice(("", "x")),
            "effect": random.choice(_EFFECTS),
        }
        taints[taint["key"], taint["effect"]] = taint
    cordoned = random.random() < 0.15 * rarely
    cordon = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}] if cordoned else []
    return {"taints": [*taints.values(), *cordon], "unschedulable": cordoned}


def random_resident(random: Random, node: str) -> Resident:
    pod: Object = {"spec": random_spec(random, modest=True)}
    kind = random.random()
    if kind < 0.1:
        return Resident(pod, node, phase=random.choice(("Succeeded", "Failed", "Running")))
    if kind < 0.2:
        return Resident(pod, node, terminating=True)
    if kind < 0.35:
        return Resident(pod, node, status=_resizing(random, pod))
    return Resident(pod, node)


def _resizing(random: Random, pod: Object) -> Object:
    """A kubelet that has allocated, or given, something else than the spec now says."""
    spec = pod["spec"]
    status: Object = {"containerStatuses": [_given(random, c["name"]) for c in spec["containers"]]}
    if random.random() < 0.3:
        reason = random.choice(("Infeasible", "Deferred"))
        status["conditions"] = [{"type": "PodResizePending", "status": "True", "reason": reason}]
    return status


def _given(random: Random, name: str) -> Object:
    status: Object = {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    if random.random() < 0.7:
        status["allocatedResources"] = {r: random.choice(_ASKS[r]) for r in _COMMON}
    if random.random() < 0.7:
        status["resources"] = {"requests": {r: random.choice(_ASKS[r]) for r in _COMMON}}
    return status


def random_spec(random: Random, modest: bool = False) -> Object:
    extra = random.choice((*(r for r in _ASKS if r not in _COMMON), *[""] * 6))
    containers = [_container(random, f"c{n}", extra, modest) for n in range(random.choice((1, 1, 2, 3)))]
    inits = [_container(random, f"i{n}", extra, modest) for n in range(random.choice((0, 0, 1, 2, 3)))]
    for container in inits:
        if random.random() < 0.5:
            container["restartPolicy"] = "Always"
    # A Pod restarts by default, so that kubelets' statuses and sidecars are valid.
    spec: Object = {"containers": containers, "initContainers": inits, "automountServiceAccountToken": False}
    if random.random() < 0.2:
        spec["resources"] = {"requests": {r: random.choice(("1", "1500m", "4", "2k")) for r in _some(random, _COMMON)}}
    if random.random() < 0.15:
        spec["runtimeClassName"] = random.choice(("sv-heavy", "sv-heavy", "sv-elsewhere"))
    if random.random() < 0.1:
        spec["hostNetwork"] = True
        for container in [*containers, *inits]:
            for port in container.get("ports", []):
                port["containerPort"] = port["hostPort"]
    return spec


def _container(random: Random, name: str, extra: str, modest: bool) -> Object:
    requests = {r: random.choice(_ASKS[r][: 4 if modest else None]) for r in _some(random, _COMMON)}
    limits = {}
    if extra and random.random() < 0.7:
        requests[extra] = random.choice(_ASKS[extra])
        if extra != "ephemeral-storage":
            limits[extra] = requests[extra]
    container: Object = {"name": name, "image": "i", "resources": {"requests": requests, "limits": limits}}
    if random.random() < 0.2:
        container["ports"] = [_port(random)]
    return container


def _port(random: Random) -> Object:
    port: Object = {
        "containerPort": 1,
        "hostPort": random.choice((8000, 8001)),
        "protocol": random.choice(("TCP", "TCP", "UDP", "SCTP")),
    }
    if address := random.choice(_ADDRESSES):
        port["hostIP"] = address
    return port


def _term(random: Random) -> Object:
    term: Object = {}
    if random.random() < 0.85:
        term["matchExpressions"] = [_expression(random) for _ in range(random.choice((1, 1, 2)))]
    if random.random() < 0.25:
        values = [f"{NODE_PREFIX}n{random.randrange(NODES)}"]
        operator = random.choice(("In", "NotIn", "NotIn"))
        term["matchFields"] = [{"key": "metadata.name", "operator": operator, "values": values}]
    return term


def _expression(random: Random) -> Object:
    key, operator = random.choice(_KEYS), random.choice(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
    expression: dict[str, Any] = {"key": key, "operator": operator}
    if operator in ("In", "NotIn"):
        values = _ODD_VALUES if random.random() < 0.15 else _LABELS
        expression["values"] = [random.choice(values) for _ in range(random.choice((1, 2, 3)))]
    elif operator in ("Gt", "Lt"):
        expression["values"] = [random.choice(_NUMBERS)]
    return expression


def _toleration(random: Random) -> Object:
    key, operator = random.choice(_TOLERATED), random.choice(("Exists", "Equal", ""))
    toleration = {"key": key, "operator": operator if key else "Exists", "effect": random.choice(("", *_EFFECTS))}
    if toleration["operator"] != "Exists":
        toleration["value"] = random.choice(("", "x"))
    return {name: value for name, value in toleration.items() if value}


def _some(random: Random, resources: tuple[str, ...]) -> list[str]:
    return [resource for resource in resources if random.random() < 0.7]
