"""The Pod of the quick start runs when it is pasted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.conftest import cluster, controller, role

__all__ = ["cluster", "controller", "role"]
pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]


def manifest(page: str) -> str:
    """The first one of a page."""
    found = re.search(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert found
    return found[1]


def test_it_runs(cluster: Cluster, controller: Callable[..., Controller]) -> None:
    sample = manifest("docs/start/README.md")
    cluster.testbed.add_nodes({"8xH100": 1})  # with the taint that GPU nodes have
    controller()
    cluster.testbed.kubectl("apply", "--validate=strict", "-f", "-", stdin=sample)
    pod = cluster.bound("sample")
    limits = yaml.safe_load(sample)["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": 1, "cpu": 1, "memory": "4Gi"}
    assert pod["metadata"]["annotations"]["nos.nebuly.com/gpus"] in [str(gpu) for gpu in range(8)]
    eventually(lambda: (cluster.get("sample") or {})["status"]["phase"] == "Running", why="it runs")


def test_it_is_that_of_the_readme_and_tolerates_the_taint() -> None:
    there, here = (yaml.safe_load(manifest(page)) for page in ("README.md", "docs/start/README.md"))
    assert here["spec"].pop("tolerations") == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert here == there
