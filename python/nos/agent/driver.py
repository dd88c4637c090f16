"""What the agent needs of a driver: what GPUs there are, what each can be cut into and is cut into, and cutting.

`nos.agent.nvml` is the one there is. An instance is known by its UUID and found by its place: ids are used again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class DriverError(Exception):
    """The driver refused; the message is one line. `code` is NVML's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Place(NamedTuple):
    """Where an instance is on its GPU: a profile's name and a start unit."""

    profile: str
    start: int

    def __str__(self) -> str:
        return f"{self.profile}@{self.start}"


@dataclass(frozen=True)
class Profile:
    """A way to cut an instance. `id` is what creates it, and no other product's."""

    name: str
    id: int
    size: int
    starts: tuple[int, ...]
    compute_slices: int
    memory_mib: int
    max_instances: int
    engines: dict[str, int] = field(hash=False)


@dataclass(frozen=True)
class Model:
    """What GPUs of one product can be cut into, as their driver says; `engines` are those that instances do not share,
    which no driver says, so they come from what we know of the model."""

    product: str
    units: int
    compute_slices: int
    engines: dict[str, int] = field(hash=False)
    profiles: tuple[Profile, ...]

    def profile(self, name: str) -> Profile | None:
        """The profile of that name."""
        return next((profile for profile in self.profiles if profile.name == name), None)


@dataclass(frozen=True)
class Instance:
    """A GPU instance. Without a UUID it is not usable: the compute instance that fills it is missing."""

    place: Place
    id: int  # the driver's
    uuid: str = ""


@dataclass(frozen=True)
class Gpu:
    """A GPU as it is now. `mig_pending` is the mode after the next reset. `lost`: nothing else is known any more."""

    index: int
    uuid: str
    product: str
    memory_mib: int
    model: Model | None = None  # None: it cannot be cut
    mig: bool = False
    mig_pending: bool = False
    lost: bool = False
    instances: tuple[Instance, ...] = ()

    def at(self, place: Place) -> Instance | None:
        """The instance there."""
        return next((instance for instance in self.instances if instance.place == place), None)


class Xid(NamedTuple):
    """An error that a GPU reported; `instance` is the driver's id, None where it concerns all of the GPU."""

    gpu: int
    code: int
    instance: int | None


class Driver(Protocol):
    """What the agent needs of a driver."""

    def indices(self) -> range:
        """Of the GPUs, as NVML counts."""

    def read(self, index: int) -> Gpu:
        """A GPU as it is now. DriverError."""

    def set_mig(self, index: int, on: bool) -> None:
        """Switch the mode, now. DriverError: IN_USE or RESET_REQUIRED where it cannot be, and the mode is as it was."""

    def create(self, index: int, place: Place) -> Instance:
        """Make an instance there, whole; one that lacks its compute instance gets it. DriverError."""

    def destroy(self, index: int, instance: Instance) -> None:
        """Destroy it, with what is in it. One that is gone already is no error. DriverError: IN_USE."""

    def wait_xid(self, milliseconds: int) -> Xid | None:
        """The next error that makes a GPU or an instance unfit; None when none came in time."""
