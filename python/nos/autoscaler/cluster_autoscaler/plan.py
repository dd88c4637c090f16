"""What the autoscaler is told of the latest look at which nodes would help."""

from collections.abc import Collection, Mapping

from msgspec import Struct

from nos.autoscaler.cluster_autoscaler import NAME


class PlannedGroup(Struct, frozen=True):
    """A group that the look took into account. price: micro-dollars per hour and node. wanted: so many more nodes."""

    price: int
    wanted: int = 0


class Plan(Struct, frozen=True):
    """A look. groups: by full id, which begins with the backend's name and a slash. pods: uids of all that it judged,
    whether or not they get a node. at: the event loop's time."""

    groups: Mapping[str, PlannedGroup]
    pods: Collection[str]
    at: float

    def group(self, id_: str) -> PlannedGroup | None:
        """The group that the autoscaler calls so; nothing where nos does not know it."""
        groups = self.groups
        return groups.get(id_) or groups.get(f"{NAME}/{id_}") or groups.get(id_.rpartition("@")[0])
