"""Fixtures that several folders of tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.refusals import ACCOUNTS, Refusals

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

if installed := os.environ.get("NOS_INSTALLED"):  # the tests are of the wheel there, not of the source's tree
    import nos._core

    for file in (nos.__file__, nos._core.__file__):
        assert Path(file).is_relative_to(installed), f"{file} is not of {installed}"


@pytest.fixture(scope="session")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusals]:
    """What the API servers of the session refuse to nos, to the end of the session."""
    refusals = Refusals(tmp_path_factory.mktemp("audit"))
    yield refusals
    _fail_of(refusals.new())


@pytest.fixture(autouse=True)
def nothing_is_refused(request: pytest.FixtureRequest, refusals: Refusals) -> Iterator[None]:
    """nos has all rights that it makes use of, unless the test is marked as one that means it to lack some."""
    yield
    found = refusals.new()
    if request.node.get_closest_marker("refused") is None:
        _fail_of(found)


def _fail_of(refused: Sequence[str]) -> None:
    if refused:
        pytest.fail("\n".join(("the API server refused to nos:", *refused)), pytrace=False)


@pytest.fixture(scope="session")
def real_testbed(refusals: Refusals) -> Iterator[Testbed]:
    """A control plane of its own with one real node, `real_testbed.real_node`, and nobody who schedules."""
    from nos.testbed import Testbed
    from nos.testbed.progress import Progress
    from tests.real_node import require_real_node

    require_real_node()
    audit: Any = {"audit_log": refusals.log("real"), "audited_users": ACCOUNTS}
    with Testbed(scheduler=False, kwok=False, progress=Progress(quiet=True), **audit) as running:
        running.add_real_node()
        yield running


@pytest.fixture(scope="session")
def testbed(refusals: Refusals) -> Iterator[Testbed]:
    """One control plane with kube-scheduler and kwok, and no nodes, for the whole session."""
    from nos.testbed import Testbed
    from nos.testbed.progress import Progress

    gates, served = {"GenericWorkload": True}, {"scheduling.k8s.io/v1beta1": "true"}  # PodGroups
    audit: Any = {"audit_log": refusals.log("shared"), "audited_users": ACCOUNTS}
    with Testbed(progress=Progress(quiet=True), feature_gates=gates, runtime_config=served, **audit) as running:
        yield running
