"""Small worlds in steps, and the record that is made while they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

from hypothesis import strategies as st

from nos import _core
from nos.record.cluster import Copied, Recorded
from nos.record.codec import last_line
from nos.record.recorder import Recorders

GPU = "nvidia.com/gpu"
names = st.sampled_from(["n0", "n1", "n2"])
uids = st.sampled_from([f"u{number}" for number in range(8)])
namespaces = st.sampled_from(["a", "b"])
nodes = st.tuples(st.just("node"), names, st.sampled_from([1, 2, 4]), st.sampled_from(["", "1"]))
pods = st.tuples(
    st.just("pod"),
    uids,
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 5]),
    namespaces,
    st.sampled_from(["", "", "g"]),
)
steps = st.one_of(
    nodes,
    pods,
    st.tuples(st.just("echo"), uids),
    st.tuples(st.just("pod gone"), uids),
    st.tuples(st.just("node gone"), names),
    st.tuples(st.just("quota"), namespaces, st.sampled_from([1, 2]), st.sampled_from([2, 4])),
    st.tuples(st.just("gang"), st.sampled_from([2, 3])),
    st.tuples(st.just("protect"), uids),
    st.just(("cycle",)),
    st.tuples(st.just("copy"), names, st.booleans()),
    st.tuples(st.just("scale up"), st.sampled_from([1, 2, 4]), st.sampled_from([1, 3])),
    st.tuples(st.just("scale down"), st.booleans()),
)


def _node(gpus: int, zone: str) -> _core.NodeSpec:
    allocatable = {"cpu": 8000, "memory": 1 << 30, "pods": 10, GPU: gpus}
    return _core.NodeSpec(allocatable, labels={"zone": zone, "#": "kept"})


def _groups(*gpus: int, room: int = 1) -> list[_core.NodeGroup]:
    return [_core.NodeGroup(f"pool/{g}", _node(g, ""), price=g + 1, room=room, uses={"pool/gpus": g}) for g in gpus]


def _do(
    cluster: Recorded,
    step: tuple[Any, ...],
    policy: _core.Policy,
    asked: dict[str, tuple[Any, dict[str, Any]]],
    copies: list[Copied],
) -> None:
    """asked: what each Pod was upserted with. copies: on which nothing has been planned yet."""
    match step:
        case "node", name, gpus, zone:
            cluster.upsert_node(name, _node(gpus, zone))
        case "copy", name, is_edited:
            copies.append(cluster.what_if())
            if is_edited:
                copies[-1].upsert_node(name, spec=_node(4, "new"))
        case "scale up", gpus, room if copies:
            copy, given = copies.pop(0), {"groups": _groups(gpus, 8, room=room), "limits": {"pool/gpus": 12}}
            cluster.planned(copy, "scale_up", given, _core.scale_up(copy, **given, policy=policy))
        case "scale down", is_exchange if copies:
            copy = copies.pop()
            price = {node.name: 10 * len(node.gpu_free_milli) for node in copy.nodes()}
            given = {
                "nodes": [_core.Removable(name, price=of, limit="all") for name, of in price.items()],
                "movable": list(asked),
                "spare": {"all": 2},
                "groups": _groups(1) if is_exchange else [],
                "limits": {"pool/gpus": 12},
            }
            cluster.planned(copy, "scale_down", given, _core.scale_down(copy, **given, policy=policy))
        case "pod", uid, gpus, priority, namespace, gang:
            spec = _core.PodSpec({"cpu": 1000, GPU: gpus})
            labels = _core.PodLabels(namespace, {"app": uid})
            asked[uid] = spec, {"labels": labels, "priority": priority, "gang": gang}
            cluster.upsert_pod(uid, spec, **asked[uid][1])
        case "echo", uid:  # the API server shows where it is bound
            if uid in cluster and (pod := cluster.pod(uid)).placed:
                spec, more = asked[uid]
                cluster.upsert_pod(uid, spec, **more, node=pod.node, gpus=pod.gpus)
        case "pod gone", uid:
            cluster.remove_pod(uid)
        case "node gone", name:
            cluster.remove_node(name)
        case "quota", namespace, least, most:
            cluster.upsert_quota(namespace, _core.QuotaSpec([namespace], min={GPU: least}, max={GPU: most}))
        case "gang", members:
            cluster.upsert_gang("g", min_members=members)
        case "do", edit:
            edit(cluster)
        case "protect", uid:  # refused where there is no such Pod, which is on record too
            with suppress(KeyError):
                cluster.protect(uid, True)


def recorded(before: list[Any], meanwhile: list[Any], score: str = "nos") -> list[bytes]:
    """The lines of a record that begins after the first steps."""
    return asyncio.run(_recorded(before, meanwhile, score))


async def _recorded(before: list[Any], meanwhile: list[Any], score: str) -> list[bytes]:
    cluster = Recorded()
    policy = _core.Policy(score)
    scheduler = _core.Scheduler(cluster, policy)

    def now(edit: Callable[[], object]) -> None:
        edit()

    recorders = Recorders(cluster, now, score)
    asked: dict[str, Any] = {}
    copies: list[Copied] = []

    def take(steps: list[Any]) -> int:
        for step in steps:
            if step == ("cycle",):
                recorders.cycle(scheduler.schedule())
            elif step == ("look",):  # as the dashboard does
                scheduler.fragmentation_ratio()
            elif step == ("happened",):
                recorders.happened("NodesOrdered", "pool/2", "1 nodes are ordered for 1 Pods")
            else:
                _do(cluster, step, policy, asked, copies)
        return len(steps)

    take(before)
    text = b""
    async with aclosing(recorders.record()) as lines:
        while b'{"checkpoint"' not in text:
            text += await anext(lines)
        if take(meanwhile):
            text += await anext(lines)  # all of them, as nothing ran in between
    return [*text.splitlines(keepends=True), last_line("the test is over")]


SCENE = [
    ("node", "n0", 2, ""),
    ("node", "n1", 1, ""),
    ("pod", "u0", 2, 0, "a", ""),
    ("pod", "u1", 1, 0, "a", ""),
    ("pod", "u2", 1, 0, "a", ""),
    ("cycle",),
    ("echo", "u0"),
    ("pod", "u3", 2, 5, "b", ""),
    ("cycle",),
]
