"""Gangs: who belongs to which, and what is asked of it, from Pods and PodGroups into the Cluster.

Arrives: every Pod of ours that names a group, with what it says of it, and the PodGroups. Leaves: the gangs of the
Cluster, named namespace/group. What is asked of a gang is less by its members that have run to the end, and nobody more
of it starts while it is being released; both are said by `Releases`, which is told of each gang that lost a member.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nos.controller.store import Store
from nos.controller.waiting import State
from nos.kube.podgroup import PodGroup, Says, Terms, agreed, membership

if TYPE_CHECKING:
    from nos.controller.ledger import Ledger
    from nos.kube.pod import Pod


class Member(NamedTuple):
    """A Pod of a gang that has not ended. says: None where it leaves all to the PodGroup."""

    name: str
    node: str
    leaving: bool
    says: Says | None


@dataclass(slots=True)
class Gang:
    """A gang with at least one member or a PodGroup."""

    members: dict[str, Member] = field(default_factory=dict)  # by uid
    says: Counter[Says] = field(default_factory=Counter)  # how many of them say that
    terms: Terms | None = None  # None: nobody says anything
    done: int = 0  # members that have run to the end
    halted: str = ""  # why nobody more of it starts, in words that follow its name

    @property
    def least(self) -> int:
        """How many have to run now."""
        return max(0, self.terms.min_members - self.done) if self.terms and not self.terms.problem else 0


class Gangs:
    """`join` and `leave` take note of Pods, `groups` is the sink of PodGroups."""

    def __init__(self, ledger: Ledger) -> None:
        self.groups = Store[PodGroup](self._group)
        self.known: dict[str, Gang] = {}  # by namespace/group
        self.lost: Callable[[str], None] = lambda _: None  # told of a gang that one of its Pods left or is leaving
        self._of: dict[str, str] = {}  # gang, by uid
        self._ledger = ledger
        self._told: dict[str, tuple[Terms, int, str]] = {}  # what the Cluster has been told last

    def of(self, uid: str) -> str:
        """The gang of a Pod; empty where it is in none."""
        return self._of.get(uid, "")

    def join(self, pod: Pod) -> str:
        """Take note of what this Pod of ours is and says; the name of its gang, empty where it is in none."""
        uid, found = pod.metadata.uid, membership(pod)
        if found is None or self._of.get(uid, found.group) != found.group:
            self.leave(uid)
        if found is None:
            return ""
        leaving = pod.metadata.deletion_timestamp is not None
        member = Member(pod.metadata.name, pod.spec.node_name, leaving, found.says)
        gang = self.known.setdefault(found.group, Gang())
        before = gang.members.get(uid)
        if before == member:
            return found.group
        self._of[uid] = found.group
        gang.members[uid] = member
        if before is None or before.says != member.says:
            self._count(gang, before, -1)
            self._count(gang, member, 1)
            self.settle(found.group)
        if leaving:
            self.lost(found.group)
        return found.group

    def leave(self, uid: str) -> None:
        """The Pod is gone, has ended, or is not ours any more."""
        if (name := self._of.pop(uid, None)) is None:
            return
        gang = self.known[name]
        self._count(gang, gang.members.pop(uid), -1)
        self.settle(name)
        if gang.members:
            self.lost(name)

    def placed(self, name: str) -> Iterator[tuple[str, Member]]:
        """The members that have a node, or are about to, and are not leaving it; by uid."""
        gang = self.known.get(name)
        for uid, member in gang.members.items() if gang else ():
            waiting = self._ledger.waiting.get(uid)
            if not member.leaving and (member.node or (waiting is not None and waiting.state is State.BINDING)):
                yield uid, member

    def settle(self, name: str) -> None:
        """Tell the Cluster what is asked of the gang now."""
        gang = self.known[name]
        group = self.groups.known.get(name)
        if group is not None:
            gang.terms = group.terms
        elif gang.says:
            gang.terms = self._agreed(gang)
        else:
            gang.terms = None
        if not gang.members and group is None:
            del self.known[name]
        cluster = self._ledger.cluster
        if gang.terms is None or name not in self.known:
            if self._told.pop(name, None) is not None:
                self._ledger.edit(lambda: cluster.remove_gang(name))
            return
        told, terms, least = (gang.terms, gang.done, gang.halted), gang.terms, gang.least
        if self._told.get(name) == told:
            return
        self._told[name] = told
        problem = gang.halted or terms.problem

        def upsert() -> None:
            cluster.upsert_gang(
                name, min_members=least, topology_key=terms.topology_key, required=terms.required, problem=problem
            )

        self._ledger.edit(upsert)
        self._ledger.wake()

    def _agreed(self, gang: Gang) -> Terms:
        if len(gang.says) == 1:  # so that a gang of many that say the same is not read again for each of them
            (says,) = gang.says
            if not says.problem:
                return agreed([("", says)])
        return agreed((member.name, member.says) for member in gang.members.values() if member.says is not None)

    @staticmethod
    def _count(gang: Gang, member: Member | None, by: int) -> None:
        if member is not None and member.says is not None:
            gang.says[member.says] += by
            if not gang.says[member.says]:
                del gang.says[member.says]

    def _group(self, before: PodGroup | None, now: PodGroup | None) -> None:
        group = now or before
        assert group is not None
        name = group.metadata.key
        if now is not None:
            self.known.setdefault(name, Gang())
        self.settle(name)
