"""Worlds in which nos and kube-scheduler once differed, kept as files: each is judged again in CI."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.e2e.kube_verdicts import KubeScheduler, Verdicts
from tests.e2e.mismatch import Judge, mismatches
from tests.e2e.settle import InvalidError
from tests.e2e.shrink import shrunk
from tests.e2e.world import Object, World

FIXTURES = Path(__file__).with_name("fixtures")


def read(path: Path) -> tuple[World, Object]:
    content = yaml.safe_load(path.read_text())
    return World.of_json(content["world"]), content["probe"]


def write(path: Path, world: World, probe: Object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"probe": probe, "world": world.as_json()}, sort_keys=False))


def cut_down(
    kube: KubeScheduler, judge: Callable[[Verdicts], Judge], world: World, probe: Object, seconds: float
) -> tuple[World, Object]:
    """What of this world it takes for the judge and kube-scheduler to differ on the Pod."""

    def differ(world: World, probes: list[Object]) -> set[str]:
        try:
            with kube.judging(world, probes) as (verdicts, _):
                return set(mismatches(verdicts, judge(verdicts)))
        except (InvalidError, AssertionError):
            return set()  # this one the API server does not take, or kube-scheduler does not judge

    return shrunk(world, probe, differ, time.monotonic() + seconds)
