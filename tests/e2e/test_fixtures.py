"""What nos and kube-scheduler once differed on is judged again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.fixtures import FIXTURES, read
from tests.e2e.kube_verdicts import KubeScheduler
from tests.e2e.mismatch import mismatches
from tests.e2e.nos_verdicts import Nos

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_once_differed_is_the_same(kube: KubeScheduler, path: Path) -> None:
    world, probe = read(path)
    with kube.judging(world, [probe]) as (verdicts, _):
        assert not verdicts.refused
        assert mismatches(verdicts, Nos(verdicts)) == {}
