"""Why a Pod waits, and the smallest changes that would let it run.

Nothing is guessed: each change is made on a copy of the cluster as the next cycle leaves it, and the scheduler itself
says whether the Pod runs then. Of a gang all members that wait are changed alike.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from nos import _core
from nos.autoscaler.template import PRODUCT_LABEL
from nos.controller.ledger import Ledger
from nos.controller.pods import SAME_SECOND
from nos.controller.quota_claims import Counted
from nos.controller.scaling import what_if
from nos.controller.viewer import asks
from nos.controller.waiting import State, Waiting
from nos.kube.decode import Template, spec_asking
from nos.kube.encode import instance_list
from nos.kube.gpunode import PARTITIONING_LABEL
from nos.kube.node import Metadata, Node
from nos.kube.quantity import text
from nos.kube.quota_status import short
from nos.mig import models
from nos.observe.why import Change, Why

_MIG = "nvidia.com/mig-"
_PLENTY = 2**50
_HIGHEST = 2**31 - 1  # of priorities
_FINENESS = 64  # parts of a request in which less of it is looked for
_MOST_SHAPES, _MOST_NODES = 64, 1000
_KIND_LABELS = ("node.kubernetes.io/instance-type", PRODUCT_LABEL, PARTITIONING_LABEL)
_DIVISIBLE = ("cpu", "memory", "ephemeral-storage")
_Rule = Callable[[Template], Template]  # which is not asked for any more
_RULES: tuple[tuple[str, _Rule], ...] = (
    ("without its nodeSelector", lambda of: of._replace(node_selector=b"null")),
    ("without its affinity", lambda of: of._replace(affinity=b"null")),
    ("without its topologySpreadConstraints", lambda of: of._replace(spread=b"[]")),
    ("if it tolerated all taints", lambda of: of._replace(tolerations=b'[{"operator":"Exists"}]')),
)

_Edit = Callable[[_core.Cluster], object]


class UnknownPodError(LookupError):
    """There is no such Pod."""


async def explain(ledger: Ledger, key: str, policy: _core.Policy) -> Why:
    """key: namespace/name. Raises UnknownPodError."""
    waiting = next((w for w in ledger.waiting.values() if f"{w.namespace}/{w.name}" == key and not w.request), None)
    if waiting is None:
        return _placed(ledger, key)
    gang = [w for w in ledger.waiting.values() if w.gang == waiting.gang] if waiting.gang else [waiting]
    others = [uid for uid in ledger.waiting if all(uid != member.uid for member in gang)]
    case = _Case(ledger, waiting, gang, others, await what_if.copy(ledger), policy)
    return await asyncio.to_thread(case.why)


def _placed(ledger: Ledger, key: str) -> Why:
    found = next(((uid, known) for uid, known in ledger.pods.known.items() if known.key == key), None)
    if found is None:
        raise UnknownPodError(key)
    uid, known = found
    if not known.node:
        return Why(key, "waits", note="it is another scheduler's: see schedulerName in its spec")
    state = ledger.cluster.pod(uid) if uid in ledger.cluster else None
    notes = [known.capacity.replace("-", " of its ", 1).replace("of its quota", "quota")] if known.capacity else []
    notes += [f"it stays where it is: {known.stays}"] if known.stays else []
    return Why(
        key,
        "placed",
        since=known.arrival >> SAME_SECOND,
        priority=state.priority if state else 0,
        gang=ledger.gangs.of(uid),
        quota=ledger.quotas.of(key.partition("/")[0]),
        node=known.node,
        gpus=tuple(state.gpus) if state else (),
        slices=_slices(state.instances) if state else (),
        note="; ".join(notes),
    )


class _Case:
    """One Pod that waits. All that is asked of the ledger's objects later is never changed by it."""

    def __init__(
        self,
        ledger: Ledger,
        waiting: Waiting,
        gang: Sequence[Waiting],
        others: Sequence[str],
        cluster: _core.Cluster,
        policy: _core.Policy,
    ) -> None:
        self._waiting, self._gang, self._others = waiting, gang, others
        self._cluster, self._policy = cluster, policy
        self._templates = list(_shapes(ledger))
        self._names = {uid: known.key for uid, known in ledger.pods.known.items()}
        self._defaults = {
            member.uid: None
            if member.facts.template.has_spread
            else ledger.spread_defaults.of(member.namespace, member.facts.labels, member.facts.owner)
            for member in gang
        }
        self._booked: dict[str, list[str]] = {}  # stand-ins, by what they stand for
        for each in ledger.waiting.values():
            if each.request and each.state is State.BINDING:
                self._booked.setdefault(f"ProvisioningRequest {each.request}", []).append(each.uid)
        self._title = ledger.quotas.of(waiting.namespace)
        self._quota = ledger.quotas.of(waiting.namespace)
        verdict = ledger.quotas.verdicts.get(self._quota)
        self._counted: Counted | None = verdict.counted if verdict else None

    def why(self) -> Why:
        """All of it."""
        waiting, outcome = self._waiting, self._schedule(self._cluster)
        known = Why(
            f"{waiting.namespace}/{waiting.name}",
            "waits",
            asks(waiting.spec),
            waiting.arrival >> SAME_SECOND,
            waiting.priority,
            waiting.gang,
            self._title,
        )
        bind = next((bind for bind in outcome.binds if bind.uid == waiting.uid), None)
        if bind is not None or waiting.uid not in dict(outcome.waiting):
            node = bind.node if bind else self._cluster.pod(waiting.uid).node
            note = "" if bind is None or bind.ready else "its GPU is cut first"
            place = (tuple(bind.gpus), _slices(bind.instances)) if bind else ((), ())
            return replace(known, state="decided", node=node, gpus=place[0], slices=place[1], note=note)
        reason = dict(outcome.waiting)[waiting.uid]
        known = replace(known, code=reason.code, message=reason.message, counts=reason.counts)
        if held := dict(outcome.held).get(waiting.uid):
            return replace(known, state="making-room", node=held, evicts=self._evicted(outcome, waiting.uid))
        for uid in self._others:  # those that found no place do not stand in the way
            if uid in self._cluster and self._cluster.pod(uid).phase == "waiting":
                self._cluster.remove_pod(uid)
        return replace(known, changes=tuple(self._changes()))

    def _changes(self) -> Iterator[Change]:
        yield from self._asking_less()
        yield from self._by_another_profile()
        yield from self._without_rules()
        yield from self._with_more_quota()
        yield from self._by_evictions()
        yield from self._without_bookings()
        yield from self._on_more_nodes()

    # ---- what it asks for

    def _asking_less(self) -> Iterator[Change]:
        requests = self._waiting.spec.requests
        for resource in sorted(requests, key=lambda name: (name in _DIVISIBLE, name)):
            asked = requests[resource]
            step = -(-asked // _FINENESS) if resource in _DIVISIBLE else 1
            node = self._runs(self._asks(requests | {resource: 0}))
            if not node:
                continue
            least, most = 0, (asked - 1) // step  # in steps: it runs with the least
            while least < most:
                middle = (least + most + 1) // 2
                found = self._runs(self._asks(requests | {resource: middle * step}))
                least, most, node = (middle, most, found) if found else (least, middle - 1, node)
            less = f"with {text(resource, least * step)} {short(resource)} instead of {text(resource, asked)}"
            yield Change("asks", less if least else f"without {short(resource)}", node)

    def _by_another_profile(self) -> Iterator[Change]:
        requests = self._waiting.spec.requests
        for resource in [name for name in requests if name.startswith(_MIG)]:
            name = resource.removeprefix(_MIG)
            rest = {other: amount for other, amount in requests.items() if other != resource}
            for smaller in _smaller(name):
                if found := self._runs(self._asks(rest | {_MIG + smaller: requests[resource]})):
                    yield Change("asks", f"with {short(_MIG)}{smaller} instead of {short(resource)}", found)
                    break

    def _asks(self, requests: Mapping[str, int]) -> _Edit:
        asked = {resource: amount for resource, amount in requests.items() if amount}
        return partial(self._respecify, lambda template: template, asked)

    def _without_rules(self) -> Iterator[Change]:
        template = self._waiting.facts.template
        for words, rule in _RULES:
            if rule(template) != template and (found := self._runs(partial(self._respecify, rule, None))):
                yield Change("rule", words, found)

    def _respecify(self, rule: _Rule, requests: Mapping[str, int] | None, cluster: _core.Cluster) -> None:
        """Let it, and those of its gang, ask for something else; None: for as much as before."""
        for waiting in self._gang:
            if requests is not None and waiting.spec != self._waiting.spec:
                continue
            facts, amounts = waiting.facts, waiting.spec.requests if requests is None else requests
            template = rule(facts.template)
            default = None if template.has_spread else self._defaults[waiting.uid]
            spec = spec_asking(template, amounts, volumes=facts.asked.volumes, default=default)
            if spec is not None and cluster.pod(waiting.uid).phase == "waiting":
                self._offer(cluster, waiting, spec=spec)

    # ---- what it may have

    def _with_more_quota(self) -> Iterator[Change]:
        if self._counted is None:
            return
        of, nothing = self._counted, dict[str, int]()
        for is_max, is_min in ((True, False), (False, True), (True, True)):
            cluster = self._cluster.copy()
            unbound = dict.fromkeys({*of.min, *of.max}, _PLENTY)  # each is named, so that it is counted
            most = unbound if is_max else {**unbound, **of.max}
            loose = dataclasses.replace(of, max=most, min=nothing if is_min else of.min)
            if not self._bound_by(loose, cluster) or self._node(self._schedule(cluster)) is None:
                continue
            used = cluster.quota(self._quota).used  # by it, too
            higher = _beyond(of.max if is_max else nothing, used), _beyond(of.min if is_min else nothing, used)
            raised = dataclasses.replace(of, max={**of.max, **higher[0]}, min={**of.min, **higher[1]})
            if found := self._runs(partial(self._bound_by, raised)):
                said = [
                    f"{what} of {short(name)} were {text(name, amount)} instead of {text(name, before[name])}"
                    for what, before, more in (("max", of.max, higher[0]), ("min", of.min, higher[1]))
                    for name, amount in more.items()
                ]
                yield Change("quota", f"if, in {self._title}, the {' and the '.join(said)}", found)
                return

    def _bound_by(self, counted: Counted, cluster: _core.Cluster) -> bool:
        """Let its quota be that; False where that makes no sense beside the others."""
        spec = _core.QuotaSpec(counted.namespaces, min=counted.min, max=counted.max, parent=counted.parent)
        try:
            cluster.upsert_quota(self._quota, spec)
        except ValueError:
            return False
        return True

    # ---- who is in the way, and what is not there

    def _by_evictions(self) -> Iterator[Change]:
        cluster = self._cluster.copy()
        for waiting in self._gang:
            if waiting.uid in cluster and cluster.pod(waiting.uid).phase == "waiting":
                self._offer(cluster, waiting, priority=_HIGHEST, preempts=True)
        outcome = self._schedule(cluster)
        node = dict(outcome.held).get(self._waiting.uid)
        if node and (evicted := self._evicted(outcome, *[waiting.uid for waiting in self._gang])):
            who = "a Pod" if len(evicted) == 1 else f"{len(evicted)} Pods"
            yield Change("evictions", f"if {who} went that it may not evict", node, evicted)

    def _without_bookings(self) -> Iterator[Change]:
        if self._runs(partial(_remove, [uid for uids in self._booked.values() for uid in uids])):
            for request, uids in self._booked.items():
                if found := self._runs(partial(_remove, uids)):
                    yield Change("booking", f"if the room were free that is booked for {request}", found)
                    return

    def _on_more_nodes(self) -> Iterator[Change]:
        groups = []
        for like, template in self._templates:
            try:
                groups.append(_core.NodeGroup(like, what_if.offered(template), price=1, room=_MOST_NODES))
            except (ValueError, OverflowError):  # one that makes no sense offers nothing
                continue
        plan = _core.scale_up(self._cluster.copy(), groups, policy=self._policy)
        placed = [uid for node in plan.nodes for uid in node.pods] + [bind.uid for bind in plan.binds]
        if plan.nodes and self._waiting.uid in placed:
            counts = Counter(node.group for node in plan.nodes)
            said = ", ".join(f"{count} more like {like}" for like, count in counts.items())
            yield Change("nodes", f"on new nodes: {said}")

    # ---- the scheduler

    def _offer(self, cluster: _core.Cluster, waiting: Waiting, **other: object) -> None:
        said: dict[str, object] = {
            "spec": waiting.spec,
            "labels": waiting.labels,
            "priority": waiting.priority,
            "arrival": waiting.arrival,
            "preempts": waiting.preempts,
            "gang": waiting.gang,
        }
        cluster.upsert_pod(waiting.uid, **(said | other))  # type: ignore[arg-type]

    def _schedule(self, cluster: _core.Cluster) -> _core.Outcome:
        return _core.Scheduler(cluster, self._policy).schedule()

    def _runs(self, edit: _Edit) -> str | None:
        """Where it runs after that; None where it does not, or only if others go."""
        cluster = self._cluster.copy()
        edit(cluster)
        return self._node(self._schedule(cluster))

    def _node(self, outcome: _core.Outcome) -> str | None:
        held = dict(outcome.held)
        return next(
            (bind.node for bind in outcome.binds if bind.uid == self._waiting.uid and bind.uid not in held), None
        )

    def _evicted(self, outcome: _core.Outcome, *uids: str) -> tuple[str, ...]:
        return tuple(self._names.get(e.uid, e.uid) for e in outcome.evictions if e.for_uid in uids)


def _remove(uids: Iterable[str], cluster: _core.Cluster) -> None:
    for uid in uids:
        cluster.remove_pod(uid)


def _shapes(ledger: Ledger) -> Iterator[tuple[str, Node]]:
    """A node of each kind, by its name, as an empty one would be."""
    seen: set[tuple[object, ...]] = set()
    for name in ledger.nodes.known:
        node = ledger.nodes.node(name)
        if node is None or len(seen) >= _MOST_SHAPES:
            continue
        labels = {key: value for key, value in node.metadata.labels.items() if key != what_if.HOSTNAME}
        kind = (
            tuple(labels.get(label) for label in _KIND_LABELS),
            tuple(sorted(node.status.allocatable.items())),
            tuple(sorted((taint.key, taint.value, taint.effect) for taint in node.spec.taints)),
        )
        if kind not in seen and not node.spec.unschedulable:
            seen.add(kind)
            yield name, Node(Metadata(labels=labels), node.spec, node.status)


def _smaller(profile: str) -> list[str]:
    """Of the models that have it, profiles that are smaller, the largest first. Those with more engines are rare."""
    found: dict[str, tuple[int, int]] = {}
    for model in models():
        sizes = {one.name: (one.size, one.compute_slices) for one in model.profiles if "+" not in one.name}
        if profile in sizes:
            found |= {name: size for name, size in sizes.items() if size < sizes[profile]}
    return sorted(found, key=lambda name: found[name], reverse=True)


def _beyond(bounds: Mapping[str, int], used: Mapping[str, int]) -> dict[str, int]:
    """Of these bounds those that are passed, as they would have to be."""
    return {name: used[name] for name, bound in bounds.items() if used.get(name, 0) > bound}


def _slices(instances: Sequence[tuple[int, str, int]]) -> tuple[str, ...]:
    return tuple(instance_list([held]) for held in instances)
