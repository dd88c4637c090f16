"""A trace: the nodes, the Pods that are known, and the order in which Pods arrive."""

from collections.abc import Sequence
from dataclasses import dataclass

WHOLE_GPU = 1000  # milli-GPU


@dataclass(frozen=True, slots=True)
class Node:
    """A node with all that it offers; the model is empty where it has no GPU."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """What a Pod asks for: gpus times gpu_milli, which is below 1000 only for a share of one GPU."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    gpu_milli: int
    models: tuple[str, ...] = ()  # the GPU models that it may have; any when empty

    @property
    def total_gpu_milli(self) -> int:
        """All the GPU that it asks for."""
        return self.gpus * self.gpu_milli

    @property
    def demand(self) -> tuple[int, str]:
        """The class of its GPU demand, as a sort key and a name."""
        if self.gpus == 0:
            return 0, "CPU only"
        if self.gpu_milli < WHOLE_GPU:
            return 1, "part of a GPU"
        return 1 + self.gpus, "1 GPU" if self.gpus == 1 else f"{self.gpus} GPUs"


@dataclass(frozen=True, slots=True)
class Trace:
    """order names a Pod by its position in pods; one Pod may arrive several times."""

    nodes: Sequence[Node]
    pods: Sequence[Pod]
    order: Sequence[int]

    @property
    def gpu_capacity_milli(self) -> int:
        """All the GPU of all nodes."""
        return sum(node.gpus for node in self.nodes) * WHOLE_GPU


class TraceError(Exception):
    """A trace that cannot be used; the message is for the user, and says in which file, line and column."""
