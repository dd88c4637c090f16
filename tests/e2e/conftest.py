"""One kube-scheduler that tells its verdicts, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nos.testbed import Testbed
from tests.e2e.kube_verdicts import KubeScheduler


@pytest.fixture(scope="package")
def kube(testbed: Testbed) -> Iterator[KubeScheduler]:
    with KubeScheduler(testbed) as running:
        yield running
