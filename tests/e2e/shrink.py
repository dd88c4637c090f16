"""Cuts a world in which nos and kube-scheduler differ down to what it takes.

Greedy delta debugging, through the same harness. Of the world first things are left out, then parts of things, by
halves, quarters and so on. Of the Pod every part is left out in turn, all in one world: verdicts do not depend on other
Pods that wait. What the API server refuses does not differ. A time limit ends it; what is left differs all the same.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tests.e2e.world import Object, World

Path = tuple[str | int, ...]
Differ = Callable[[World, list[Object]], set[str]]  # the names of those Pods on which they still differ
_NEEDED = {"name", "containers", "kind", "namespace", "metadata", "spec", "status", "conditions", "pod", "node"}


def shrunk(world: World, probe: Object, differ: Differ, deadline: float) -> tuple[World, Object]:
    """deadline: of the monotonic clock."""
    world = _smaller_world(world, probe, _things, differ, deadline)  # first: what is left is judged faster
    probe = _smaller_probe(world, probe, differ, deadline)
    world = _smaller_world(world, probe, _parts, differ, deadline)
    return world, _smaller_probe(world, probe, differ, deadline)


def _smaller_probe(world: World, probe: Object, differ: Differ, deadline: float) -> Object:
    while time.monotonic() < deadline:
        found = _still(world, [_without(probe, [path]) for path in _paths(probe)], differ)
        paths = [path for path, differs in zip(_paths(probe), found, strict=True) if differs]
        if not paths:
            break
        # Some only go as long as others stay: as many of them as can go together.
        several = [_without(probe, paths[:count]) for count in range(1, len(paths) + 1)]
        smaller = [each for each, differs in zip(several, _still(world, several, differ), strict=True) if differs]
        if not smaller:
            break
        probe = smaller[-1]
    return probe


def _smaller_world(
    world: World, probe: Object, parts: Callable[[Object], Iterable[Path]], differ: Differ, deadline: float
) -> World:
    tree = world.as_json()
    left = list(parts(tree))
    size = len(left)
    while size and time.monotonic() < deadline:
        start, went = 0, False
        while start < len(left) and time.monotonic() < deadline:
            kept = left[:start] + left[start + size :]
            smaller = _sound(_without(tree, [path for path in left if path not in kept]))
            if smaller.as_json() != tree and all(_still(smaller, [probe], differ)):
                tree, went = smaller.as_json(), True
                left = list(parts(tree))
            else:
                start += size
        if not went or size > 1:
            size //= 2
    return World.of_json(tree)


def _still(world: World, probes: Sequence[Object], differ: Differ) -> list[bool]:
    names = [f"probe-{number}" for number in range(len(probes))]
    differing = differ(world, [_named(probe, name) for probe, name in zip(probes, names, strict=True)])
    return [name in differing for name in names]


def _named(probe: Object, name: str) -> Object:
    return {**probe, "metadata": {**probe["metadata"], "name": name}}


def _things(tree: Object) -> Iterator[Path]:
    yield from ((kind, number) for kind in ("nodes", "residents", "storage") for number in range(len(tree[kind])))


def _parts(tree: Object) -> Iterator[Path]:
    """Of nodes and residents, whatever can be left out of an object; of namespaces, their labels."""
    for kind in ("nodes", "residents", "namespaces"):
        yield from ((kind, *path) for path in _paths(tree[kind]) if len(path) > 1)


def _paths(tree: Any, above: Path = ()) -> Iterator[Path]:
    """Of all that can be left out, large parts before their own parts."""
    if isinstance(tree, list):
        keys: Iterable[str | int] = range(len(tree))
    elif isinstance(tree, dict):
        keys = tree
    else:
        return
    for key in keys:
        if key not in _NEEDED and not (isinstance(key, int) and above and above[-1] == "containers"):
            yield (*above, key)
        yield from _paths(tree[key], (*above, key))


def _without(tree: Object, paths: Sequence[Path]) -> Object:
    left = copy.deepcopy(tree)
    # From the end, so that the numbers of those before stay what they were.
    for path in sorted(paths, key=lambda path: tuple((isinstance(key, str), key) for key in path), reverse=True):
        within: Any = left
        try:
            for key in path[:-1]:
                within = within[key]
            del within[path[-1]]
        except (KeyError, IndexError):
            continue  # went with what it was a part of
    return left


def _sound(tree: Object) -> World:
    """Without what is about nodes that are gone."""
    nodes = {node["metadata"]["name"] for node in tree["nodes"]}
    tree = {**tree, "residents": [each for each in tree["residents"] if each.get("node") in nodes]}
    return World.of_json({**tree, "storage": [thing for thing in tree["storage"] if _node_of(thing) in {*nodes, ""}]})


def _node_of(thing: Object) -> str:
    match thing["kind"]:
        case "CSINode":
            return str(thing["metadata"]["name"])
        case "VolumeAttachment":
            return str(thing["spec"]["nodeName"])
    return ""
