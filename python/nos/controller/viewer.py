"""What people see of the ledger: each look tells what has changed since the one before.

Looking costs one pass over what is known; only nodes on which something has changed are drawn anew.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from nos import _core
from nos.autoscaler.template import PRODUCT_LABEL
from nos.controller.ledger import Ledger
from nos.controller.pods import SAME_SECOND, Known
from nos.controller.scaling.drains import DRAINING_ANNOTATION
from nos.controller.waiting import State, Waiting
from nos.kube.gpunode import GPUNode, Target
from nos.kube.node import Node as ApiNode
from nos.kube.quantity import text
from nos.kube.quota_status import short
from nos.mig import recognize
from nos.observe.view import Bound, Changes, Gpu, Held, Node, Pod, Quota, Slice, Totals

_GPU, _WHOLE = "nvidia.com/gpu", 1000

_Seen = tuple[ApiNode, GPUNode | None, list[tuple[str, Known]]]


class Viewer:
    """Looks at one ledger. fragmentation: see `Scheduler.fragmentation_ratio`."""

    def __init__(self, ledger: Ledger, fragmentation: Callable[[], float]) -> None:
        self._ledger = ledger
        self._fragmentation = fragmentation
        self._seen: dict[str, _Seen] = {}
        self._gpus: dict[str, tuple[int, int]] = {}  # by node: how many, and thousandths in use
        self._queue: tuple[Pod, ...] = ()
        self._quotas: tuple[Quota, ...] = ()
        self._is_first = True

    async def look(self) -> Changes:
        """What has changed. While the scheduler has the Cluster to itself it waits."""
        found: asyncio.Future[Changes] = asyncio.get_running_loop().create_future()

        def edit() -> None:
            try:
                changes = self._look()
            except Exception as error:  # whoever looks is to hear of it, and nobody else
                if not found.done():
                    found.set_exception(error)
            else:
                if not found.done():
                    found.set_result(changes)

        self._ledger.edit(edit)
        return await found

    def _look(self) -> Changes:
        before = self._seen
        self._seen = self._sights()
        new = [name for name, sight in self._seen.items() if before.get(name) != sight]
        nodes = tuple(self._node(name, *self._seen[name]) for name in new)
        gone = tuple(before.keys() - self._seen.keys())
        for name in gone:
            del self._gpus[name]
        self._gpus |= {node.name: (len(node.gpus), sum(gpu.used for gpu in node.gpus)) for node in nodes}
        queue, quotas = self._waiting(), self._counted()
        is_first = self._is_first
        changes = Changes(
            time.time(),
            Totals(
                sum(count for count, _ in self._gpus.values()),
                sum(used for _, used in self._gpus.values()),
                len(queue),
                self._fragmentation(),
            ),
            nodes,
            gone,
            queue if is_first or queue != self._queue else None,
            quotas if is_first or quotas != self._quotas else None,
        )
        self._queue, self._quotas, self._is_first = queue, quotas, False
        return changes

    def _sights(self) -> dict[str, _Seen]:
        """By node, all that its picture is made of. Who is still to come has a place already."""
        pods: defaultdict[str, list[tuple[str, Known]]] = defaultdict(list)
        for uid, known in self._ledger.pods.known.items():
            if known.node:
                pods[known.node].append((uid, known))
        for waiting in self._ledger.waiting.values():
            if waiting.request and waiting.state is State.BINDING:
                node_name, key = self._ledger.cluster.pod(waiting.uid).node, f"{waiting.namespace}/{waiting.name}"
                pods[node_name].append((waiting.uid, Known(f"{key} (booked)", node_name, arrival=waiting.arrival)))
        reports = self._ledger.gpu_nodes.known
        return {
            name: (node, reports.get(name), pods.get(name, []))
            for name in self._ledger.nodes.known
            if (node := self._ledger.nodes.node(name))
        }

    def _node(self, name: str, node: ApiNode, report: GPUNode | None, pods: Sequence[tuple[str, Known]]) -> Node:
        cluster = self._ledger.cluster
        state, targets = cluster.node(name), cluster.targets(name)
        held = {known.key: cluster.pod(uid) for uid, known in pods if uid in cluster}
        product = (report.status.product if report else "") or node.metadata.labels.get(PRODUCT_LABEL, "")
        return Node(
            name=name,
            product=product,
            cpu=(state.requested.get("cpu", 0), state.allocatable.get("cpu", 0)),
            memory=(state.requested.get("memory", 0), state.allocatable.get("memory", 0)),
            gpus=_gpus(state, product, report, targets, held),
            pods=tuple(
                Held(
                    known.key,
                    known.arrival >> SAME_SECOND,
                    tuple(held[known.key].gpus) if known.key in held else (),
                    tuple(f"{slot}:{profile}" for slot, profile, _ in held[known.key].instances)
                    if known.key in held
                    else (),
                    known.leaving,
                )
                for _, known in pods
            ),
            note=_note(node),
        )

    def _waiting(self) -> tuple[Pod, ...]:
        return tuple(self._pod(waiting) for waiting in self._ledger.waiting.values() if not waiting.request)

    def _pod(self, waiting: Waiting) -> Pod:
        return Pod(
            f"{waiting.namespace}/{waiting.name}",
            asks(waiting.spec),
            waiting.arrival >> SAME_SECOND,
            waiting.priority,
            waiting.gang,
            self._ledger.quotas.of(waiting.namespace),
            "" if waiting.state is State.PENDING else waiting.state.value,
            waiting.code,
            waiting.message or "",
        )

    def _counted(self) -> tuple[Quota, ...]:
        found = []
        for name, (_, ready, _, message) in self._ledger.quotas.verdicts.items():
            quota = self._ledger.quotas.find(name)
            if quota is None:
                continue
            bounds: dict[str, Bound] = {}
            if name in self._ledger.quotas.counted:
                state = self._ledger.cluster.quota(name)
                bounds = {
                    resource: Bound(state.used.get(resource, 0), state.min.get(resource), state.max.get(resource))
                    for resource in sorted({*state.min, *state.max}, key=short)
                }
            found.append(Quota(quota.name, quota.namespaces, bounds, "" if ready else message))
        return tuple(found)


def asks(spec: _core.PodSpec) -> str:
    """What a Pod asks for, the GPUs first: `2 gpu, 8 cpu, 16Gi memory`."""
    requests = spec.requests
    order = sorted(requests, key=lambda resource: (resource in ("cpu", "memory"), short(resource)))
    said = [f"{text(resource, requests[resource])} {short(resource)}" for resource in order]
    if spec.gpu_share_milli:
        said.insert(0, f"{spec.gpu_share_milli / _WHOLE:g} gpu")
    return ", ".join(said) or "nothing"


def _gpus(
    state: _core.NodeState,
    product: str,
    report: GPUNode | None,
    targets: Sequence[Target],
    held: dict[str, _core.PodState],
) -> tuple[Gpu, ...]:
    found = []
    for slot, free in enumerate(state.gpu_free_milli):
        whole = tuple(key for key, pod in held.items() if slot in pod.gpus)
        owners = {
            (profile, start): key
            for key, pod in held.items()
            for index, profile, start in pod.instances
            if index == slot
        }
        there = report.status.gpu(slot) if report else None
        units, sizes = _sizes(report, there.product if there else product)
        is_there = {(instance.profile, instance.start) for instance in there.instances} if there else set()
        wanted = set(targets[slot][1]) if slot < len(targets) else is_there
        slices = tuple(
            Slice(
                *place,
                sizes.get(place[0], 0),
                owners.get(place, ""),
                "coming" if place not in is_there else "" if place in wanted else "going",
            )
            for place in sorted(is_there | wanted | owners.keys(), key=lambda place: (place[1], place[0]))
        )
        used = sum(one.size for one in slices if one.pod) * _WHOLE // units if slices and units else _WHOLE - free
        problem = (there.unhealthy or there.message) if there else ""
        is_cut = slices or (slot < len(targets) and targets[slot][0])
        found.append(Gpu(used if whole or slices else 0, units if is_cut else 0, whole, slices, problem))
    return tuple(found)


def _sizes(report: GPUNode | None, product: str) -> tuple[int, dict[str, int]]:
    """The memory units of such a GPU, and of each profile: as its driver says, else as is known."""
    reported = report.status.models if report else ()
    model = next((model for model in reported if model.product == product), None) or recognize(product)
    return (model.units, {profile.name: profile.size for profile in model.profiles}) if model else (0, {})


def _note(node: ApiNode) -> str:
    if DRAINING_ANNOTATION in node.metadata.annotations:
        return "is being emptied, and goes"
    if node.spec.unschedulable:
        return "cordoned"
    return ""
