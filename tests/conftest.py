"""Fixtures that several folders of tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from nos.testbed import Testbed

# How long an example takes, or its making, says nothing: machines are busy.
settings.register_profile("nos", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nos")

if core := os.environ.get("NOS_CORE"):  # another build of the core, e.g. the sanitized one
    spec = importlib.util.spec_from_file_location("nos._core", core)
    assert spec
    assert spec.loader
    sys.modules["nos._core"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["nos._core"])


@pytest.fixture(scope="session")
def real_testbed() -> Iterator[Testbed]:
    """A control plane of its own with one real node, `real_testbed.real_node`, and nobody who schedules."""
    from nos.testbed import Testbed
    from nos.testbed.progress import Progress
    from tests.real_node import require_real_node

    require_real_node()
    with Testbed(scheduler=False, kwok=False, progress=Progress(quiet=True)) as running:
        running.add_real_node()
        yield running


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """One control plane with kube-scheduler and kwok, and no nodes, for the whole session."""
    from nos.testbed import Testbed
    from nos.testbed.progress import Progress

    gates, served = {"GenericWorkload": True}, {"scheduling.k8s.io/v1beta1": "true"}  # PodGroups
    with Testbed(progress=Progress(quiet=True), feature_gates=gates, runtime_config=served) as running:
        yield running
