"""What can be had of Cluster API's MachineDeployments: annotations on each say whether, how many, and at what price."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct, field

from nos.autoscaler.backend import STARTUP_TAINT, Group
from nos.autoscaler.counted import owned_by_others
from nos.autoscaler.template import GPU, TaintSettings, TemplateSettings, layout_problem
from nos.kube.gpunode import PARTITIONING_LABEL
from nos.kube.machine_deployment import MachineDeployment
from nos.kube.node import Metadata, Node, Spec, Status
from nos.kube.quantity import nano

MAX, MIN, PRICE = "nos.nebuly.com/max-nodes", "nos.nebuly.com/min-nodes", "nos.nebuly.com/price"  # dollars per hour
_CAPACITY = "capacity.cluster-autoscaler.kubernetes.io/"
_COUNT_LABEL, _HOSTNAME = "nvidia.com/gpu.count", "kubernetes.io/hostname"
_PARTS = re.compile(r"nvidia\.com/(mig-.+|gpu-\d+gb)")  # resources that are there because of a cut
# Taints of a state that a node is in, and not of what it is.
_PASSING = ("node.kubernetes.io/", "node.cluster.x-k8s.io/", "node.cloudprovider.kubernetes.io/", STARTUP_TAINT)
_MOST = 1_000_000


class ClusterApiSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """templates: by namespace/name, of MachineDeployments that do not say themselves what their nodes are like.
    boot_seconds: a Machine that is no ready node after so long has failed."""

    templates: dict[str, TemplateSettings] = field(default_factory=dict)
    boot_seconds: Annotated[float, Meta(gt=0, le=604_800)] = 900.0


def is_offered(deployment: MachineDeployment) -> bool:
    """Whether anything is said of it to nos."""
    return not deployment.metadata.annotations.keys().isdisjoint((MAX, MIN, PRICE))


def group_of(deployment: MachineDeployment, settings: ClusterApiSettings, nodes: Sequence[Node]) -> Group:
    """nodes: those of it that are up."""
    said, key = deployment.metadata.annotations, deployment.metadata.key
    template, price, fewest, most = Node(Metadata()), 0, 0, 0
    try:
        price, fewest, most = _micro_dollars(said), _count(said, MIN, "0"), _count(said, MAX)
        template = _template(said, settings.templates.get(key), nodes)
        problem = problem_of(deployment) or layout_problem(template)
    except ValueError as error:
        problem = str(error)
    return Group(
        key,
        template,
        price,
        deployment.spec.replicas,
        min=fewest,
        max=most,
        object=title(key),
        boot_seconds=settings.boot_seconds,
        problem=problem,
    )


def unknown_group(key: str) -> Group:
    """One that the settings name, and that is not offered."""
    problem = f"there is none with the annotation {MAX}; annotate it, or correct scaling.clusterApi.templates"
    return Group(key, Node(Metadata()), 0, 0, max=0, object=title(key), problem=problem)


def title(key: str) -> str:
    """For people."""
    return f"MachineDeployment {key}"


def problem_of(deployment: MachineDeployment) -> str:
    """Why nos leaves it alone; empty where there is no reason."""
    if problem := owned_by_others(deployment.metadata.annotations):
        return problem
    if deployment.metadata.deletion_timestamp:
        return "it is being deleted"
    return "it is paused, or its cluster is; nothing comes of it before that is over" if deployment.is_paused else ""


def _micro_dollars(said: Mapping[str, str]) -> int:
    text = said.get(PRICE, "")
    if not re.fullmatch(r"\d{1,7}(\.\d{1,9})?", text) or float(text) > _MOST:
        raise ValueError(f"its annotation {PRICE} is {text!r}; let it say dollars per hour and node, such as 2.75")
    return round(float(text) * 1_000_000)


def _count(said: Mapping[str, str], key: str, default: str = "") -> int:
    text = said.get(key, default)
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > _MOST:
        raise ValueError(f"its annotation {key} is {text!r}; let it say how many nodes, from 0 to {_MOST}")
    return int(text)


def _template(said: Mapping[str, str], configured: TemplateSettings | None, nodes: Sequence[Node]) -> Node:
    if capacity := {key.removeprefix(_CAPACITY): value for key, value in said.items() if key.startswith(_CAPACITY)}:
        try:
            return _annotated(capacity).node()
        except ValueError as error:
            raise ValueError(f"its annotations {_CAPACITY}...: {error}") from None
    if configured:
        return configured.node()
    if nodes:
        return _like(nodes)
    raise ValueError(
        f"nobody says what its nodes are like; annotate it with {_CAPACITY}cpu, memory, gpu-type and gpu-count, or "
        "give a template in scaling.clusterApi.templates"
    )


def _annotated(capacity: Mapping[str, str]) -> TemplateSettings:
    told = {"cpu": "cpu", "memory": "memory", "ephemeral-disk": "ephemeral-storage"}
    allocatable = {resource: capacity[key] for key, resource in told.items() if key in capacity}
    allocatable["pods"] = capacity.get("maxPods", "110")
    if "gpu-count" in capacity:
        allocatable[capacity.get("gpu-type", GPU)] = capacity["gpu-count"]
    labels = dict(_pair(text) for text in _listed(capacity.get("labels", "")))
    return TemplateSettings(allocatable, labels, tuple(_taint(text) for text in _listed(capacity.get("taints", ""))))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"labels: {text!r} is no key=value")
    return key, value


def _taint(text: str) -> TaintSettings:
    head, _, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    return TaintSettings(key, effect, value)


def _like(nodes: Sequence[Node]) -> Node:
    """What all of these have, as if nothing had been cut."""
    labels = dict(set.intersection(*(set(node.metadata.labels.items()) for node in nodes)))
    labels.pop(_HOSTNAME, None)
    offered = [node.status.allocatable for node in nodes]
    allocatable = {
        resource: min((one[resource] for one in offered), key=nano)
        for resource in sorted(set.intersection(*map(set, offered)))
    }
    if PARTITIONING_LABEL in labels:
        count = labels.get(_COUNT_LABEL, "")
        if not count.isdecimal():
            raise ValueError(
                f"its nodes lack the label {_COUNT_LABEL}; give a template in scaling.clusterApi.templates"
            )
        allocatable = {resource: text for resource, text in allocatable.items() if not _PARTS.fullmatch(resource)}
        allocatable[GPU] = count
    taints = [t for t in nodes[0].spec.taints if not t.key.startswith(_PASSING)]
    return Node(Metadata(labels=labels), Spec(taints), Status(allocatable=allocatable))
