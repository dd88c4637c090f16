"""The status of a GPUNode: what the driver shows, what the kubelet hands out, and who holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from nos.kube import gpunode

from .driver import Gpu, Instance, Model
from .gpus import Gpus, Holders


def report(
    gpus: Gpus,
    holders: Holders,
    messages: Mapping[int, str],
    *,
    generation: int,
    trouble: str = "",
    before: gpunode.Status | None = None,
) -> gpunode.Status:
    """messages: why a GPU is not as wanted, by index. generation: of the spec that all GPUs were brought to, or tried.
    trouble: why the kubelet does not answer. before: the report that this one follows; conditions keep their times
    while their statuses do. A sick instance is no reason to say that its GPU could not be cut: the condition has it."""
    known = [gpus.known[index] for index in sorted(gpus.known)]
    amiss = [f"GPU {index}: {messages[index]}" for index in sorted(messages)]
    amiss += [f"GPU {gpu.index}: {ill}" for gpu in known for ill in gpus.ills(gpu)]
    amiss += [gpus.unread[index] for index in sorted(gpus.unread.keys() - gpus.known.keys())]
    return gpunode.Status(
        observed_generation=generation,
        gpu_count=len(gpus.indices),
        product=", ".join(dict.fromkeys(gpu.product for gpu in known)),
        cut=" ".join(_cut(gpu) for gpu in known)[:1024],
        models=tuple(_model(model) for model in {gpu.product: gpu.model for gpu in known}.values() if model),
        gpus=tuple(_gpu(gpus, gpu, holders, messages.get(gpu.index, "")) for gpu in known),
        conditions=_conditions(_readiness(gpus, trouble), "; ".join(amiss), generation, before),
    )


def _gpu(gpus: Gpus, gpu: Gpu, holders: Holders, message: str) -> gpunode.Gpu:
    return gpunode.Gpu(
        index=gpu.index,
        uuid=gpu.uuid,
        product=gpu.product,
        mig=gpu.mig,
        ready=not gpu.mig and _is_ready(gpus, gpu, None, holders),
        memory_mib=gpu.memory_mib,
        unhealthy=gpus.why_unfit(gpu)[:256],
        pod=_pod(holders, gpu.uuid),
        message=message[:1024],
        instances=tuple(
            gpunode.Instance(
                instance.uuid,
                instance.place.profile,
                instance.place.start,
                ready=_is_ready(gpus, gpu, instance, holders),
                pod=_pod(holders, instance.uuid),
            )
            for instance in sorted(gpu.instances, key=lambda instance: instance.place.start)
        ),
    )


def _is_ready(gpus: Gpus, gpu: Gpu, instance: Instance | None, holders: Holders) -> bool:
    """The kubelet hands it out: it knows it, and we have not begun to take it away."""
    device = instance.uuid if instance else gpu.uuid
    plugin = gpus.plugins.of(device)
    return plugin is not None and device in plugin.advertised and device in holders.known and gpus.is_fit(gpu, instance)


def _pod(holders: Holders, device: str) -> str:
    holder = holders.held.get(device)
    return f"{holder.namespace}/{holder.pod}" if holder else ""


def _cut(gpu: Gpu) -> str:
    """0:3g.40gb,2x1g.10gb for people."""
    if gpu.lost or not gpu.mig:
        return f"{gpu.index}:{'lost' if gpu.lost else 'whole'}"
    counts = Counter(instance.place.profile for instance in sorted(gpu.instances, key=lambda one: one.place.start))
    parts = (profile if count == 1 else f"{count}x{profile}" for profile, count in counts.items())
    return f"{gpu.index}:{','.join(parts) or 'uncut'}"


def _model(model: Model) -> gpunode.Model:
    return gpunode.Model(
        product=model.product,
        units=model.units,
        compute_slices=model.compute_slices,
        engines=model.engines,
        profiles=tuple(
            gpunode.Profile(
                name=profile.name,
                size=profile.size,
                starts=profile.starts,
                compute_slices=profile.compute_slices,
                max_instances=profile.max_instances,
                memory_mib=profile.memory_mib,
                engines=profile.engines,
            )
            for profile in model.profiles
        ),
    )


def _readiness(gpus: Gpus, trouble: str) -> tuple[str, str]:
    """Why nothing can be done here, as a reason and a sentence."""
    if gpus.indices and not gpus.known:
        return "DriverSilent", "; ".join(gpus.unread[index] for index in sorted(gpus.unread))
    return ("KubeletUnreachable", f"The kubelet does not answer: {trouble}") if trouble else ("", "")


def _conditions(
    unready: tuple[str, str], amiss: str, generation: int, before: gpunode.Status | None
) -> tuple[gpunode.Condition, ...]:
    reason, why = unready
    now = (
        ("Ready", not reason, reason or "Serving", why or "The kubelet listens"),
        ("AsWanted", not amiss, "NotAsWanted" if amiss else "AsWanted", amiss or "Every GPU is as the spec wants it"),
    )
    known = {condition.type: condition for condition in before.conditions} if before else {}
    made = []
    for kind, is_true, reason, message in now:
        status, last = str(is_true), known.get(kind)
        since = last.last_transition_time if last and last.status == status else _now()
        made.append(gpunode.Condition(kind, status, reason, message[:4096], generation, since))
    return tuple(made)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
