"""A cluster as people look at it: what `nos top` and the dashboard show. Amounts are in the core's units: milli-CPU,
bytes, thousandths of a GPU."""

from msgspec import Struct, field


class Slice(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A MIG instance, or a place for one."""

    profile: str
    start: int
    size: int  # memory units of the GPU; 0 where nobody knows
    pod: str = ""  # namespace/name of who has it
    state: str = ""  # coming: it is planned; going: it is to make room for others; else it is there


class Gpu(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One GPU."""

    used: int  # thousandths
    units: int = 0  # of memory, if it is cut
    pods: tuple[str, ...] = ()  # who has it, or a share of it, uncut
    slices: tuple[Slice, ...] = ()
    problem: str = ""


class Held(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A Pod on a node."""

    pod: str  # namespace/name
    since: int  # its creation, in seconds since 1970
    gpus: tuple[int, ...] = ()  # slots it has whole, or a share of
    slices: tuple[str, ...] = ()  # such as 1:3g.20gb
    leaving: bool = False


class Node(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A node."""

    name: str
    product: str = ""  # of its GPUs
    cpu: tuple[int, int] = (0, 0)  # asked for, and there
    memory: tuple[int, int] = (0, 0)
    gpus: tuple[Gpu, ...] = ()
    pods: tuple[Held, ...] = ()
    note: str = ""  # why it takes no Pods, or not yet


class Pod(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A Pod that waits."""

    pod: str  # namespace/name
    asks: str  # such as `2 gpu, 8 cpu`
    since: int  # its creation, in seconds since 1970
    priority: int = 0
    gang: str = ""
    quota: str = ""
    state: str = ""  # binding: it is decided; deferred: its Binding failed, and is tried again; else it waits
    code: str = ""  # of the Reason
    message: str = ""


class Bound(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One resource under a quota. min is lent while it is not used; max is never passed."""

    used: int
    min: int | None = None
    max: int | None = None

    @property
    def borrowed(self) -> int:
        """What is used beyond min; nothing where there is none, for then nothing of it is lent."""
        return 0 if self.min is None else max(0, self.used - self.min)


class Quota(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A quota."""

    title: str
    namespaces: tuple[str, ...]
    resources: dict[str, Bound] = field(default_factory=dict)
    problem: str = ""


class Totals(Struct, rename="camel", frozen=True):
    """Of the whole cluster."""

    gpus: int
    used: int  # thousandths of GPUs
    waiting: int
    fragmentation: float  # the part of the free GPU that will probably never be handed out to such demand


class Moment(Struct, rename="camel", frozen=True, omit_defaults=True):
    """Something that happened."""

    at: float  # seconds since 1970
    kind: str  # bound, cut, evicted, ordered, ...: the reason of the event
    object: str
    text: str
    warning: bool = False


class Changes(Struct, rename="camel", frozen=True, omit_defaults=True):
    """What is new since the look before; at first, all."""

    at: float
    totals: Totals
    nodes: tuple[Node, ...] = ()
    gone: tuple[str, ...] = ()  # nodes
    queue: tuple[Pod, ...] | None = None  # all of it; None: as before
    quotas: tuple[Quota, ...] | None = None
    moments: tuple[Moment, ...] = ()


class Snapshot(Struct, rename="camel"):
    """The whole cluster, as far as the changes so far tell."""

    at: float = 0.0
    totals: Totals = Totals(0, 0, 0, 0.0)
    nodes: dict[str, Node] = field(default_factory=dict)
    queue: tuple[Pod, ...] = ()
    quotas: tuple[Quota, ...] = ()

    def apply(self, changes: Changes) -> None:
        """What was new."""
        self.at, self.totals = changes.at, changes.totals
        self.nodes |= {node.name: node for node in changes.nodes}
        for name in changes.gone:
            self.nodes.pop(name, None)
        if changes.queue is not None:
            self.queue = changes.queue
        if changes.quotas is not None:
            self.quotas = changes.quotas
