"""The backends that the settings name."""

from collections.abc import Sequence

from nos.autoscaler.backend import Backend
from nos.controller.scaling.settings import Scaling
from nos.kube.client import Client


def backends(settings: Scaling, client: Client) -> list[Backend]:
    """One of each kind that has a section."""
    made: list[Backend] = []
    if settings.karpenter:
        from nos.autoscaler.karpenter import Karpenter

        made.append(Karpenter(client, settings.karpenter))
    if settings.cluster_api:
        from nos.autoscaler.cluster_api import ClusterApi

        made.append(ClusterApi(client, settings.cluster_api))
    if settings.scale:
        from nos.autoscaler.scale import Scaled

        made.append(Scaled(client, settings.scale))
    if settings.webhook:
        from nos.autoscaler.webhook import Webhook

        made.append(Webhook(settings.webhook))
    return made


def looked_at(settings: Scaling, client: Client, made: Sequence[Backend]) -> list[Backend]:
    """These, and the groups that Cluster Autoscaler has; what it scales through nos, nos itself does not order."""
    autoscaler = settings.cluster_autoscaler
    if autoscaler is None:
        return list(made)
    from nos.autoscaler.cluster_autoscaler.declared import Declared, Fronted

    looked: list[Backend] = [Fronted(backend) if backend.name == autoscaler.fronts else backend for backend in made]
    if autoscaler.groups:
        looked.append(Declared(client, autoscaler.groups))
    return looked
