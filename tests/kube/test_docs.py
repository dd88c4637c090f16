"""The manifests in the documentation work when pasted; the Pod that nos is to run is in tests/docs/test_sample.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nos.testbed import Testbed

pytestmark = pytest.mark.cluster
DOCS = Path(__file__).parents[2] / "docs"
MANIFESTS = [
    pytest.param(block, id=f"{name}-{number}")
    for name in ("elasticquota", "gangs", "preemption", "start/README", "start/gke", "start/openshift")
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL))
]


def test_there_are_some() -> None:
    assert len(MANIFESTS) >= 3


@pytest.mark.parametrize("manifests", MANIFESTS)
def test_they_are_taken(testbed: Testbed, manifests: str) -> None:
    testbed.install_crds()
    for item in yaml.safe_load_all(manifests):
        if namespace := item["metadata"].get("namespace"):
            testbed.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    said = testbed.kubectl("apply", "--validate=strict", "-f", "-", stdin=manifests)
    testbed.kubectl("delete", "--force", "--grace-period=0", "-f", "-", stdin=manifests)
    assert said.count(" created") == len(list(yaml.safe_load_all(manifests)))
