"""What kube-scheduler's own performance suite schedules, as objects of the API: nodes, Pods there, Pods to place.

The same shapes and sizes: nodes of 4 CPUs, 32 GiB and 110 Pods; Pods of 100m and 500 MiB. `threshold` is the rate that
the suite demands of kube-scheduler 1.37 on 5,000 nodes, in Pods per second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Placed = Sequence[tuple[Object, Object]]  # Pods with the node that each is on
ZONE, HOSTNAME = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
DRIVER, ATTACHABLE = "ebs.csi.aws.com", 39
NAMESPACES = ("sched-0", "sched-1")  # of what is there, and of what is to be placed


@dataclass(frozen=True)
class Workload:
    """One of the suite's tests. check: raises AssertionError where a placing breaks the rules."""

    name: str
    threshold: int
    spec: Object
    check: Callable[[Placed], None]
    labels: Mapping[str, str] = field(default_factory=dict)
    zones: Sequence[str] = ()
    there: int = 5_000  # Pods that are placed before the clock starts
    plain: bool = False  # ... and say nothing special
    placed: int = 5_000  # Pods that it measures
    volumes: bool = False

    def nodes(self, count: int) -> Iterator[Object]:
        for number in range(count):
            name = f"node-{number}"
            zone = {ZONE: self.zones[number % len(self.zones)]} if self.zones else {}
            amounts = {"cpu": "4", "memory": "32Gi", "pods": "110"}
            yield {
                "metadata": {"name": name, "labels": {HOSTNAME: name, **zone}},
                "spec": {},
                "status": {
                    "capacity": amounts,
                    "allocatable": amounts,
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }

    def pod(self, name: str, namespace: str) -> Object:
        said = {} if self.plain and namespace == NAMESPACES[0] else self.spec
        amounts = {"cpu": "100m", "memory": "500Mi"}
        container = {"name": "pause", "image": "pause:3.10", "resources": {"requests": amounts, "limits": amounts}}
        spec: Object = {"schedulerName": "nos-scheduler", "terminationGracePeriodSeconds": 0, "containers": [container]}
        if self.volumes:
            spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
        labels = {} if self.plain and namespace == NAMESPACES[0] else dict(self.labels)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {**spec, **said},
        }

    def volume(self, claim: str, namespace: str) -> tuple[Object, Object]:
        """A PersistentVolume and the claim that the PV controller will find bound to it."""
        modes, size = ["ReadOnlyMany"], {"storage": "1Gi"}
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim, "namespace": namespace}
        volume = {
            "metadata": {"name": f"{namespace}-{claim}"},
            "spec": {
                "accessModes": modes,
                "capacity": size,
                "csi": {"driver": DRIVER, "volumeHandle": f"{namespace}-{claim}"},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "claimRef": reference,
            },
        }
        bound = {
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {
                "accessModes": modes,
                "resources": {"requests": size},
                "storageClassName": "",
                "volumeName": f"{namespace}-{claim}",
            },
        }
        return volume, bound


def _anywhere(placed: Placed) -> None:
    """No node has more than it can hold: 40 Pods of 100m on 4 CPUs."""
    assert max(Counter(node["metadata"]["name"] for _, node in placed).values()) <= 40


def _in_zones(*zones: str) -> Callable[[Placed], None]:
    def check(placed: Placed) -> None:
        _anywhere(placed)
        assert {node["metadata"]["labels"].get(ZONE) for _, node in placed} <= set(zones)

    return check


def _alone(placed: Placed) -> None:
    assert max(Counter(node["metadata"]["name"] for _, node in placed).values()) == 1


def _spread(placed: Placed) -> None:
    """Between any two of the three zones there are at most 5 Pods more."""
    _anywhere(placed)
    there = Counter(node["metadata"]["labels"][ZONE] for pod, node in placed if pod["metadata"]["labels"])
    assert max(there.values()) - min(there[zone] for zone in MOONS) <= 5


def _attachable(placed: Placed) -> None:
    assert max(Counter(node["metadata"]["name"] for _, node in placed).values()) <= ATTACHABLE


def _pods(kind: str, labels: Mapping[str, str], topology_key: str, *, preferred: bool = False) -> Object:
    term = {"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": topology_key, "namespaces": list(NAMESPACES)}
    if preferred:
        terms = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}
    else:
        terms = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"affinity": {kind: terms}}


def _spreading(when: str) -> Object:
    selector = {"matchLabels": {"color": "blue"}}
    constraint = {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": when, "labelSelector": selector}
    return {"topologySpreadConstraints": [constraint]}


def _in_two_zones() -> Object:
    expression = {"key": ZONE, "operator": "In", "values": ["zone1", "zone2"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


MOONS = ("moon-1", "moon-2", "moon-3")
GREEN, BLUE, RED = {"color": "green"}, {"color": "blue"}, {"color": "red"}
WORKLOADS = (
    Workload("node affinity", 540, _in_two_zones(), _in_zones("zone1"), zones=("zone1",), placed=10_000),
    Workload(
        "pod anti-affinity", 180, _pods("podAntiAffinity", GREEN, HOSTNAME), _alone, GREEN, there=1_000, placed=2_000
    ),
    Workload("pod affinity", 70, _pods("podAffinity", BLUE, ZONE), _in_zones("zone1"), BLUE, zones=("zone1",)),
    Workload("preferred pod affinity", 160, _pods("podAffinity", RED, HOSTNAME, preferred=True), _anywhere, RED),
    Workload("topology spreading", 460, _spreading("DoNotSchedule"), _spread, BLUE, zones=MOONS, plain=True),
    Workload("preferred spreading", 340, _spreading("ScheduleAnyway"), _anywhere, BLUE, zones=MOONS, plain=True),
    Workload("CSI volumes", 100, {}, _attachable, volumes=True),
    Workload("churn", 710, {}, _anywhere, there=0, placed=10_000),
)
