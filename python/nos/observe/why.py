"""Why a Pod waits, or where it is: what `nos why` tells."""

from msgspec import Struct, field


class Change(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One thing that would let the Pod run, all else as it is now."""

    kind: str  # asks, rule, quota, evictions, booking or nodes
    text: str  # in words that follow `It would run `
    node: str = ""  # where it would run then
    evicts: tuple[str, ...] = ()  # Pods, namespace/name


class Why(Struct, rename="camel", frozen=True, omit_defaults=True):
    """What is known of a Pod."""

    pod: str  # namespace/name
    state: str  # waits, decided (the next cycle places it), making-room, or placed
    asks: str = ""
    since: int = 0  # its creation, in seconds since 1970
    priority: int = 0
    gang: str = ""
    quota: str = ""
    node: str = ""  # where it is, or is to be
    gpus: tuple[int, ...] = ()
    slices: tuple[str, ...] = ()  # such as 1:3g.20gb@4
    note: str = ""
    code: str = ""  # of the Reason
    message: str = ""
    counts: dict[str, int] = field(default_factory=dict)  # nodes by cause; one that lacks two things counts twice
    evicts: tuple[str, ...] = ()  # who goes to make room
    changes: tuple[Change, ...] = ()
