"""The steps of a day with the real Karpenter, on the testbed's API server with kube-scheduler and nodes of kwok.

At each step Pods are made and deleted, and Karpenter gets as long as it wants: until every Pod runs, nothing is on its
way, and all of its methods of consolidation have looked at that state and found nothing to do. Then the nodes are paid
for as long as the step lasts. Its decisions are its own; what differs from a day at its real pace:

- Between two steps nothing happens, so it never consolidates a state that is about to pass. That is in its favour, as
  is that neither boots nor its 15 s of second thoughts cost anything.
- It looks at a state again when something has changed, or after five minutes. As a node to which Pods were sent is left
  alone for a while and nothing tells it when that is over, we tell it, by a change of the NodePool that means nothing.
  That while is 10 s instead of 20: it gathers Pods for 5 s at most, and gets all of a step within one.
- Whoever is evicted is made again at once, as a ReplicaSet would.

What it can see of MIG is amounts of resources per instance type. So it is offered each machine with whole GPUs and with
each of the layouts of `scaling_day_planners.LAYOUTS`, at the machine's price, as its user would by instance types or
NodeOverlays of his own: it may pick a layout for each new node, and no node's layout ever changes. kube-scheduler packs
(MostAllocated), which leaves more nodes to give back than its default.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.scaling_day_arrivals import GPU, MIG
from benchmarks.scaling_day_planners import LAYOUTS, Offer, Shape, fixed
from benchmarks.scaling_day_steps import Settled, Step

from nos.testbed import Testbed
from nos.testbed.api import in_parallel
from nos.testbed.karpenter import InstanceType, Karpenter
from nos.testbed.progress import Progress

_PODS, _NODES = "/api/v1/namespaces/default/pods", "/api/v1/nodes"
_CLAIMS, _POOL = "/apis/karpenter.sh/v1/nodeclaims", "/apis/karpenter.sh/v1/nodepools/gpu"
_KEPT_CPU, _KEPT_MEMORY = 100, 10 << 20  # what Karpenter's provider keeps back of each node: millicores, bytes
# Of these a node is left alone that is to get Pods: 10 s, or twice the longest time in which Pods are gathered.
_GATHER_S, _LEFT_ALONE_S, _NOTICE_S = 5, 11.0, 1.0
_SETTLES_WITHIN_S = 600.0
_METHODS = "karpenter_voluntary_disruption_"
_LOOKS = re.compile(
    _METHODS + r'decision_evaluation_duration_seconds_count{[^}]*consolidation_type="(\w+)"[^}]*} (\S+)'
)
_FAILED = re.compile(_METHODS + r"failed_validations_total{[^}]*} (\S+)")
Object = dict[str, Any]


@contextmanager
def running(shapes: Sequence[Shape]) -> Iterator[KarpenterDay]:
    """Karpenter on a control plane of its own, with these machines."""
    amounts = ["cpu", "memory", GPU, *(f"{MIG}{name}" for name in LAYOUTS if name != "balanced")]
    fit = {"scoringStrategy": {"type": "MostAllocated", "resources": [{"name": name, "weight": 1} for name in amounts]}}
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [{"pluginConfig": [{"name": "NodeResourcesFit", "args": fit}]}],
    }
    offers = {_type(offer): offer for shape in shapes for offer in fixed(shape)}
    with Testbed(scheduler=json.dumps(config), progress=Progress(quiet=True)) as testbed:
        types = [_instance_type(name, offer) for name, offer in offers.items()]
        karpenter = testbed.add_karpenter(types, environment={"BATCH_MAX_DURATION": f"{_GATHER_S}s"})
        node_class = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
        pool = {
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
                "consolidateAfter": "0s",
                "budgets": [{"nodes": "100%"}],
            },
            "template": {
                "spec": {
                    "nodeClassRef": node_class,
                    "expireAfter": "Never",
                    "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}],
                }
            },
        }
        for kind, api_version, name, spec in (
            ("KWOKNodeClass", "karpenter.kwok.sh/v1alpha1", "default", {}),
            ("NodePool", "karpenter.sh/v1", "gpu", pool),
        ):
            body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
            testbed.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        yield KarpenterDay(testbed, karpenter, offers)


def _type(offer: Offer) -> str:
    return offer.id.replace("/", ".")


def _instance_type(name: str, offer: Offer) -> InstanceType:
    more = {"cpu": _KEPT_CPU, "memory": _KEPT_MEMORY}
    resources = _quantities({name: amount + more.get(name, 0) for name, amount in offer.resources.items()})
    return InstanceType(name, resources, {("zone-a", "on-demand"): offer.shape.price})


def _quantities(amounts: dict[str, int]) -> dict[str, str]:
    return {name: f"{amount}m" if name == "cpu" else str(amount) for name, amount in amounts.items()}


@dataclass(frozen=True)
class _State:
    """What there is. pods: the node of each, by name; "" where it has none."""

    pods: dict[str, str]
    types: dict[str, str]  # by node
    claims: frozenset[str]
    is_quiet: bool  # nobody waits, nothing comes or goes


@dataclass
class KarpenterDay:
    """`run` lives through it. offers: by instance type."""

    testbed: Testbed
    karpenter: Karpenter
    offers: dict[str, Offer]
    _names: dict[int, str] = field(default_factory=dict)  # of the Pods that are to be there, by number
    _made: Counter[int] = field(default_factory=Counter)
    _claims: set[str] = field(default_factory=set)  # all that there were
    _pokes: int = 0

    def run(self, steps: Sequence[Step]) -> Settled:
        """Every Pod of every step gets a place."""
        prices = []
        for step in steps:
            gone = [self._names.pop(number) for number in self._names.keys() - step.pods.keys()]
            in_parallel(self._delete, gone, lambda _: None)
            self._make(step, sorted(step.pods.keys() - self._names.keys()))
            prices.append(self._price(step, self._settle(step)))
        return Settled(steps, prices, len(self._claims), sum(self._made.values()) - len(self._made))

    def _settle(self, step: Step) -> _State:
        """What there is when Karpenter would change nothing."""
        deadline = time.monotonic() + _SETTLES_WITHIN_S
        seen, since = self._look(step), time.monotonic()
        poked: float | None = None
        looks: Counter[str] = Counter()
        while True:
            # Counted first: what a method has decided shows by the time that it counts as evaluated.
            counted, state, now = self._counted(), self._look(step), time.monotonic()
            assert now < deadline, f"not settled: {seen}"
            if state != seen or not state.is_quiet:
                seen, since, poked = state, now, None
            elif poked is None:
                if now - since > _LEFT_ALONE_S:
                    self._poke()
                    poked, looks = time.monotonic(), Counter()
            elif not looks:
                looks = counted if now - poked > _NOTICE_S else looks
            elif counted["failed"] > looks["failed"]:
                since, poked = now, None  # it was to do something, and thought better of it
            elif counted["empty"] == looks["empty"]:
                looks = counted  # what is under way may have begun before
            elif counted["single"] > looks["single"]:
                return state
            time.sleep(0.25)

    def _look(self, step: Step) -> _State:
        pods = self.testbed.api.get(_PODS)["items"]
        nodes = self.testbed.api.get(_NODES)["items"]
        claims = self.testbed.api.get(_CLAIMS)["items"]
        self._claims |= {claim["metadata"]["name"] for claim in claims}
        alive = {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods if not _is_going(pod)}
        missing = [number for number, name in self._names.items() if name not in alive]
        self._make(step, missing)
        is_quiet = (
            not missing
            and alive.keys() == set(self._names.values())
            and set(alive.values()) == {node["metadata"]["name"] for node in nodes}  # none is empty
            and len(pods) == len(alive)
            and len(claims) == len(nodes)
            and not any(_is_going(one) for one in (*nodes, *claims))
            and not any(t["key"].startswith("karpenter.sh/") for n in nodes for t in n["spec"].get("taints", []))
            and all(_holds(claim, "Initialized") and not _holds(claim, "DisruptionReason") for claim in claims)
        )
        types = {n["metadata"]["name"]: n["metadata"]["labels"]["node.kubernetes.io/instance-type"] for n in nodes}
        return _State(alive, types, frozenset(claim["metadata"]["name"] for claim in claims), is_quiet)

    def _price(self, step: Step, state: _State) -> int:
        """Of the nodes, micro-dollars per hour; what is on each fits."""
        used = {node: Counter[str]() for node in state.types}
        for number, name in self._names.items():
            used[state.pods[name]].update(step.pods[number].requests | {"pods": 1})
        for node, amounts in used.items():
            has = self.offers[state.types[node]].resources
            assert all(amount <= has.get(name, 0) for name, amount in amounts.items()), (node, amounts, has)
        return sum(self.offers[kind].price for kind in state.types.values())

    def _make(self, step: Step, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._made[number] += 1
            self._names[number] = f"p{number}-{self._made[number]}"
        in_parallel(lambda number: self._create(step, number), numbers, lambda _: None)

    def _create(self, step: Step, number: int) -> None:
        requests = _quantities(step.pods[number].requests)
        resources = {"requests": requests, "limits": requests}
        spec = {
            "containers": [{"name": "main", "image": "busybox", "resources": resources}],
            "terminationGracePeriodSeconds": 0,
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self._names[number]}, "spec": spec}
        assert self.testbed.api.create(_PODS, body)

    def _delete(self, name: str) -> None:
        self.testbed.api.request("DELETE", f"{_PODS}/{name}")

    def _poke(self) -> None:
        self._pokes += 1
        self.testbed.api.merge(_POOL, {"spec": {"weight": 1 + self._pokes % 2}})

    def _counted(self) -> Counter[str]:
        """How often each method has looked: empty, multi, single; and failed: at what was no longer so."""
        text = self.karpenter.metrics()
        counted = Counter({kind: int(float(count)) for kind, count in _LOOKS.findall(text) if kind})
        counted["failed"] = sum(int(float(count)) for count in _FAILED.findall(text))
        return counted


def _is_going(item: Object) -> bool:
    return "deletionTimestamp" in item["metadata"]


def _holds(claim: Object, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in claim.get("status", {}).get("conditions", []))
