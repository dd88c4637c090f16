"""Quotas in plain Python, each answer from its definition and from scratch. It shares no code with the core."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from nos._core import QuotaSpec

GPU = "nvidia.com/gpu"
MEMORY = "nos.nebuly.com/gpu-memory"
COMPUTE = "nos.nebuly.com/gpu-compute"
Amounts = dict[str, int]


def charge(pod: dict[str, Any], gpu_memory: int) -> Amounts:
    """All that a Pod can be charged on a node whose GPUs have so many GB each; 0: unknown."""
    each = gpu_memory or 32
    amounts = {"pods": 1, **pod["requests"]}
    memory = compute = 0
    for resource, count in pod["requests"].items():
        if resource == GPU:
            memory, compute = memory + each * count, compute + 7 * count
        elif mig := re.match(r"nvidia\.com/mig-(?:\d+c\.)?(\d+)g\.(\d+)gb", resource):
            memory, compute = memory + int(mig[2]) * count, compute + int(mig[1]) * count
        elif part := re.fullmatch(r"nvidia\.com/gpu-(\d+)gb", resource):
            memory += int(part[1]) * count
            compute += max(1, ceil(7 * int(part[1]) / each)) * count
    if share := pod.get("share", 0):
        memory, compute = memory + ceil(each * share / 1000), compute + ceil(7 * share / 1000)
    amounts |= {MEMORY: memory, COMPUTE: compute}
    return {resource: amount for resource, amount in amounts.items() if amount > 0}


@dataclass
class Quota:
    namespaces: list[str]
    min: Amounts = field(default_factory=dict)
    max: Amounts = field(default_factory=dict)
    parent: str = ""

    def core(self) -> QuotaSpec:
        return QuotaSpec(self.namespaces, min=self.min, max=self.max, parent=self.parent)


@dataclass
class Pod:
    namespace: str
    asks: dict[str, Any]
    priority: int = 0
    arrival: int = 0
    node: str = ""
    assumed: bool = False


@dataclass
class Quotas:
    nodes: dict[str, int] = field(default_factory=dict)  # GB of each GPU
    quotas: dict[str, Quota] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)

    # ---- the tree

    def parent(self, name: str) -> str:
        return self.quotas[name].parent if self.quotas[name].parent in self.quotas else ""

    def children(self, name: str) -> list[str]:
        return [child for child in self.quotas if self.parent(child) == name]

    def path(self, name: str) -> list[str]:
        """The quota, its parent, ..., its root."""
        return [name, *(self.path(self.parent(name)) if self.parent(name) else [])]

    def below(self, name: str) -> set[str]:
        return {name}.union(*(self.below(child) for child in self.children(name)))

    def quota_of(self, namespace: str) -> str:
        return next((name for name, quota in self.quotas.items() if namespace in quota.namespaces), "")

    def min(self, name: str) -> Amounts:
        """A parent guarantees no less than its children together."""
        least = dict(self.quotas[name].min)
        for resource in {resource for child in self.children(name) for resource in self.min(child)}:
            together = sum(self.min(child).get(resource, 0) for child in self.children(name))
            least[resource] = max(least.get(resource, 0), together)
        return least

    def namer(self, name: str, resource: str) -> str:
        return next((above for above in self.path(name) if resource in self.min(above)), "")

    def slack(self, name: str, resource: str) -> int:
        of_children = sum(self.min(child).get(resource, 0) for child in self.children(name))
        return self.min(name).get(resource, 0) - of_children

    # ---- what is used

    def charged(self, uid: str) -> Amounts:
        pod = self.pods[uid]
        return charge(pod.asks, self.nodes.get(pod.node, 0)) if pod.node else {}

    def pods_under(self, name: str) -> list[str]:
        return [uid for uid, pod in self.pods.items() if pod.node and self.quota_of(pod.namespace) in self.below(name)]

    def used(self, name: str, resource: str) -> int:
        return sum(self.charged(uid).get(resource, 0) for uid in self.pods_under(name))

    def siblings(self, name: str, resource: str) -> list[str]:
        """Those that name the resource, itself among them."""
        return [other for other in self.children(self.parent(name)) if resource in self.min(other)]

    def guaranteed(self, name: str, resource: str) -> int:
        if resource not in self.min(name):
            return 0
        siblings = self.siblings(name, resource)
        idle = sum(max(0, self.min(other)[resource] - self.used(other, resource)) for other in siblings)
        together = sum(self.min(other)[resource] for other in siblings)
        return self.min(name)[resource] * idle // together if together else 0

    def state(self, name: str) -> tuple[Amounts, Amounts, Amounts, Amounts]:
        """used, min, max, guaranteed."""
        least, most = self.min(name), self.quotas[name].max
        used = {resource: self.used(name, resource) for resource in {*least, *most}}
        return used, least, most, {resource: self.guaranteed(name, resource) for resource in least}

    # ---- who is over

    def order(self, name: str, uid: str) -> tuple:
        """By whom what a quota guarantees is used up: first come, first served."""
        pod = self.pods[uid]
        size = [self.charged(uid).get(resource, 0) for resource in sorted(self.min(name))]
        return pod.arrival, -pod.priority, size, uid

    def is_over(self, uid: str) -> bool:
        mine = self.quota_of(self.pods[uid].namespace)
        for resource in {resource for quota in self.quotas for resource in self.min(quota)}:
            name = self.namer(mine, resource)
            if not name:
                continue
            leaning = [
                other
                for other in self.pods_under(name)
                if self.namer(self.quota_of(self.pods[other].namespace), resource) == name
            ]
            before = [other for other in leaning if self.order(name, other) <= self.order(name, uid)]
            if sum(self.charged(other).get(resource, 0) for other in before) > self.slack(name, resource):
                return True
        return False

    def capacities(self, name: str) -> list[tuple[str, bool]]:
        own = [uid for uid in self.pods_under(name) if self.quota_of(self.pods[uid].namespace) == name]
        return sorted((uid, self.is_over(uid)) for uid in own)

    # ---- who may run

    def refusal(self, uid: str, gpu_memory: int) -> str:
        """The code of the Reason why its quota keeps a waiting Pod off nodes with such GPUs; "" when it does not."""
        name = self.quota_of(self.pods[uid].namespace)
        if not name:
            return ""
        path = self.path(name)
        asked = charge(self.pods[uid].asks, gpu_memory)
        for above in path:
            for resource, most in self.quotas[above].max.items():
                if resource in asked and self.used(above, resource) + asked[resource] > most:
                    return "QuotaMax"
        for resource, amount in asked.items():
            guarantees = (
                self.min(above)[resource] - self.used(above, resource) for above in path if resource in self.min(above)
            )
            if resource in self.min(path[-1]) and not any(amount <= left for left in guarantees):
                roots = self.siblings(path[-1], resource)
                if sum(self.used(root, resource) - self.min(root)[resource] for root in roots) + amount > 0:
                    return "QuotaExhausted"
        return ""

    def stays_within_min(self, uid: str, gpu_memory: int) -> bool:
        name = self.quota_of(self.pods[uid].namespace)
        asked = charge(self.pods[uid].asks, gpu_memory)
        namers = {resource: self.namer(name, resource) for resource in self.resources()}
        return all(
            self.used(namer, resource) + asked.get(resource, 0) <= self.min(namer)[resource]
            for resource, namer in namers.items()
            if namer
        )

    def resources(self) -> set[str]:
        return {resource for quota in self.quotas.values() for resource in [*quota.min, *quota.max]}

    # ---- who goes first

    def excess(self, name: str) -> list[tuple[int, Fraction]]:
        """From the root down, the most that each uses of its min; something of nothing is more than that."""
        return [
            max(
                (
                    (0, Fraction(self.used(above, resource), least)) if least else (1, Fraction(used))
                    for resource, least in self.min(above).items()
                    if (used := self.used(above, resource)) or least
                ),
                default=(0, Fraction(0)),
            )
            for above in reversed(self.path(name))
        ]

    def take_turns(self, place: Callable[[str], None]) -> None:
        """Calls place with one waiting Pod after the other, once it is its turn."""
        waiting = sorted(
            (uid for uid, pod in self.pods.items() if not pod.node),
            key=lambda uid: (-self.pods[uid].priority, self.pods[uid].arrival, uid),
        )
        least = min(self.nodes.values(), key=lambda memory: memory or 32)
        borrowers: list[str] = []
        for uid in waiting:
            mine = self.quota_of(self.pods[uid].namespace)
            overtakes = any(
                self.quota_of(self.pods[other].namespace) == mine
                and self.pods[other].priority > self.pods[uid].priority
                for other in borrowers
            )
            if mine and (overtakes or not self.stays_within_min(uid, least)):
                borrowers.append(uid)
            else:
                place(uid)
        while borrowers:
            uid = min(
                borrowers,
                key=lambda uid: (self.excess(self.quota_of(self.pods[uid].namespace)), borrowers.index(uid)),
            )
            borrowers.remove(uid)
            place(uid)

    # ---- who may take from whom

    def _parties(self, name: str) -> list[str]:
        """From the root down to the quota, and to its own Pods: a party beside its children."""
        return [*reversed(self.path(name)), name + " itself"]

    def _stand(self, party: str, resource: str) -> tuple[bool, int, int, int]:
        """Whether it names the resource; min, used and guaranteed."""
        name = party.removesuffix(" itself")
        named = resource in self.min(name)
        if name != party:
            own = [uid for uid in self.pods_under(name) if self.quota_of(self.pods[uid].namespace) == name]
            used = sum(self.charged(uid).get(resource, 0) for uid in own)
            return named, self.slack(name, resource), used, 0
        return named, self.min(name).get(resource, 0), self.used(name, resource), self.guaranteed(name, resource)

    def may_reclaim(self, uid: str, victim: str) -> bool:
        mine, yours = (self.quota_of(self.pods[pod].namespace) for pod in (uid, victim))
        if not mine or not yours or mine == yours or not self.is_over(victim):
            return False
        freed = self.charged(victim)
        asked = charge(self.pods[uid].asks, self.nodes.get(self.pods[victim].node, 0))
        part = next((a, b) for a, b in zip(self._parties(mine), self._parties(yours), strict=False) if a != b)
        compared = [r for r in self.resources() if self.namer(mine, r)]
        helpful = [r for r in compared if r in asked and r in freed and self.namer(yours, r)]
        down = self._parties(yours)
        down = down[down.index(part[1]) + 1 : -1] if part[1] in down[:-1] else []
        for with_share in (0, 1):
            within = True
            for resource in compared:
                named, least, used, share = self._stand(part[0], resource)
                if (named or resource in asked) and used + asked.get(resource, 0) > least + with_share * share:
                    within = False
            for resource in helpful:
                _, least, used, share = self._stand(part[1], resource)
                beyond = used > least + with_share * share
                below = all(self.used(name, resource) > self.min(name).get(resource, 0) for name in down)
                if within and beyond and below:
                    return True
        return False
