"""PodDisruptionBudgets: how many of some Pods may be evicted now."""

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from nos import _core
from nos.kube.meta import Metadata as _Metadata
from nos.kube.selectors import LabelSelector, core_requirements

BUDGETS = "/apis/policy/v1/poddisruptionbudgets"


class Metadata(_Metadata, rename="camel"):
    """Which budget, in which version."""

    generation: int = 0


class _Spec(Struct):
    selector: LabelSelector | None = None


class _Status(Struct, rename="camel"):
    observed_generation: int = 0
    disruptions_allowed: int = 0


class Budget(Struct):
    """A PodDisruptionBudget as the API server sends it."""

    metadata: Metadata
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)

    @property
    def allowed(self) -> int:
        """Evictions that the API server would grant. Before the disruption controller has seen the spec, none."""
        current = self.status.observed_generation >= self.metadata.generation
        return max(0, self.status.disruptions_allowed) if current else 0

    def selector(self) -> _core.PodSelector:
        """Whose budget it is: none without a selector, all of the namespace with an empty one. ValueError for an
        unknown operator."""
        selector = self.spec.selector
        requirements = core_requirements(selector.requirements()) if selector else None
        return _core.PodSelector(requirements, namespaces=[self.metadata.namespace])


_budget = Decoder(Budget).decode


def decode_budget(raw: bytes | Raw) -> Budget:
    """A PodDisruptionBudget."""
    return _budget(raw)
