"""Settings of scaling: what nos may order, from whom, and how patient it is. Durations are in seconds."""

from typing import Annotated

from msgspec import Meta, Struct, field

from nos.autoscaler.cluster_api_groups import ClusterApiSettings
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings
from nos.autoscaler.karpenter_settings import KarpenterSettings
from nos.autoscaler.scale import ScaleSettings
from nos.autoscaler.webhook import WebhookSettings

_Seconds = Annotated[float, Meta(ge=0, le=604_800)]
_Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
_TELL_LAYOUTS = ("karpenter", "webhook")  # backends that say how an instance was ordered to be cut


class ScaleDownSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """When nodes are taken away."""

    enabled: bool = True
    unneeded_seconds: _Seconds = 600.0  # that a node must have been found unneeded without a break
    minimum_age_seconds: _Seconds = 600.0
    expected_idle_seconds: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0  # what is saved counts for so long
    move_price: _Dollars = 0.05  # that moving one Pod costs
    drains: Annotated[int, Meta(ge=1, le=1000)] = 2  # at the same time
    drain_seconds: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0  # after which one is given up


class ProvisioningRequestSettings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """How ProvisioningRequests are answered."""

    booking_seconds: Annotated[float, Meta(ge=1, le=604_800)] = 600.0  # that room is kept for Pods still to come


class Scaling(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Whether and how nodes come and go."""

    mode: Annotated[str, Meta(pattern="^(none|report|order)$")] = "none"
    settle_seconds: Annotated[float, Meta(ge=0, le=600)] = 1.0  # without a new Pod, before nodes are ordered
    longest_settle_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0  # and at most so long
    survey_seconds: Annotated[float, Meta(gt=0, le=600)] = 10.0  # between looks at what is on its way
    scale_down: ScaleDownSettings = field(default_factory=ScaleDownSettings)
    karpenter: KarpenterSettings | None = None
    cluster_api: ClusterApiSettings | None = None
    scale: ScaleSettings | None = None
    webhook: WebhookSettings | None = None
    cluster_autoscaler: ClusterAutoscalerSettings | None = None
    provisioning_requests: ProvisioningRequestSettings | None = None  # None: they are not answered

    def __post_init__(self) -> None:
        autoscaler = self.cluster_autoscaler
        if autoscaler and autoscaler.layouts and autoscaler.fronts not in _TELL_LAYOUTS:
            raise ValueError(
                f"clusterAutoscaler.layouts: {autoscaler.fronts} does not say how a node was ordered to be cut; "
                f"front one of {', '.join(_TELL_LAYOUTS)}, or remove layouts"
            )
