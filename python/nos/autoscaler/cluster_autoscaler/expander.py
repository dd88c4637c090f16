"""Which of the node groups that would help are to grow.

Those that the latest plan wants. Where it wants none, those are left that might help Pods which it has not seen; where
it has seen all, the answer is empty, and the autoscaler makes no node: to recut or to move is enough, or no node helps.
Without a fresh plan all may grow: nobody waits because nos is away.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from google.protobuf.message import DecodeError

from nos.autoscaler.cluster_autoscaler.core_pb2 import Pod
from nos.autoscaler.cluster_autoscaler.expander_pb2 import Answer, Option, Question
from nos.autoscaler.cluster_autoscaler.plan import Plan

FRESH_S = 60.0  # that a plan is acted upon


class Expander:
    """plan: the latest, if there is one."""

    def __init__(self, plan: Callable[[], Plan | None]) -> None:
        self._plan = plan

    async def best(self, question: bytes) -> Answer:
        """The answer to a Question. There may be many Pods, so it is read in a thread."""
        plan = self._plan()
        if plan and asyncio.get_running_loop().time() - plan.at > FRESH_S:
            plan = None
        return await asyncio.to_thread(_answer, question, plan)


def _answer(question: bytes, plan: Plan | None) -> Answer:
    options = Question.FromString(question).options
    kept = best(options, plan) if plan else list(options)
    return Answer(options=[Option(group=o.group, count=o.count, debug=o.debug) for o in kept])


def best(options: Sequence[Option], plan: Plan) -> list[Option]:
    """Those that may grow: of those that the plan wants the cheapest first, then those that nos does not know."""
    groups = [plan.group(option.group) for option in options]
    wanted = [(g.price * o.count, o.group, o) for g, o in zip(groups, options, strict=True) if g and g.wanted]
    unknown = [option for group, option in zip(groups, options, strict=True) if group is None]
    if wanted:
        return [option for _, _, option in sorted(wanted, key=lambda one: one[:2])] + unknown
    judged = _judged({pod for option in options for pod in _pods(option)}, plan)
    return [
        option
        for group, option in zip(groups, options, strict=True)
        if group is None or not judged.issuperset(_pods(option)) or not _pods(option)
    ]


def _pods(option: Option) -> Sequence[bytes]:
    return option.pods or option.pods_before


def _judged(pods: Iterable[bytes], plan: Plan) -> set[bytes]:
    return {pod for pod in pods if (uid := _uid(pod)) and uid in plan.pods}


def _uid(pod: bytes) -> str:
    """Empty where it cannot be read."""
    try:
        return Pod.FromString(pod).metadata.uid
    except DecodeError:
        return ""
