"""What a node offers once it is ready, as settings and backends say it."""

from collections.abc import Mapping

from msgspec import Struct, field

from nos.kube.gpunode import CUT_BY_NOS, PARTITIONING_LABEL
from nos.kube.node import Metadata, Node, Spec, Status, Taint
from nos.kube.quantity import NANO, nano
from nos.mig import recognize

GPU, PRODUCT_LABEL = "nvidia.com/gpu", "nvidia.com/gpu.product"
_NEEDED = ("cpu", "memory", "pods")  # of every node; without pods it takes none
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class TaintSettings(Struct, forbid_unknown_fields=True, frozen=True):
    """A taint of the nodes."""

    key: str
    effect: str
    value: str = ""

    def __post_init__(self) -> None:
        if not self.key or self.effect not in _EFFECTS:
            raise ValueError(f"a taint needs a key, and an effect of {', '.join(_EFFECTS)}, not {self.effect!r}")


class TemplateSettings(Struct, forbid_unknown_fields=True, frozen=True):
    """What `kubectl get node -o yaml` shows of one: its labels, taints and allocatable."""

    allocatable: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[TaintSettings, ...] = ()

    def __post_init__(self) -> None:
        check_allocatable("allocatable", self.allocatable)

    def node(self) -> Node:
        """A node like that; it has no name."""
        taints = [Taint(taint.key, taint.value, taint.effect) for taint in self.taints]
        return Node(Metadata(labels=dict(self.labels)), Spec(taints), Status(allocatable=dict(self.allocatable)))


def check_quantities(where: str, amounts: Mapping[str, str]) -> None:
    """ValueError where these are no amounts of resources; it begins with `where`."""
    for resource, text in amounts.items():
        try:
            amount = nano(text)
        except ValueError as error:
            raise ValueError(f"{where}: {resource}: {error}") from None
        if resource == GPU and amount % NANO:
            raise ValueError(f"{where}: {resource}: {text} is no whole number of GPUs")


def check_allocatable(where: str, amounts: Mapping[str, str]) -> None:
    """Likewise where they are not what a node can offer."""
    check_quantities(where, amounts)
    for resource in _NEEDED:
        if resource not in amounts:
            raise ValueError(f"{where}: {resource} is missing, so that no Pod would fit; add it")


def layout_problem(template: Node) -> str:
    """Why the GPUs of such a node, which nos is to cut, cannot be planned; empty where they can, or need not be."""
    labels = template.metadata.labels
    if labels.get(PARTITIONING_LABEL) not in CUT_BY_NOS:
        return ""
    product = labels.get(PRODUCT_LABEL, "")
    if not product:
        return f"its template has {PARTITIONING_LABEL}, and no label {PRODUCT_LABEL} that says which GPUs; add it"
    if recognize(product) is None:
        return f"no layout can be planned for {PRODUCT_LABEL} {product}, which nos does not know; see `nos mig models`"
    return ""
