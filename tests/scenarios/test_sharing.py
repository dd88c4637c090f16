"""Stories of teams that share GPUs, each a trace file: what is there, what happens, and what is decided then.

A file's name is the sentence that it proves. `nodes`: GPUs by name. `quotas`: min, max, parent of a namespace's. Each
step may let Pods `arrive` (a Pod runs already where it names a node), `end`, or change `quotas`, `gangs` and `budgets`;
then one cycle decides, and the step says all that it decided: `bound`, `evicted`, and the Reason of who `waits`. After
each step those bound run; who is evicted goes when a later step lets it `end`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nos._core import PodLabels, PodSelector, PodSpec, QuotaSpec
from tests.evicting import GPU, World

FILES = sorted((Path(__file__).parent / "sharing").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_story(file: Path) -> None:
    story = yaml.safe_load(file.read_text())
    world = World()
    for name, gpus in story["nodes"].items():
        world.node(name, gpus)
    _facts(world, story)
    for number, step in enumerate(story["steps"], 1):
        _facts(world, step)
        for uid, pod in step.get("arrive", {}).items():
            _arrive(world, uid, pod)
        world.gone(step.get("end", []))
        world.cycle()
        decided = {"bound": world.bound, "evicted": sorted(world.evicted), "waits": world.codes}
        expected = {"bound": {}, "evicted": [], "waits": {}} | {key: step[key] for key in decided if key in step}
        assert decided == expected, f"step {number}"
        world.confirm()


def test_there_are_stories() -> None:
    assert len(FILES) >= 6


def _facts(world: World, facts: dict[str, Any]) -> None:
    for name, quota in facts.get("quotas", {}).items():
        bounds = {bound: {GPU: quota[bound]} for bound in ("min", "max") if bound in quota}
        world.cluster.upsert_quota(name, QuotaSpec([name], parent=quota.get("parent", ""), **bounds))
    for name, members in facts.get("gangs", {}).items():
        world.cluster.upsert_gang(name, min_members=members)
    for name, allowed in facts.get("budgets", {}).items():
        world.cluster.upsert_budget(name, PodSelector([], namespaces=[name]), allowed)


def _arrive(world: World, uid: str, pod: dict[str, Any]) -> None:
    spec = PodSpec({GPU: pod.get("gpus", 1)})
    world.pod(
        uid,
        spec=spec,
        labels=PodLabels(pod.get("namespace", "default")),
        node=pod.get("node", ""),
        priority=pod.get("priority", 0),
        gang=pod.get("gang", ""),
        movable=pod.get("movable", False),
    )
