"""What would happen: the cluster as it is, changed in a ledger of our own, and one cycle of the production scheduler.

Nothing is written. Pods may be added, nodes taken away with what their controllers would make anew, and GPUs cut
otherwise; then the core decides as it would for real, and scaling looks for nodes if the settings name a backend.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import replace

from nos import _core
from nos.controller.ledger import Ledger
from nos.controller.scaling import what_if
from nos.controller.scaling.plan import plan
from nos.controller.scaling.stage import Stage
from nos.controller.settings import Settings
from nos.kube.client import Client
from nos.kube.decode import WITH_ITS_NODE, controller
from nos.kube.encode import instance_list
from nos.kube.errors import ApiError, ConfigError, Unreachable
from nos.kube.gpunode import GPUNode, Instance, Spec, WantedGpu, WantedInstance
from nos.kube.pod import decode_pod
from nos.mig import recognize
from nos.mig.request import RequestError, instances_of

_REPLICAS = {"Deployment": "replicas", "ReplicaSet": "replicas", "StatefulSet": "replicas", "Job": "parallelism"}
_MOST_PODS = 100_000


class BindLine(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A Pod that would be bound."""

    pod: str
    node: str
    gpus: tuple[int, ...] = ()
    slices: str = ""  # such as 0:3g.20gb@4
    cut_first: bool = False


class CutLine(Struct, rename="camel", frozen=True):
    """A GPU that would be cut."""

    node: str
    gpu: int
    instances: str  # such as 3g.20gb@4,1g.5gb@0; empty: it would be whole


class EvictionLine(Struct, rename="camel", frozen=True):
    """A Pod that would be evicted."""

    pod: str
    node: str
    why: str


class WaitLine(Struct, rename="camel", frozen=True):
    """A Pod that would wait."""

    pod: str
    code: str
    message: str


class OrderLine(Struct, rename="camel", frozen=True):
    """A node that would be ordered."""

    group: str
    pods: tuple[str, ...]
    slices: str
    price: float  # dollars per hour


class Outcome(Struct, rename="camel", frozen=True):
    """All of it."""

    lost: tuple[str, ...]  # Pods of the nodes taken away that nobody would make anew
    binds: tuple[BindLine, ...]
    cuts: tuple[CutLine, ...]
    evictions: tuple[EvictionLine, ...]
    waits: tuple[WaitLine, ...]
    orders: tuple[OrderLine, ...]


class Changes(Struct, frozen=True):
    """Before the cycle. cuts: by node and GPU, what is to be on it."""

    pods: Sequence[bytes] = ()
    nodes: Sequence[str] = ()
    cuts: Mapping[tuple[str, int], str] = {}


def pods_of(text: str, source: str) -> list[bytes]:
    """The Pods of a file of manifests, and those that its workloads would make. Raises ConfigError."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: no valid YAML: {' '.join(str(error).split())}") from None
    found: list[bytes] = []
    for number, document in enumerate(documents, 1):
        items = document.get("items", []) if _is(document, "List") else [document]
        for item in items:
            found += _pods(item, f"{source}: document {number}")
    return found


async def rehearse(client: Client, ledger: Ledger, settings: Settings, changes: Changes) -> Outcome:
    """Change the ledger, and look what comes of it. Raises ConfigError for what cannot be changed so."""
    for (node, gpu), text in changes.cuts.items():
        _cut(ledger, node, gpu, text)
    lost: list[str] = []
    for name in changes.nodes:
        lost += await _remove(client, ledger, name)
    for raw in changes.pods:
        ledger.pods.changed(decode_pod(raw))
    await asyncio.sleep(0)  # what follows from that is looked up
    policy = _core.Policy(settings.score)
    cluster = await what_if.copy(ledger)
    before = {name: cluster.targets(name) for name in ledger.nodes.known if ledger.nodes.is_cut(name)}
    names = {uid: known.key for uid, known in ledger.pods.known.items()}
    with ThreadPoolExecutor(1) as thread:
        outcome = await asyncio.get_running_loop().run_in_executor(thread, _core.Scheduler(cluster, policy).schedule)
        orders = await _orders(client, ledger, settings, policy, names, thread)
    return Outcome(
        tuple(lost),
        tuple(_bind(bind, names) for bind in outcome.binds),
        tuple(_cuts(cluster, before)),
        tuple(EvictionLine(names.get(one.uid, one.uid), one.node, one.why) for one in outcome.evictions),
        tuple(WaitLine(names.get(uid, uid), reason.code, reason.message) for uid, reason in outcome.waiting),
        orders,
    )


# ---- what is changed


def _pods(item: Any, where: str) -> Iterator[bytes]:
    if not isinstance(item, dict) or not isinstance(item.get("spec"), dict):
        raise ConfigError(f"{where}: is no Kubernetes object with a spec")
    kind, metadata = item.get("kind", ""), item.get("metadata") or {}
    name = metadata.get("name") or metadata.get("generateName") or kind.lower()
    namespace = metadata.get("namespace") or "default"
    if kind == "Pod":
        yield _pod(item["spec"], metadata, namespace, name, where)
    elif kind in _REPLICAS:
        template = item["spec"].get("template") or {}
        count = item["spec"].get(_REPLICAS[kind], 1)
        if not isinstance(count, int) or not 0 <= count <= _MOST_PODS:
            raise ConfigError(f"{where}: spec.{_REPLICAS[kind]}: {count!r} is no number from 0 to {_MOST_PODS}")
        for number in range(count):
            of = template.get("metadata") or {}
            yield _pod(template.get("spec") or {}, of, namespace, f"{name}-{number}", where)
    else:
        raise ConfigError(f"{where}: kind {kind or 'missing'}: expected Pod, {', '.join(_REPLICAS)} or List")


def _pod(spec: dict[str, Any], metadata: dict[str, Any], namespace: str, name: str, where: str) -> bytes:
    listed = [key for key in ("containers", "initContainers") if isinstance(spec.get(key), list)]
    spec = spec | {key: [_defaulted(one) for one in spec[key]] for key in listed}
    kept = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    body = {
        "metadata": kept | {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}/added"},
        "spec": {"schedulerName": "default-scheduler"} | {k: v for k, v in spec.items() if k != "nodeName"},
        "status": {"phase": "Pending"},
    }
    raw = json.dumps(body, default=str).encode()
    try:
        decode_pod(raw)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{where}: Pod {namespace}/{name}: {error}") from None
    return raw


def _defaulted(container: Any) -> Any:
    """As the API server has it: what has a limit and no request asks for its limit, and amounts are text."""
    resources = container.get("resources") if isinstance(container, dict) else None
    if not isinstance(resources, dict):
        return container
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return container | {"resources": {"requests": {name: str(amount) for name, amount in asked.items()}}}


async def _remove(client: Client, ledger: Ledger, name: str) -> list[str]:
    """Take a node away. Its Pods are made anew by their controllers; the others are lost."""
    node = ledger.nodes.node(name)
    if node is None:
        raise ConfigError(f"--remove-node {name}: there is no such node")
    try:
        answer = await client.request("GET", "/api/v1/pods", params={"fieldSelector": f"spec.nodeName={name}"})
    except (ApiError, Unreachable) as error:
        raise ConfigError(f"--remove-node {name}: its Pods cannot be read: {error}") from None
    lost = []
    for item in json.loads(answer).get("items", []):
        pod = decode_pod(json.dumps(item).encode())
        known = ledger.pods.known.get(pod.metadata.uid)
        ledger.pods.deleted(pod)
        if known is None or known.stays == WITH_ITS_NODE:
            continue
        if controller(pod) is None or not ledger.pods.is_for_us(pod):
            lost.append(known.key)
            continue
        metadata = item["metadata"] | {"annotations": {}}
        raw = _pod(item["spec"], metadata, pod.metadata.namespace, f"{pod.metadata.name} (anew)", "")
        ledger.pods.changed(decode_pod(raw))
    ledger.nodes.deleted(node)
    return lost


def _cut(ledger: Ledger, name: str, slot: int, text: str) -> None:
    """Let a GPU be cut so. What Pods hold stays."""
    where = f"--cut {name}/{slot}"
    gpu_node = ledger.gpu_nodes.known.get(name)
    gpu = gpu_node.status.gpu(slot) if gpu_node else None
    if gpu_node is None or gpu is None:
        raise ConfigError(f"{where}: its node has no GPUNode with that GPU; see kubectl get gpunodes")
    model = recognize(gpu.product)
    if model is None:
        raise ConfigError(f"{where}: nos does not know {gpu.product}; see nos mig models")
    try:
        wanted = instances_of(model, text, where)
    except RequestError as error:
        raise ConfigError(str(error)) from None
    held = [one for one in gpu.instances if one.pod and (one.profile, one.start) not in wanted]
    if held or gpu.pod:
        holder = held[0].pod if held else gpu.pod
        raise ConfigError(f"{where}: Pod {holder} holds what would go; nos never cuts through what is in use")
    there = {(one.profile, one.start): one for one in gpu.instances}
    instances = tuple(there.get(place, Instance("", *place, ready=True)) for place in wanted)
    gpus = tuple(
        replace(one, mig=bool(wanted), ready=not wanted, instances=instances) if one.index == slot else one
        for one in gpu_node.status.gpus
    )
    entry = WantedGpu(slot, bool(wanted), tuple(WantedInstance(*place) for place in wanted))
    spec = Spec((*(one for one in gpu_node.spec.gpus if one.index != slot), entry))
    generation = gpu_node.metadata.generation + 1
    metadata = replace(gpu_node.metadata, generation=generation, resource_version=f"{where}")
    status = replace(gpu_node.status, gpus=gpus, observed_generation=generation)
    ledger.gpu_nodes.changed(GPUNode(metadata, spec, status))


# ---- what comes of it


async def _orders(
    client: Client,
    ledger: Ledger,
    settings: Settings,
    policy: _core.Policy,
    names: Mapping[str, str],
    thread: ThreadPoolExecutor,
) -> tuple[OrderLine, ...]:
    stage = Stage.looking(client, ledger, settings.scaling, settings.score)
    if not stage.has_backends:
        return ()
    await stage.fleet.survey()
    stage.orders.follow()
    found = await plan(ledger, stage.fleet, stage.orders, stage.daemons, policy, thread)
    return tuple(
        OrderLine(
            node.group,
            tuple(names.get(uid, uid) for uid in node.pods),
            instance_list([(slot, *place) for slot, (_, cut) in enumerate(node.cuts) for place in cut]),
            stage.fleet.groups[node.group].price / 1_000_000,
        )
        for node in found.outcome.nodes
    )


def _bind(bind: _core.Bind, names: Mapping[str, str]) -> BindLine:
    pod = names.get(bind.uid, bind.uid)
    return BindLine(pod, bind.node, tuple(bind.gpus), instance_list(bind.instances), not bind.ready)


def _cuts(cluster: _core.Cluster, before: Mapping[str, Any]) -> Iterator[CutLine]:
    for name, was in before.items():
        for slot, (old, new) in enumerate(zip(was, cluster.targets(name), strict=True)):
            if old != new:
                yield CutLine(name, slot, ",".join(f"{profile}@{start}" for profile, start in sorted(new[1])))


def _is(document: Any, kind: str) -> bool:
    return isinstance(document, dict) and document.get("kind") == kind
