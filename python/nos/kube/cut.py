"""A GPUNode's report to core: what the GPUs of a node are, and what of them may be given to Pods now.

A report is the past. The agent may already be destroying what it shows, on behalf of a spec that the report does not
answer yet. So an instance counts as ready only when the agent reports it ready and every spec that it may be acting
on keeps it. What such a spec wants and the report lacks is counted as there and not ready: it is being made, and a
Pod that wants its like goes there.

Who holds what is the agent's word. Of a Pod that the agent has not seen yet, the decision on its Binding counts. A
report that was there before the Pod was bound speaks of another Pod of that name, as a StatefulSet makes them.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from msgspec.json import Decoder, encode

from nos import _core
from nos.kube.gpunode import Gpu, GPUNode, Model, Spec

_log = logging.getLogger(__name__)
_Known = tuple[str, int, bool, str]  # profile, start, ready, uid


class Holding(NamedTuple):
    """What a bound Pod was given, by the annotations of its Binding."""

    pod: str  # namespace/name
    gpus: Sequence[int] = ()
    instances: Sequence[tuple[int, str, int]] = ()
    new: bool = False  # it was bound after its node's last report


def gpu_specs(
    gpu_node: GPUNode,
    acted_on: Sequence[Spec] | None,
    *,
    fixed: Collection[int] = (),
    uid_of: Callable[[str], str],
    holdings: Mapping[str, Holding],
) -> list[_core.GpuSpec]:
    """By GPU index, as the core counts.

    acted_on: the specs that the agent may be acting on; None when that is not known, and then nothing is ready.
    fixed: GPUs that are not to be recut now. uid_of: namespace/name of a Pod on this node to its uid, or to anything
    that is no uid. holdings: of the Pods on this node, by uid.

    A GPU that is unhealthy, missing from the report, of a product that the driver says nothing of, or whose report
    contradicts itself is not cut; what Pods hold there stays theirs.
    """
    status = gpu_node.status
    new = {holding.pod for holding in holdings.values() if holding.new}
    named = {gpu.pod for gpu in status.gpus} | {i.pod for gpu in status.gpus for i in gpu.instances}
    unseen = {uid: holding for uid, holding in holdings.items() if holding.pod in new or holding.pod not in named}

    def holder(pod: str) -> str:
        return pod if not pod or pod in new else uid_of(pod)

    models = {known.product: model for known in status.models if (model := _usable(known))}
    specs = [_core.GpuSpec(None)] * (max((gpu.index for gpu in status.gpus), default=-1) + 1)
    for gpu in status.gpus:
        model = models.get(gpu.product)
        latest = (acted_on[-1] if acted_on else gpu_node.spec).gpu(gpu.index)
        made = latest.instances if latest and not gpu_node.failure(gpu.index) else ()
        entries = _Entries(gpu, acted_on, [(instance.profile, instance.start) for instance in made])
        try:
            specs[gpu.index] = _gpu_spec(
                gpu, model, entries, gpu.index in fixed or bool(gpu_node.unready), holder, unseen
            )
        except ValueError as error:
            _log_once(f"GPU {gpu.index} of GPUNode {gpu_node.metadata.name} is not used, its report is wrong: {error}")
    return specs


class _Entries:
    """What the specs that the agent may be acting on say of one GPU."""

    def __init__(self, gpu: Gpu, acted_on: Sequence[Spec] | None, made: Sequence[tuple[str, int]]) -> None:
        entries = None if acted_on is None else [e for spec in acted_on if (e := spec.gpu(gpu.index))]
        self._known = entries is not None
        self._turn_on = any(entry.mig for entry in entries or ())
        self._kept = [{(i.profile, i.start) for i in entry.instances} for entry in entries or ()]
        self.made = made

    def keep_whole(self) -> bool:
        """None of them turns its MIG mode on."""
        return self._known and not self._turn_on

    def keep(self, profile: str, start: int) -> bool:
        """None of them destroys this instance."""
        return self._known and all((profile, start) in kept for kept in self._kept)


def _gpu_spec(
    gpu: Gpu,
    model: _core.GpuModel | None,
    entries: _Entries,
    fixed: bool,
    holder: Callable[[str], str],
    unseen: Mapping[str, Holding],
) -> _core.GpuSpec:
    healthy = not gpu.unhealthy
    pod = holder(gpu.pod)
    if not gpu.mig:
        pod = _unseen_at(unseen, gpu.pod, lambda holding: gpu.index in holding.gpus) or pod
    ready = gpu.ready and healthy and not gpu.mig and entries.keep_whole()
    if model is None:
        return _core.GpuSpec(None, ready=ready, pod=pod)
    instances = list(_reported(gpu, entries, healthy, holder, unseen))
    model.room([(profile, start) for profile, start, _, _ in instances])  # ValueError: they cannot be together
    if instances and not gpu.mig:
        raise ValueError("it has instances without MIG mode")
    mig = gpu.mig or (bool(entries.made) and not pod)  # its mode is being changed
    if mig:
        given = [(p, s, uid) for uid, holding in unseen.items() for g, p, s in holding.instances if g == gpu.index]
        there = {(profile, start) for profile, start, _, _ in instances}
        for profile, start, uid in [*given, *((p, s, "") for p, s in entries.made)]:
            if (profile, start) not in there:
                _add(model, instances, (profile, start, False, uid))
    return _core.GpuSpec(model, mig=mig, ready=ready, pod=pod, healthy=healthy, fixed=fixed, instances=instances)


def _reported(
    gpu: Gpu, entries: _Entries, healthy: bool, holder: Callable[[str], str], unseen: Mapping[str, Holding]
) -> Iterator[_Known]:
    for instance in gpu.instances:
        place = (gpu.index, instance.profile, instance.start)
        uid = holder(instance.pod)
        uid = _unseen_at(unseen, instance.pod, partial(_gave, place)) or uid
        ready = instance.ready and healthy and entries.keep(instance.profile, instance.start)
        yield instance.profile, instance.start, ready, uid


def _gave(place: tuple[int, str, int], holding: Holding) -> bool:
    return place in holding.instances


def _unseen_at(unseen: Mapping[str, Holding], reported: str, there: Callable[[Holding], bool]) -> str:
    """The uid of the Pod whose Binding gave it this place, where the report names nobody else there."""
    return next((uid for uid, holding in unseen.items() if reported in ("", holding.pod) and there(holding)), "")


def _add(model: _core.GpuModel, instances: list[_Known], more: _Known) -> None:
    """Count this one as there too, if it can be there beside the others."""
    try:
        model.room([(profile, start) for profile, start, _, _ in (*instances, more)])
    except ValueError:
        return
    instances.append(more)


def _usable(model: Model) -> _core.GpuModel | None:
    try:
        return _core_model(encode(model))
    except ValueError as error:
        _log_once(f"GPUs {model.product} are not cut, what their driver says makes no sense: {error}")
        return None


@lru_cache(maxsize=256)
def _core_model(encoded: bytes) -> _core.GpuModel:
    """Equal reports give one model: the core then keeps one table, and one sum of room."""
    model = _model(encoded)
    return _core.GpuModel(
        model.product,
        units=model.units,
        compute_slices=model.compute_slices,
        engines=model.engines,
        profiles=[
            _core.GpuProfile(
                p.name,
                size=p.size,
                starts=p.starts,
                compute_slices=p.compute_slices,
                max_instances=p.max_instances,
                memory_mib=p.memory_mib,
                engines=p.engines,
            )
            for p in model.profiles
        ],
    )


_model = Decoder(Model).decode


@lru_cache(maxsize=1024)
def _log_once(message: str) -> None:
    _log.error("%s", message)
